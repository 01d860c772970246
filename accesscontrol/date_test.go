package accesscontrol_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

var nativeDays = []string{"2026-11-22", "2026-11-21", "2026-11-23", "1969-12-31", "1970-01-01", "2000-02-29", "9999-12-31", "0001-01-02"}

// dayAtom is a condition about dates.
func (g generator) dayAtom() string {
	at := func() string {
		return pick(g.Rand, []string{
			"principal.clock", `datetime("2026-11-22")`, `datetime("2026-11-21T23:59:59.999Z")`, `datetime("2026-11-22T00:00:00.001Z")`, `datetime("2026-11-22T01:00:00+0100")`, `datetime("1970-01-01")`,
			`datetime("1969-12-31T00:00:00.001Z")`, `datetime("9999-12-31T23:59:59.999Z")`, `datetime("9999-12-31T23:59:59.999Z").offset(duration("1ms"))`, `datetime("0001-01-02")`, `datetime("0000-01-01")`,
		})
	}
	switch g.IntN(4) {
	case 0:
		return g.guarded("day", "["+at()+", "+at()+", principal.clock].contains(resource.day)")
	case 1:
		return g.guarded("day", at()+" "+g.ordered()+" resource.day")
	case 2:
		return g.guarded("day", g.guarded("until", "resource.day "+g.ordered()+" resource.until"))
	default:
		return g.guarded("day", "resource.day "+g.ordered()+" "+at())
	}
}

func dateConfig(as accesscontrol.ColumnType, condition string) accesscontrol.Config {
	config := dealConfig(`@id("p") permit (principal, action, resource) when { ` + condition + ` };`)
	config.Texts["d.cedarschema"] = `entity User = { days: Set<datetime> }; entity Deal = { due: datetime, paid?: datetime }; action read appliesTo { principal: User, resource: Deal };`
	config.Tables[0].Columns = []accesscontrol.Column{{Attr: "due", Required: true, As: as}, {Attr: "paid", As: as}}
	return config
}

// A date is the midnight in UTC with which it begins: a time of that day is
// behind it, and equal to no date. Drivers give it as text, or at midnight of
// their own zone; a time of day is none.
func TestADateOfARowIsItsMidnight(t *testing.T) {
	check := func(condition string, due any) error {
		policy, err := accesscontrol.Load(t.Context(), dateConfig(accesscontrol.Date, condition))
		require.NoError(t, err, condition)
		return policy.Check(t.Context(), accesscontrol.Principal{Tenant: "main", ID: "ann", Attrs: map[string]any{"days": []time.Time{}}}, "read", accesscontrol.Resource{Type: "deal", ID: "d", Tenant: "main", Attrs: map[string]any{"due": due}})
	}
	east := time.FixedZone("", 8*60*60)
	for _, due := range []any{
		"2026-11-28", []byte("2026-11-28"), time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 28, 0, 0, 0, 0, east),
		sql.NullTime{Time: time.Date(2026, 11, 28, 0, 0, 0, 0, east), Valid: true},
		"2026-11-28T00:00:00Z", "2026-11-28 00:00:00+08",
	} {
		require.NoError(t, check(`resource.due == datetime("2026-11-28")`, due), "%v", due)
		require.NoError(t, check(`resource.due < datetime("2026-11-28T00:00:00.001Z")`, due), "%v", due)
		require.NoError(t, check(`datetime("2026-11-28T00:00:00.001Z") >= resource.due`, due), "%v", due)
		require.ErrorIs(t, check(`resource.due == datetime("2026-11-28T00:00:00.001Z")`, due), accesscontrol.ErrDenied)
		require.ErrorIs(t, check(`resource.due > datetime("2026-11-28")`, due), accesscontrol.ErrDenied)
	}
	require.ErrorIs(t, check(`resource.due < datetime("1969-12-31T12:00:00Z")`, "1970-01-01"), accesscontrol.ErrDenied)
	require.NoError(t, check(`resource.due < datetime("1969-12-31T12:00:00Z")`, "1969-12-31"))
	mixed := dateConfig(accesscontrol.Date, `resource has paid && resource.due < resource.paid`)
	_, err := accesscontrol.Load(t.Context(), mixed)
	require.NoError(t, err)
	mixed.Tables[0].Columns[1].As = accesscontrol.Timestamp
	_, err = accesscontrol.Load(t.Context(), mixed)
	require.ErrorContains(t, err, "two times of the record are not compared, unless both are dates")
	for _, due := range []any{"2026-11-28 12:00:00", time.Date(2026, 11, 28, 0, 0, 1, 0, time.UTC), "2026-11-31", "2026-1-1", "0000-00-00", "0000-01-01", "infinity", time.Time{}, "", 20261128, nil} {
		require.ErrorIs(t, check(`resource.due > datetime("2000-01-01")`, due), accesscontrol.ErrRequest, "%v", due)
	}
}

// A column of dates is one in the database, and named where it is bound as a
// time; a long list of dates is one argument where lists are.
func TestDatesOfTheDatabases(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		ddl := "CREATE TABLE deals (id VARCHAR(20) PRIMARY KEY, tenant VARCHAR(20) NOT NULL, due DATE NOT NULL, paid DATE)"
		if d.Name == testdb.SQLite {
			ddl = "CREATE TABLE deals (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, due TEXT NOT NULL CHECK (due IS date(due)), paid TEXT CHECK (paid IS date(paid))) STRICT"
		}
		for _, statement := range []string{ddl, "CREATE INDEX deals_due ON deals (tenant, due)", "INSERT INTO deals VALUES ('a', 'main', '2026-11-28', NULL), ('b', 'main', '2026-11-27', '2026-11-28')"} {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		policy, err := accesscontrol.Load(t.Context(), dateConfig(accesscontrol.Date, `principal.days.contains(resource.due)`))
		require.NoError(t, err)
		require.NoError(t, policy.CheckSchema(t.Context(), db))
		days := []time.Time{time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 27, 0, 0, 0, 1e6, time.UTC)}
		for range 2 {
			where, err := policy.Filter(t.Context(), accesscontrol.Principal{Tenant: "main", ID: "ann", Attrs: map[string]any{"days": days}}, "read", "deal")
			require.NoError(t, err)
			condition, args := rendered(d, where, "d")
			require.Equal(t, []string{"a"}, deals(t, db, "SELECT id FROM deals d WHERE "+condition, args...), condition)
			for i := range 60 {
				days = append(days, time.Date(1999, 1, 1+i, 0, 0, 0, 0, time.UTC))
			}
		}
		_, err = accesscontrol.Load(t.Context(), dateConfig("", `resource.due < datetime("2026-11-28")`))
		require.ErrorContains(t, err, "set Column.As to Timestamp, or to Date")
		policy, err = accesscontrol.Load(t.Context(), dateConfig(accesscontrol.Timestamp, `resource.due < datetime("2026-11-28")`))
		require.NoError(t, err)
		want := "table deals: column due is date, due needs "
		switch d.Name {
		case testdb.SQLite:
			want = `column due: SQLite has no column type "timestamp", leave it out`
		case testdb.MariaDB:
			want += "datetime, or set Column.As to Date"
		default:
			want += "timestamp with time zone, or set Column.As to Date"
		}
		require.ErrorContains(t, policy.CheckSchema(t.Context(), db), want)
	})
}

package accesscontrol_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

const (
	annUUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
	bobUUID = "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a22"
)

// uuidConfig has a key, a tenant and a reference that are UUIDs.
func uuidConfig() accesscontrol.Config {
	config := dealConfig(`@id("own") permit (principal, action, resource) when { resource.owner == principal };`)
	config.Texts["d.cedarschema"] = `entity User; entity Deal = { owner: User }; action read appliesTo { principal: User, resource: Deal };`
	config.Tables[0].Columns = []accesscontrol.Column{{Attr: "owner", Required: true, As: accesscontrol.UUID}}
	config.Tables[0].KeyAs, config.Tables[0].TenantAs = accesscontrol.UUID, accesscontrol.UUID
	return config
}

// A UUID is the same in whatever form a driver or a program holds it, in a row;
// a principal's has the one spelling, and any other text is nobody's.
func TestAUUIDOfARowIsReadInAnyForm(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), uuidConfig())
	require.NoError(t, err)
	id := uuid.MustParse(annUUID)
	ann := accesscontrol.Principal{Tenant: bobUUID, ID: annUUID}
	record := func(owner any) accesscontrol.Resource {
		return accesscontrol.Resource{Type: "deal", ID: annUUID, Tenant: bobUUID, Attrs: map[string]any{"owner": owner}}
	}
	for _, owner := range []any{annUUID, strings.ToUpper(annUUID), []byte(annUUID), [16]byte(id), id, &id, pgtype.UUID{Bytes: id, Valid: true}, accesscontrol.Ref{Type: "User", ID: annUUID}} {
		require.NoError(t, policy.Check(t.Context(), ann, "read", record(owner)), "%T", owner)
	}
	upper := record(annUUID)
	upper.ID, upper.Tenant = strings.ToUpper(annUUID), strings.ToUpper(bobUUID)
	require.NoError(t, policy.Check(t.Context(), ann, "read", upper))
	for _, owner := range []any{"ann", "", "{" + annUUID + "}", annUUID[:35], annUUID + "0", "g" + annUUID[1:], nil, pgtype.UUID{}} {
		require.ErrorIs(t, policy.Check(t.Context(), ann, "read", record(owner)), accesscontrol.ErrRequest, "%v", owner)
	}
	for _, other := range []string{strings.ToUpper(annUUID), "ann", "{" + annUUID + "}"} {
		person := ann
		person.ID = other
		require.ErrorIs(t, policy.Check(t.Context(), person, "read", record(annUUID)), accesscontrol.ErrDenied)
		where, err := policy.Filter(t.Context(), person, "read", "deal")
		require.NoError(t, err)
		require.True(t, where.Nothing())
		person = ann
		person.Tenant = other
		require.ErrorIs(t, policy.Check(t.Context(), person, "read", record(annUUID)), accesscontrol.ErrDenied)
		where, err = policy.Filter(t.Context(), person, "read", "deal")
		require.NoError(t, err)
		require.True(t, where.Nothing())
	}
}

// A database without the type says so.
func TestSQLiteHasNoUUIDs(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), uuidConfig())
	require.NoError(t, err)
	var different *accesscontrol.SchemaError
	require.ErrorAs(t, policy.CheckSchema(t.Context(), openDB(t, "CREATE TABLE deals (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL) STRICT")), &different)
	require.Equal(t, []string{
		`table deals: column id: SQLite has no column type "uuid", leave it out`, `table deals: column tenant: SQLite has no column type "uuid", leave it out`,
		`table deals: column owner: SQLite has no column type "uuid", leave it out`,
	}, different.Problems)
}

// A filter by UUIDs asks their index, and pgx's own connection gives the rows
// as bytes.
func TestUUIDsAreComparedAsSuch(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), uuidConfig())
	require.NoError(t, err)
	where, err := policy.Filter(t.Context(), accesscontrol.Principal{Tenant: bobUUID, ID: annUUID}, "read", "deal")
	require.NoError(t, err)
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		d := testdb.New(t, name)
		db := d.Open(t)
		for _, statement := range []string{
			"CREATE TABLE deals (id UUID PRIMARY KEY, tenant UUID NOT NULL, owner UUID NOT NULL)", "CREATE INDEX deals_owner ON deals (tenant, owner)",
			"INSERT INTO deals VALUES ('" + strings.ToUpper(annUUID) + "', '" + bobUUID + "', '" + annUUID + "'), ('" + bobUUID + "', '" + bobUUID + "', '" + bobUUID + "'), ('00000000-0000-4000-8000-000000000000', '" + annUUID + "', '" + annUUID + "')",
		} {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		require.NoError(t, policy.CheckSchema(t.Context(), db))
		condition, args := rendered(d, where, "d")
		var found string
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT d.id FROM deals d WHERE "+condition, args...).Scan(&found))
		require.Equal(t, annUUID, found)
		if name == testdb.MariaDB {
			require.Contains(t, plan(t, db, d, "SELECT * FROM deals d WHERE "+condition, args...), "deals_owner")
			continue
		}
		conn, err := pgx.Connect(t.Context(), d.DSN("pgx"))
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close(t.Context())) }()
		_, err = conn.Exec(t.Context(), "SET enable_seqscan = off")
		require.NoError(t, err)
		rows, err := conn.Query(t.Context(), "EXPLAIN SELECT * FROM deals d WHERE "+condition, args...)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.Contains(t, strings.Join(lines, "\n"), "Index Cond: ((tenant = '"+bobUUID+"'::uuid) AND (owner = '"+annUUID+"'::uuid))")
		rows, err = conn.Query(t.Context(), "SELECT d.owner FROM deals d WHERE "+condition, args...)
		require.NoError(t, err)
		owners, err := pgx.CollectRows(rows, pgx.RowTo[any])
		require.NoError(t, err)
		require.IsType(t, [16]byte{}, owners[0])
		require.NoError(t, policy.Check(t.Context(), accesscontrol.Principal{Tenant: bobUUID, ID: annUUID}, "read", accesscontrol.Resource{Type: "deal", ID: annUUID, Tenant: bobUUID, Attrs: map[string]any{"owner": owners[0]}}))
	}
}

// A tenant may be an integer: "7", which "07" is not.
func TestATenantMayBeAnInteger(t *testing.T) {
	config := dealConfig(`@id("all") permit (principal, action, resource);`)
	config.Tables[0].TenantAs = accesscontrol.Integer
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		ddl := dealTable(d)
		tenant := ddl[strings.Index(ddl, "tenant ") : strings.Index(ddl, "tenant ")+strings.Index(ddl[strings.Index(ddl, "tenant "):], " NOT NULL")]
		_, err := db.ExecContext(t.Context(), strings.Replace(ddl, tenant, "tenant INTEGER", 1))
		require.NoError(t, err)
		require.NoError(t, policy.CheckSchema(t.Context(), db))
		_, err = db.ExecContext(t.Context(), "INSERT INTO deals VALUES ('d1', 7, 'ann', NULL, 'open', 1), ('d2', 8, 'ann', NULL, 'open', 1)")
		require.NoError(t, err)
		for tenant, want := range map[string]int{"7": 1, "8": 1, "07": 0, "9223372036854775807": 0, "seven": 0, "7 ": 0} {
			where, err := policy.Filter(t.Context(), accesscontrol.Principal{Tenant: tenant, ID: "ann", Attrs: map[string]any{"teams": []string{}}}, "read", "deal")
			require.NoError(t, err)
			condition, args := rendered(d, where, "d")
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM deals d WHERE "+condition, args...).Scan(&n))
			require.Equal(t, want, n, tenant)
		}
	})
}

// Times are equal where their milliseconds are, as Cedar has them, whatever a
// column keeps behind these; text without a zone is UTC.
func TestATimeOfARowIsReadToTheMillisecond(t *testing.T) {
	config := dealConfig(`@id("due") permit (principal, action, resource) when { resource.due == datetime("2026-11-27T23:30:00.123Z") };`)
	config.Texts["d.cedarschema"] = `entity User; entity Deal = { due: datetime }; action read appliesTo { principal: User, resource: Deal };`
	config.Tables[0].Columns = []accesscontrol.Column{{Attr: "due", Required: true}}
	require.Contains(t, problems(t, config)[0], "set Column.As to Timestamp")
	config.Tables[0].Columns[0].As = accesscontrol.Timestamp
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	ann := accesscontrol.Principal{Tenant: "main", ID: "ann"}
	check := func(due any) error {
		return policy.Check(t.Context(), ann, "read", accesscontrol.Resource{Type: "deal", ID: "d", Tenant: "main", Attrs: map[string]any{"due": due}})
	}
	at := time.Date(2026, 11, 27, 23, 30, 0, 123_999_999, time.UTC)
	for _, due := range []any{at, at.In(time.FixedZone("", 3600)), &at, "2026-11-27 23:30:00.123999", []byte("2026-11-27 23:30:00.123"), "2026-11-28T00:30:00.123+01:00", pgtype.Timestamptz{Time: at, Valid: true}} {
		require.NoError(t, check(due), "%v", due)
	}
	require.ErrorIs(t, check(at.Add(2)), accesscontrol.ErrDenied)
	require.ErrorIs(t, check(at.Truncate(time.Millisecond).Add(-1)), accesscontrol.ErrDenied)
	for _, due := range []any{nil, time.Time{}, "tomorrow", at.AddDate(9000, 0, 0), pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}, 17} {
		require.ErrorIs(t, check(due), accesscontrol.ErrRequest, "%v", due)
	}
}

// What no column can be compared for is refused when the policies are loaded,
// with what to do instead.
func TestWhatNoColumnHoldsIsRefusedAtLoad(t *testing.T) {
	for condition, want := range map[string]string{
		`resource.price == decimal("1.5")`: "declare it Long, in the smallest unit, such as cents",
		`resource.due < resource.made`:     "two times of the record are not compared",
		`resource.ref == resource.owner`:   "one column holds UUIDs and the other text",
		`resource.ref == resource.number`:  "one column holds UUIDs and the other integers",
	} {
		config := dealConfig(`@id("p") permit (principal, action, resource) when { ` + condition + ` };`)
		config.Texts["d.cedarschema"] = `entity User; entity Deal = { price: decimal, due: datetime, made: datetime, ref: User, owner: User, number: User }; action read appliesTo { principal: User, resource: Deal };`
		config.Tables[0].Columns = []accesscontrol.Column{
			{Attr: "price", Required: true},
			{Attr: "due", Required: true, As: accesscontrol.Timestamp},
			{Attr: "made", Required: true, As: accesscontrol.Timestamp},
			{Attr: "ref", Required: true, As: accesscontrol.UUID},
			{Attr: "owner", Required: true},
			{Attr: "number", Required: true, As: accesscontrol.Integer},
		}
		require.Contains(t, problems(t, config)[0], want)
	}
}

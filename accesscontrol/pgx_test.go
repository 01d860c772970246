package accesscontrol_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgtype/zeronull"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The types into which pgx scans without database/sql are read as what they
// hold, and as absent where they are not valid: a check answers what the filter
// selects.
func TestTypesOfPgx(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	db := d.Open(t)
	for _, statement := range []string{
		"CREATE TYPE stage AS ENUM ('lead', 'won')",
		"CREATE TABLE deals (id text PRIMARY KEY, tenant text NOT NULL, name text, code varchar(9), stage stage, n bigint, i integer, k smallint, flag boolean, uid uuid, due timestamptz, day date)",
		"INSERT INTO deals VALUES ('set', 'main', 'Zürich', 'a', 'won', 9223372036854775807, -1, 7, true, '" + annUUID + "', '2026-11-28T12:00:00.123456Z', '2026-11-28')",
		"INSERT INTO deals VALUES ('other', 'main', 'zürich', 'a ', 'lead', -9223372036854775808, 1, 0, false, '" + bobUUID + "', '2026-11-28T12:00:00.124Z', '2026-11-29')",
		"INSERT INTO deals (id, tenant) VALUES ('null', 'main')",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	conn, err := pgx.Connect(t.Context(), d.DSN("pgx"))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) }()

	config := dealConfig("")
	config.Texts["d.cedarschema"] = `entity User; entity Deal = { name?: String, code?: String, stage?: String, n?: Long, i?: Long, k?: Long, flag?: Bool, uid?: User, due?: datetime, day?: datetime };
		action read appliesTo { principal: User, resource: Deal };`
	as := map[string]accesscontrol.ColumnType{"stage": accesscontrol.Enum, "uid": accesscontrol.UUID, "due": accesscontrol.Timestamp, "day": accesscontrol.Date}
	config.Tables[0].Columns = nil
	for _, attr := range []string{"name", "code", "stage", "n", "i", "k", "flag", "uid", "due", "day"} {
		config.Tables[0].Columns = append(config.Tables[0].Columns, accesscontrol.Column{Attr: attr, As: as[attr]})
	}
	person := accesscontrol.Principal{Tenant: "main", ID: "ann"}
	for attr, c := range map[string]struct {
		value string
		into  []any
	}{
		"name":  {`"Zürich"`, []any{new(pgtype.Text), new(zeronull.Text), new(any), new(*string)}},
		"code":  {`"a"`, []any{new(pgtype.Text), new(zeronull.Text), new(any), new(*string)}},
		"stage": {`"won"`, []any{new(pgtype.Text), new(any), new(*string)}},
		"n":     {`9223372036854775807`, []any{new(pgtype.Int8), new(pgtype.Numeric), new(zeronull.Int8), new(any), new(*int64)}},
		"i":     {`-1`, []any{new(pgtype.Int4), new(pgtype.Int8), new(zeronull.Int4), new(any), new(*int32)}},
		"k":     {`7`, []any{new(pgtype.Int2), new(pgtype.Int4), new(any), new(*int16)}},
		"flag":  {`true`, []any{new(pgtype.Bool), new(any), new(*bool)}},
		"uid":   {`User::"` + annUUID + `"`, []any{new(pgtype.UUID), new(pgtype.Text), new(zeronull.UUID), new(any), new(*uuid.UUID), new(*[16]byte)}},
		"due":   {`datetime("2026-11-28T12:00:00.123Z")`, []any{new(pgtype.Timestamptz), new(zeronull.Timestamptz), new(any), new(*time.Time)}},
		"day":   {`datetime("2026-11-28")`, []any{new(pgtype.Date), new(any), new(*time.Time)}},
	} {
		for condition, want := range map[string]map[string]bool{
			"resource has " + attr + " && resource." + attr + " == " + c.value:         {"set": true},
			"!(resource has " + attr + " && resource." + attr + " == " + c.value + ")": {"other": true, "null": true},
			"resource has " + attr: {"set": true, "other": true},
		} {
			config.Texts["d.cedar"] = `@id("p") permit (principal, action, resource) when { ` + condition + ` };`
			policy, err := accesscontrol.Load(t.Context(), config)
			require.NoError(t, err)
			require.NoError(t, policy.CheckSchema(t.Context(), db))
			where, err := policy.Filter(t.Context(), person, "read", "deal")
			require.NoError(t, err)
			sql, args := where.Postgres("d", 1)
			rows, err := conn.Query(t.Context(), "SELECT id FROM deals d WHERE "+sql, args...)
			require.NoError(t, err)
			selected, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			require.Len(t, selected, len(want), "%s %v", condition, selected)
			for _, id := range selected {
				require.True(t, want[id])
			}
			for _, into := range c.into {
				for _, id := range []string{"set", "other", "null"} {
					v := reflect.New(reflect.TypeOf(into).Elem())
					require.NoError(t, conn.QueryRow(t.Context(), "SELECT "+attr+" FROM deals WHERE id = $1", id).Scan(v.Interface()), "%s into %T", attr, into)
					record := accesscontrol.Resource{Type: "deal", ID: id, Tenant: "main", Attrs: map[string]any{attr: v.Elem().Interface()}}
					err := policy.Check(t.Context(), person, "read", record)
					if want[id] {
						require.NoError(t, err, "%s of %s in %T", attr, id, into)
					} else {
						require.ErrorIs(t, err, accesscontrol.ErrDenied, "%s of %s in %T", attr, id, into)
					}
				}
			}
		}
	}
}

// What is no number and no time is refused, and never taken for one.
func TestInfinitiesOfPgxAreRefused(t *testing.T) {
	config := dealConfig(`@id("p") permit (principal, action, resource);`)
	config.Texts["d.cedarschema"] = `entity User; entity Deal = { n?: Long, due?: datetime, day?: datetime }; action read appliesTo { principal: User, resource: Deal };`
	config.Tables[0].Columns = []accesscontrol.Column{{Attr: "n"}, {Attr: "due", As: accesscontrol.Timestamp}, {Attr: "day", As: accesscontrol.Date}}
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	for attr, values := range map[string][]any{
		"n":   {pgtype.Numeric{NaN: true, Valid: true}, pgtype.Numeric{InfinityModifier: pgtype.Infinity, Valid: true}, pgtype.Float8{Float64: 1.5, Valid: true}},
		"due": {pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}, pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, pgtype.Infinity},
		"day": {pgtype.Date{InfinityModifier: pgtype.Infinity, Valid: true}, pgtype.Infinity},
	} {
		for _, v := range values {
			err := policy.Check(t.Context(), accesscontrol.Principal{Tenant: "main", ID: "ann"}, "read", accesscontrol.Resource{Type: "deal", ID: "d", Tenant: "main", Attrs: map[string]any{attr: v}})
			require.ErrorIs(t, err, accesscontrol.ErrRequest, "%T %v", v, v)
		}
	}
}

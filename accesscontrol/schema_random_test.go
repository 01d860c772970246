package accesscontrol_test

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// principals are of the first tenant, and one of the second where it has rows.
func (w *schemaWorld) principals(table drawnTable) []accesscontrol.Principal {
	out := nativePrincipals()
	for i := range out {
		out[i].Tenant = w.tenants[0]
	}
	out[1].ID = "7"
	out[1].Parents = append(slices.Clone(out[1].Parents), accesscontrol.Ref{Type: "Team", ID: "7"})
	if out[2].ID = nativeUUIDs[0]; table.only == "" {
		out[2].Tenant = w.tenants[1]
	}
	return out
}

// refusals are what Load says to policies that are drawn by type.
var refusals = []string{
	"optional attribute", "one column holds", "two times of the record", "the column holds", "becomes too long", "holds NUL", "no column in the binding",
}

// Whatever the schema, its names and the types of its columns: a filter selects
// the rows for which a check says yes, and a check says what Cedar does.
func TestFilterEqualsChecksOfDrawnSchemas(t *testing.T) {
	rounds := number(t, "CRMGUARD_RANDOM_SCHEMAS", 20) // 4 x 20 schemas are about 44,000 comparisons, in 6 s
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		seed := number(t, "CRMGUARD_SEED", 20261128)
		g := generator{Rand: rand.New(rand.NewPCG(seed, uint64(slices.Index(testdb.Names(), d.Name))))}
		drivers := d.Name.Drivers()
		db := d.OpenWith(t, drivers[len(drivers)-1])
		if d.Name == testdb.PostgresC {
			db = d.OpenWith(t, drivers[0])
		}
		seen := tally{refused: map[string]int{}}
		for round := range rounds {
			w := newSchemaWorld(g, d.Name, round)
			rows := w.fill(t, db)
			for _, table := range w.tables {
				for drawn := 0; drawn < 4; {
					text := w.policiesOf(table)
					policy, err := accesscontrol.Load(t.Context(), w.config(text))
					if err != nil {
						seen.refuse(t, err, w.config(text).Texts)
						continue
					}
					if drawn++; drawn == 1 {
						require.NoError(t, policy.CheckSchema(t.Context(), db), "%v", w.ddl)
					}
					seen.sets++
					for _, principal := range w.principals(table) {
						rows.compare(t, db, d, policy, table, principal, text, &seen)
					}
				}
			}
			w.drop(t, db)
		}
		t.Logf("seed %d: %d schemas, %d sets, %v, %d fields, refused %v", seed, rounds, seen.sets, &seen, seen.shown, seen.refused)
		seen.proves(t, 10)
	})
}

func (s *tally) refuse(t *testing.T, err error, texts map[string]string) {
	t.Helper()
	require.ErrorIs(t, err, accesscontrol.ErrPolicy)
	i := slices.IndexFunc(refusals, func(known string) bool { return strings.Contains(err.Error(), known) })
	require.GreaterOrEqual(t, i, 0, "%v\n%s", err, strings.Join(slices.Collect(maps.Values(texts)), "\n"))
	s.refused[refusals[i]]++
}

// compare asks of each row: the check, Cedar, the filter, its value, and now and
// then the fields.
func (w drawnRows) compare(t *testing.T, db *sql.DB, d testdb.Database, policy *accesscontrol.Policy, table drawnTable, principal accesscontrol.Principal, text string, seen *tally) {
	t.Helper()
	actor, err := policy.For(principal)
	require.NoError(t, err)
	byCedar, err := policy.CedarFor(principal, "read", table.resource())
	require.NoError(t, err)
	where, err := actor.Filter(t.Context(), "read", table.resource())
	require.NoError(t, err, text)
	alias := pick(w.Rand, []string{"c", "select", table.name})
	from := w.quoted(table.name) + " AS " + w.quoted(alias)
	condition, args := rendered(d, where, alias)
	_, found := allOf(t, db, "SELECT "+w.quoted(alias)+".rownr FROM "+from+" WHERE "+condition, args...)
	selected := map[int64]bool{}
	for _, row := range found {
		selected[row[0].(int64)] = true
	}
	value, args := rendered(d, where.Value(), alias)
	_, values := allOf(t, db, "SELECT "+value+" FROM "+from+" ORDER BY "+w.quoted(alias)+".rownr", args...)
	_, missed := allOf(t, db, "SELECT "+value+" FROM (SELECT 1 AS one) AS k LEFT JOIN "+from+" ON 1 = 0", args...)
	require.False(t, isTrue(t, missed[0][0]), "the miss of an outer join is no record:\n%s\n%s", text, value)
	if seen.filters++; len(selected) == 0 {
		seen.empty++
	}
	if strings.Contains(condition, "crmguard_1") {
		seen.joined++
	}
	for i, r := range w.rows[table.entity] {
		record := w.with(r, table, false, 3)
		decided, err := actor.Decide(t.Context(), "read", record)
		require.NoError(t, err, "%s\n%v", text, record)
		want, err := byCedar(w.with(r, table, true, 3))
		require.NoError(t, err, text)
		seen.row(t, decided, want, sql.NullBool{Bool: isTrue(t, values[i][0]), Valid: true}, selected[int64(i)], func() string {
			return fmt.Sprintf("row %d, principal %s of %s\n%s\n%s\n%s\n%s\n%v", i, principal.ID, principal.Tenant,
				w.config(text).Texts["drawn.cedarschema"], strings.Join(w.ddl, "\n"), text, condition+"\n"+value, record)
		})
	}
	if w.IntN(4) == 0 {
		w.compareFields(t, db, d, actor, table, seen)
	}
}

// isTrue reads a condition, which is never NULL.
func isTrue(t *testing.T, v any) bool {
	t.Helper()
	switch v := v.(type) {
	case bool:
		return v
	case int64:
		return v != 0
	default:
		t.Fatalf("the condition is %T", v)
		return false
	}
}

// compareFields compares the select list with the fields of each record.
func (w drawnRows) compareFields(t *testing.T, db *sql.DB, d testdb.Database, actor *accesscontrol.Actor, table drawnTable, seen *tally) {
	t.Helper()
	list, err := actor.Columns(t.Context(), table.resource())
	if err != nil {
		require.Regexp(t, "a plain SQL identifier|declares no column", err.Error())
		return
	}
	list = list.WithVisibility()
	columns, args := renderedColumns(d, list)
	if columns != "" {
		columns = ", " + columns
	}
	names, rows := allOf(t, db, "SELECT c.rownr"+columns+" FROM "+w.quoted(table.name)+" AS c", args...)
	for _, row := range rows {
		r := w.rows[table.entity][row[0].(int64)]
		fields, err := actor.Fields(t.Context(), w.with(r, table, false, 3))
		require.NoError(t, err)
		for i, name := range names {
			of, is := strings.CutSuffix(name, "_visibility")
			if !is || fields[of] == accesscontrol.Hidden && !allowedTo(t, actor, w.with(r, table, false, 3)) {
				continue
			}
			require.Equal(t, int64(min(fields[of], accesscontrol.Readable)), row[i], "%s of %v", of, r)
			seen.shown++
		}
	}
}

func allowedTo(t *testing.T, actor *accesscontrol.Actor, r accesscontrol.Resource) bool {
	t.Helper()
	decided, err := actor.Decide(t.Context(), "read", r)
	require.NoError(t, err)
	return decided.Allowed
}

func renderedColumns(d testdb.Database, list accesscontrol.Columns) (string, []any) {
	switch d.Name {
	case testdb.SQLite:
		return list.SQLite("c")
	case testdb.MariaDB:
		return list.MySQL("c")
	default:
		return list.Postgres("c", 1)
	}
}

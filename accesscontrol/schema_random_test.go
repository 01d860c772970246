package accesscontrol_test

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// drawnRecord is a row as an application reads it, and as Cedar takes it.
type drawnRecord struct {
	accesscontrol.Resource
	cedar map[string]any
}

// drawnRows are the rows of a schema: those of each table by their number.
type drawnRows struct {
	*schemaWorld
	rows map[string][]drawnRecord // by entity type
}

// fill makes the tables and their rows, and reads these back.
func (w *schemaWorld) fill(t *testing.T, db *sql.DB) drawnRows {
	t.Helper()
	for _, statement := range w.ddl {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	for _, table := range w.tables {
		w.insert(t, db, table)
	}
	out := drawnRows{w, map[string][]drawnRecord{}}
	for _, table := range w.tables {
		out.rows[table.entity] = w.read(t, db, table)
	}
	return out
}

func (w *schemaWorld) drop(t *testing.T, db *sql.DB) {
	t.Helper()
	statements := []string{}
	for _, table := range w.tables {
		statements = append(statements, "DROP TABLE "+w.quoted(table.name))
		for _, a := range table.attrs {
			if a.set {
				statements = append(statements, "DROP TABLE "+a.pairs)
			}
		}
	}
	for _, name := range w.types {
		statements = append(statements, "DROP TYPE "+name)
	}
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// insertAll writes rows in one statement.
func (w *schemaWorld) insertAll(t *testing.T, db *sql.DB, table string, rows [][]any) {
	t.Helper()
	if len(rows) == 0 {
		return
	}
	var tuples []string
	var args []any
	for _, row := range rows {
		places := make([]string, len(row))
		for i, v := range row {
			args = append(args, v)
			if places[i] = "?"; w.postgres() {
				places[i] = "$" + strconv.Itoa(len(args))
			}
		}
		tuples = append(tuples, "("+strings.Join(places, ", ")+")")
	}
	query := "INSERT INTO " + table + " VALUES " + strings.Join(tuples, ", ")
	_, err := db.ExecContext(t.Context(), query, args...)
	require.NoError(t, err, "%s %v", query, args)
}

// stored is a value as a column of this database takes it.
func (w *schemaWorld) stored(a drawnAttr) any {
	v := pick(w.Rand, a.values)
	switch {
	case a.kind == "Bool" && a.ddl == "BIT(1)":
		return []byte{byte(len(v) % 2)}
	case a.kind == "Bool" && a.ddl == "boolean":
		return v == "true"
	case a.kind == "Bool":
		return int64(w.IntN(2))
	case a.kind == "Long", a.as == accesscontrol.Integer:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	case a.as == accesscontrol.Date:
		return pick(w.Rand, nativeDays)
	case a.as == accesscontrol.Timestamp:
		at := pick(w.Rand, nativeTimes)
		if a.ddl != "timestamptz" && a.ddl != "DATETIME(6)" && at.Year() == 9999 { // would round to the year after
			at = nativeTimes[0]
		}
		return at.Format("2006-01-02 15:04:05.000000")
	default:
		return v
	}
}

func whole(as accesscontrol.ColumnType, id string) any {
	if n, err := strconv.ParseInt(id, 10, 64); err == nil && as == accesscontrol.Integer {
		return n
	}
	return id
}

func (w *schemaWorld) insert(t *testing.T, db *sql.DB, table drawnTable) {
	t.Helper()
	taken := map[string]bool{}
	var rows [][]any
	pairs := map[string][][]any{}
	fold := func(s string) string { return strings.ToLower(strings.ReplaceAll(strings.Trim(s, " "), "á", "a")) }
	for range 40 {
		tenant, id := pick(w.Rand, w.tenants), pick(w.Rand, table.ids)
		if w.IntN(2) == 0 {
			tenant = w.tenants[0]
		}
		if table.only != "" {
			tenant = table.only
		}
		if table.keyAs == "" && w.IntN(9) == 0 {
			id = strings.ToUpper(id)
		}
		key := fold(tenant) + "/" + fold(id) // no collation takes two of them for one
		if taken[key] {
			continue
		}
		taken[key] = true
		row := []any{int64(len(rows)), whole(table.keyAs, id)}
		if table.only == "" {
			row = append(row, whole(table.tenantAs, tenant))
		}
		for _, a := range table.attrs {
			switch {
			case a.set:
				for range w.IntN(4) {
					pair := []any{int64(len(pairs[a.pairs])), whole(table.keyAs, id), w.stored(a)}
					if w.IntN(8) == 0 {
						pair[1+w.IntN(2)] = nil
					}
					if !a.pairsOnly {
						if w.IntN(4) == 0 {
							tenant = pick(w.Rand, w.tenants)
						}
						pair = append(pair, tenant)
					}
					pairs[a.pairs] = append(pairs[a.pairs], pair)
				}
			case !a.required && w.IntN(3) == 0:
				row = append(row, nil)
			default:
				row = append(row, w.stored(a))
			}
		}
		rows = append(rows, row)
	}
	w.insertAll(t, db, w.quoted(table.name), rows)
	for name, rows := range pairs {
		w.insertAll(t, db, name, rows)
	}
}

// asID is an id as a driver gives it.
func asID(v any) string {
	if b, is := v.([]byte); is {
		return string(b)
	}
	return fmt.Sprint(v)
}

// allOf reads a query as values of the driver.
func allOf(t *testing.T, db *sql.DB, query string, args ...any) (names []string, out [][]any) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	names, err = rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...))
		out = append(out, values)
	}
	require.NoError(t, rows.Err(), query)
	return names, out
}

func (w *schemaWorld) read(t *testing.T, db *sql.DB, table drawnTable) (out []drawnRecord) {
	t.Helper()
	_, rows := allOf(t, db, "SELECT * FROM "+w.quoted(table.name)+" ORDER BY rownr")
	pairs := map[string][][]any{}
	for _, a := range table.attrs {
		if a.set {
			_, pairs[a.name] = allOf(t, db, "SELECT * FROM "+a.pairs)
		}
	}
	for _, row := range rows {
		r := drawnRecord{accesscontrol.Resource{Type: table.resource(), ID: asID(row[1]), Tenant: table.only, Attrs: map[string]any{}}, map[string]any{}}
		rest := row[2:]
		if table.only == "" {
			r.Tenant, rest = asID(row[2]), row[3:]
		}
		for _, a := range table.attrs {
			if a.set {
				r.Attrs[a.name] = elementsOf(w, a, pairs[a.name], r.Resource)
				r.cedar[a.name] = r.Attrs[a.name]
				continue
			}
			r.Attrs[a.name], r.cedar[a.name] = rest[0], rest[0]
			if text, is := rest[0].([]byte); is && a.as == accesscontrol.Timestamp { // Cedar knows no time without a zone
				at, err := time.Parse("2006-01-02 15:04:05.999999", string(text))
				require.NoError(t, err)
				r.cedar[a.name] = at
			}
			rest = rest[1:]
		}
		out = append(out, r)
	}
	return out
}

// elementsOf are what an application reads of the pairs of a set.
func elementsOf(w *schemaWorld, a drawnAttr, pairs [][]any, r accesscontrol.Resource) any {
	texts, numbers := []string{}, []int64{}
	for _, p := range pairs {
		tenant := w.tenants[0]
		if !a.pairsOnly {
			tenant = asID(p[3])
		}
		if p[1] == nil || p[2] == nil || tenant != r.Tenant || asID(p[1]) != r.ID {
			continue
		}
		if n, is := p[2].(int64); is && a.kind == "Long" {
			numbers = append(numbers, n)
			continue
		}
		texts = append(texts, asID(p[2]))
	}
	if a.kind == "Long" {
		return numbers
	}
	return texts
}

// with is a record with those that it refers to, of its own tenant, or, where
// there is none, of another.
func (w drawnRows) with(r drawnRecord, table drawnTable, cedar bool, depth int) accesscontrol.Resource {
	out := r.Resource
	if cedar {
		out.Attrs = r.cedar
	}
	out.Related = map[string]accesscontrol.Resource{}
	for _, a := range table.attrs {
		if !a.join || r.Attrs[a.name] == nil || depth == 0 {
			continue
		}
		id := asID(r.Attrs[a.name])
		var found *drawnRecord
		for i, other := range w.rows[a.kind] {
			if other.ID == id && (found == nil || other.Tenant == r.Tenant) {
				found = &w.rows[a.kind][i]
			}
		}
		out.Related[a.name] = accesscontrol.Resource{}
		if found != nil {
			out.Related[a.name] = w.with(*found, w.bound(a.kind), cedar, depth-1)
		}
	}
	return out
}

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

// tally counts what a test has seen.
type tally struct {
	sets, comparisons, allowed, filters, empty, joined, failing, shown int
	refused                                                            map[string]int
}

// Whatever the schema, its names and the types of its columns: a filter selects
// the rows for which a check says yes, and a check says what Cedar does.
func TestFilterEqualsChecksOfDrawnSchemas(t *testing.T) {
	rounds := number(t, "CRMGUARD_RANDOM_SCHEMAS", 8)
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
		t.Logf("seed %d: %d schemas, %+v", seed, rounds, seen)
		require.Greater(t, seen.allowed, seen.comparisons/10, "the generator must permit enough to prove anything")
		require.LessOrEqual(t, 4*seen.empty, seen.filters, "too many filters select nothing")
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
		decided.Nearest = accesscontrol.Nearest{}
		if !reflect.DeepEqual(want, decided) {
			t.Fatalf("Cedar %v, Decide %v\n%s\n%s\n%v", want, decided, w.config(text).Texts["drawn.cedarschema"], text, record)
		}
		if seen.comparisons++; decided.Allowed {
			seen.allowed++
		}
		if decided.Reason == accesscontrol.ForbidFailed {
			seen.failing++
		}
		if inValue := isTrue(t, values[i][0]); inValue != decided.Allowed || selected[int64(i)] != decided.Allowed {
			t.Fatalf("check %v %v, SQL %v and %v, row %d, principal %s of %s\n%s\n%s\n%s\n%s\n%v", decided.Allowed, decided.Reason, inValue, selected[int64(i)], i, principal.ID, principal.Tenant,
				w.config(text).Texts["drawn.cedarschema"], strings.Join(w.ddl, "\n"), text, condition+"\n"+value, record)
		}
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

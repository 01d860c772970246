package accesscontrol_test

import (
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// Rows of a schema that was drawn, as an application writes and reads them.

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

package stranger

import (
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// fill writes all rows in one transaction, and moves the sequences of PostgreSQL
// behind them, as the other two do by themselves.
func (w *World) fill(tb testing.TB) {
	tb.Helper()
	tx, err := w.SQL.BeginTx(tb.Context(), nil)
	if err != nil {
		tb.Fatalf("stranger: %v", err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, t := range tables {
		var rows [][]any
		w.expected.Table(w.Table(t.name), t.key()...)
		for i, r := range t.rows(w) {
			r.w, r.table, r.i = w, t.name, i
			rows = append(rows, w.values(t, r))
		}
		w.insert(tb, tx, t, rows)
	}
	if w.dialect.Kind == sqldb.Postgres {
		for _, name := range serials {
			w.exec(tb, tx, "SELECT setval('"+name+"_id_seq', max(id)) FROM "+name)
		}
	}
	if err := tx.Commit(); err != nil {
		tb.Fatalf("stranger: %v", err)
	}
}

// values makes a row, and writes down what of it is to be found, and whom it names.
func (w *World) values(t table, r row) []any {
	out := make([]any, len(t.columns))
	owner := wholedb.Nobody
	var about []int
	if r.p != nil {
		owner, about = r.p.N, []int{r.p.N}
	}
	for i, c := range t.columns {
		value := c.of(r)
		of, ok := value.(marked)
		if !ok {
			of = marked{value, []needle{{of: r.p, text: asText(value), fate: old(c.fate, r)}}}
		}
		for _, n := range of.needles {
			if n.of != nil {
				about = append(about, n.of.N)
				w.expected.Place(wholedb.Placed{
					Needle: wholedb.Needle{Name: w.Table(t.name) + "." + c.name, Text: n.text, Phone: n.phone},
					Of:     n.of.N, Row: owner, Fate: n.fate,
				})
			}
		}
		if p, ok := of.value.(*Person); ok {
			about = append(about, p.N)
		}
		out[i] = w.native(of.value)
	}
	key := make([]string, t.width())
	for i := range key {
		key[i] = asText(out[i])
	}
	w.expected.Row(w.Table(t.name), key, about...)
	return out
}

// width is how many columns, from the first on, are the key.
func (t table) width() int {
	return max(1, map[string]int{"deal_persons": 2, "invoices": 2, "invoice_lines": 3}[t.name])
}

func (t table) key() []string {
	var out []string
	for _, c := range t.columns[:t.width()] {
		out = append(out, c.name)
	}
	return out
}

// serials are the tables whose numbers the database gives out.
var serials = []string{"contacts", "emails", "portal_accounts", "notes", "deals", "comments", "mailing_list", "outbox"}

func asText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}

// native is a value as an application hands it to this database.
func (w *World) native(value any) any {
	switch v := value.(type) {
	case *Person:
		return v.ID
	case time.Time:
		if w.Name == testdb.SQLite {
			return v.UnixMicro()
		}
	}
	return value
}

// insert writes the rows in as few statements as every database takes.
func (w *World) insert(tb testing.TB, tx *sql.Tx, t table, rows [][]any) {
	tb.Helper()
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	one := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ") + ")"
	for part := range slices.Chunk(rows, 500) {
		w.exec(tb, tx, w.dialect.Bind("INSERT INTO "+w.Table(t.name)+" ("+strings.Join(names, ", ")+") VALUES "+
			strings.TrimSuffix(strings.Repeat(one+", ", len(part)), ", ")), slices.Concat(part...)...)
	}
}

func (w *World) exec(tb testing.TB, tx *sql.Tx, query string, args ...any) {
	tb.Helper()
	if _, err := tx.ExecContext(tb.Context(), query, args...); err != nil {
		tb.Fatalf("stranger: %v\n%s", err, query[:min(len(query), 200)])
	}
}

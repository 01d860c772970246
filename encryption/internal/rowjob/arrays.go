package rowjob

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// arrays are what one statement of PostgreSQL is told of rows of one shape: an
// array for each column of the key, and for each value in text that it compares or
// writes. Values in bytes stand one behind the other in one value, with an array
// of where each begins: every driver passes bytes on as they are, an array of them
// only as text, which the server takes apart letter by letter. The text of the
// statement is the same for any number of rows, which drivers and the server
// remember.
type arrays struct {
	s          *storedTable
	plans      []*rowPlan
	names      []string // of their columns
	values     []string
	args       []any
	bytes      []func(*rowPlan) any // of a row
	conditions []string
}

// arraysOf begins with the key: the rows are found by it.
func (s *storedTable) arraysOf(plans []*rowPlan) *arrays {
	a := &arrays{s: s, plans: plans}
	for i, c := range s.key.Columns {
		a.conditions = append(a.conditions, c.SameAs(a.array(c, func(p *rowPlan) any { return p.row.cursor[i] })))
	}
	return a
}

// array adds an array of values for a column, and returns what the statement calls
// the value of a row.
func (a *arrays) array(c sqldb.Column, value func(*rowPlan) any) (name string) {
	// The server finds out the type: this is never computed.
	a.values = append(a.values, "CASE WHEN true THEN ? ELSE (SELECT array_agg("+c.Name+") FROM "+a.s.sql+" WHERE false) END")
	a.args = append(a.args, arrayOf(a.plans, value))
	name = fmt.Sprintf(`"crmguard: %d"`, len(a.values)) // beside the names of a table that others made
	a.names = append(a.names, name)
	return name
}

// add adds the values of a column, and returns what the statement calls the value
// of a row.
func (a *arrays) add(c sqldb.Column, value func(*rowPlan) any) (expression string) {
	if !c.Binary() {
		return a.array(c, value)
	}
	a.bytes = append(a.bytes, value)
	begin := func(n int) string {
		return fmt.Sprintf(`"crmguard: begins"[CAST(("crmguard: n" - 1) * "crmguard: width" AS integer) + %d]`, n)
	}
	n := len(a.bytes)
	return `substring("crmguard: bytes" FROM ` + begin(n) + ` FOR ` + begin(n+1) + ` - ` + begin(n) + `)`
}

// holds adds the condition that a column holds a value.
func (a *arrays) holds(c sqldb.Column, value func(*rowPlan) any) {
	a.conditions = append(a.conditions, c.SameAs(a.add(c, value)))
}

func (a *arrays) where(more string) string {
	return strings.Join(append(a.conditions, more), " AND ")
}

func (a *arrays) table() string {
	rows := `unnest(` + strings.Join(a.values, ", ") + `) WITH ORDINALITY AS "crmguard: rows" (` + strings.Join(a.names, ", ") + `, "crmguard: n")`
	if len(a.bytes) > 0 {
		rows += `, (SELECT CAST(? AS bytea), CAST(? AS integer[]), CAST(? AS integer)) AS "crmguard: all" ("crmguard: bytes", "crmguard: begins", "crmguard: width")`
	}
	return rows
}

// ask asks for rows.
func (a *arrays) ask(ctx context.Context, tx *sql.Tx, scan func(*sql.Rows) error, query string, args []any) error {
	all := a.args
	if len(a.bytes) > 0 {
		values, begins := a.joined()
		all = append(all, values, begins, len(a.bytes))
	}
	return sqldb.Each(ctx, tx, scan, a.s.db.Bind(query), append(all, args...)...)
}

// joined is the values in bytes, row by row, and an array of where each begins,
// counted from 1, and where the last one ends.
func (a *arrays) joined() (values []byte, begins string) {
	size := 0
	for _, p := range a.plans {
		for _, value := range a.bytes {
			size += lengthOf(value(p))
		}
	}
	values = make([]byte, 0, size)
	places := make([]byte, 0, 2+len(a.plans)*len(a.bytes)*len("1234567,"))
	for _, p := range a.plans {
		for _, value := range a.bytes {
			places = strconv.AppendInt(append(places, ','), int64(len(values)+1), 10)
			raw, _ := value(p).([]byte) // isElement
			values = append(values, raw...)
		}
	}
	places = strconv.AppendInt(append(places, ','), int64(len(values)+1), 10)
	places[0] = '{'
	return values, string(append(places, '}'))
}

var inArray = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// arrayOf writes an array as PostgreSQL reads it, which every driver passes on.
func arrayOf(plans []*rowPlan, value func(*rowPlan) any) string {
	size := 2
	for _, p := range plans {
		size += 2*lengthOf(value(p)) + len(`,"\\x"`)
	}
	out := append(make([]byte, 0, size), '{')
	for i, p := range plans {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		switch v := value(p).(type) {
		case []byte:
			out = hex.AppendEncode(append(out, `\\x`...), v)
		case string:
			out = append(out, inArray.Replace(v)...)
		}
		out = append(out, '"')
	}
	return string(append(out, '}'))
}

package rowjob

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// Rows whose changes concern the same columns are swapped by one statement on
// PostgreSQL, which says which of them it has changed: that saves a way to the
// server for each row. Each row is compared with what was read of it as if it were
// alone. The other databases do not say which rows they have changed (MariaDB), or
// have no way to the server (SQLite).

// What is written by one statement at most; a larger row goes alone. A driver
// holds the text of it, in which bytes are two digits each.
const (
	rowsTogether  = 500
	bytesTogether = 1 << 20
)

// swapTogether swaps those rows that can be swapped together, and returns the
// others. What another has changed is lost. One that the database leaves as it
// was, and says nothing, is a refusal, as in swap.
func (s *storedTable) swapTogether(ctx context.Context, tx *sql.Tx, tenant string, plans []*rowPlan) (singly []*rowPlan, err error) {
	if s.db.Kind != sqldb.Postgres || s.singly {
		return plans, nil
	}
	var shapes []*group
	for _, p := range plans {
		size, ok := s.together(p)
		if !ok {
			singly = append(singly, p)
			continue
		}
		i := slices.IndexFunc(shapes, func(g *group) bool { return g.takes(p, size) })
		if i < 0 {
			i, shapes = len(shapes), append(shapes, &group{})
		}
		shapes[i].plans, shapes[i].size = append(shapes[i].plans, p), shapes[i].size+size
	}
	for _, g := range shapes {
		if len(g.plans) == 1 {
			singly = append(singly, g.plans[0])
			continue
		}
		if err := s.swapGroup(ctx, tx, tenant, g.plans); err != nil {
			return nil, err
		}
	}
	return singly, nil
}

// group is what one statement swaps.
type group struct {
	plans []*rowPlan
	size  int
}

func (g *group) takes(p *rowPlan, size int) bool {
	return len(g.plans) < rowsTogether && g.size+size <= bytesTogether &&
		slices.EqualFunc(g.plans[0].changes, p.changes, func(a, b cellChange) bool { return a.column.Name == b.column.Name })
}

// together says whether a row can be swapped with others, and how large it is. One
// that goes over to another owner goes alone: cells that stay are compared, too.
func (s *storedTable) together(p *rowPlan) (size int, ok bool) {
	ok = p.into == ""
	for i, c := range s.key.Columns {
		size, ok = size+lengthOf(p.row.cursor[i]), ok && isElement(c, p.row.cursor[i])
	}
	for _, c := range p.changes {
		size += lengthOf(c.old) + lengthOf(c.new)
		ok = ok && !c.keep && isElement(c.column, c.old) && isElement(c.column, c.new)
	}
	return size, ok && size <= bytesTogether/2
}

// isElement says whether a value means the same to a column as an element of an
// array: bytes in a column of bytes, text in any other.
func isElement(c sqldb.Column, value any) bool {
	switch value.(type) {
	case []byte:
		return c.Binary()
	case string:
		return !c.Binary()
	}
	return false
}

func lengthOf(value any) int {
	switch v := value.(type) {
	case []byte:
		return len(v)
	case string:
		return len(v)
	}
	return 0
}

// swapGroup swaps rows of one shape, and reads them back: a trigger that runs after
// the statement may put back what was there.
func (s *storedTable) swapGroup(ctx context.Context, tx *sql.Tx, tenant string, plans []*rowPlan) error {
	changed, err := s.swapped(ctx, tx, tenant, plans)
	if err != nil {
		return doubtOf(s.failed("update", err), namesOf(plans[0].changes)...)
	}
	written, err := s.written(ctx, tx, tenant, plans)
	if err != nil {
		return s.failed("read", err)
	}
	for i, p := range plans {
		if changed[i] && !written[i] {
			return s.storedOtherwise()
		}
		if changed[i] {
			continue
		}
		there, err := s.lock(ctx, tx, tenant, p.row, p.changes)
		if err == nil && there {
			err = s.leftAsItWas()
		}
		if err != nil {
			return err
		}
		p.lost = true
	}
	return nil
}

// swapped updates the rows that still hold what was read, and says which.
func (s *storedTable) swapped(ctx context.Context, tx *sql.Tx, tenant string, plans []*rowPlan) ([]bool, error) {
	a := s.arraysOf(plans)
	var set []string
	for i, c := range plans[0].changes {
		a.holds(c.column, func(p *rowPlan) any { return p.changes[i].old })
		set = append(set, c.column.Name+" = "+a.add(c.column, func(p *rowPlan) any { return p.changes[i].new }))
	}
	of, args := s.ofTenant(tenant)
	return a.which(ctx, tx, `UPDATE `+s.sql+` SET `+strings.Join(set, ", ")+` FROM `+a.table()+` WHERE `+a.where(of)+` RETURNING "crmguard: n"`, args)
}

// written says which rows hold what they were to hold.
func (s *storedTable) written(ctx context.Context, tx *sql.Tx, tenant string, plans []*rowPlan) ([]bool, error) {
	a := s.arraysOf(plans)
	for i, c := range plans[0].changes {
		a.holds(c.column, func(p *rowPlan) any { return p.changes[i].new })
	}
	of, args := s.ofTenant(tenant)
	return a.which(ctx, tx, `SELECT "crmguard: n" FROM `+s.sql+`, `+a.table()+` WHERE `+a.where(of), args)
}

// arrays are what one statement is told of rows of one shape: an array for each
// column of the key, and for each value that it compares or writes. The text of the
// statement is the same for any number of rows, which drivers and the server
// remember.
type arrays struct {
	s          *storedTable
	plans      []*rowPlan
	names      []string // of their columns
	values     []string
	args       []any
	conditions []string
}

// arraysOf begins with the key: the rows are found by it.
func (s *storedTable) arraysOf(plans []*rowPlan) *arrays {
	a := &arrays{s: s, plans: plans}
	for i, c := range s.key.Columns {
		a.holds(c, func(p *rowPlan) any { return p.row.cursor[i] })
	}
	return a
}

// add adds an array of values for a column, and returns what the statement calls
// the value of a row.
func (a *arrays) add(c sqldb.Column, value func(*rowPlan) any) (name string) {
	// The server finds out the type: this is never computed.
	a.values = append(a.values, "CASE WHEN true THEN ? ELSE (SELECT array_agg("+c.Name+") FROM "+a.s.sql+" WHERE false) END")
	a.args = append(a.args, arrayOf(a.plans, value))
	name = fmt.Sprintf(`"crmguard: %d"`, len(a.values)) // beside the names of a table that others made
	a.names = append(a.names, name)
	return name
}

// holds adds the condition that a column holds a value.
func (a *arrays) holds(c sqldb.Column, value func(*rowPlan) any) {
	a.conditions = append(a.conditions, c.SameAs(a.add(c, value)))
}

func (a *arrays) where(more string) string {
	return strings.Join(append(a.conditions, more), " AND ")
}

func (a *arrays) table() string {
	return `unnest(` + strings.Join(a.values, ", ") + `) WITH ORDINALITY AS "crmguard: rows" (` + strings.Join(a.names, ", ") + `, "crmguard: n")`
}

// which runs a statement that answers the numbers of rows, from 1.
func (a *arrays) which(ctx context.Context, tx *sql.Tx, query string, args []any) ([]bool, error) {
	out := make([]bool, len(a.plans))
	err := sqldb.Each(ctx, tx, func(rows *sql.Rows) error {
		var n int
		if err := rows.Scan(&n); err != nil {
			return err
		}
		out[n-1] = true
		return nil
	}, a.s.db.Bind(query), append(a.args, args...)...)
	return out, err
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

// isNotUnderstood says that the database does not take a statement, whatever the
// rows: a rule that has no answer for RETURNING, a key of a type of which there is
// no array.
func isNotUnderstood(err error) bool {
	fault, ok := errors.AsType[*sqldb.DriverError](err)
	return ok && (strings.HasPrefix(fault.Code, "42") || strings.HasPrefix(fault.Code, "0A"))
}

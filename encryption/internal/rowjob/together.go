package rowjob

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// Rows whose changes concern the same columns are swapped by one statement on
// PostgreSQL, which says which of them it has changed: that saves a way to the
// server for each row. Each row is compared with what was read of it as if it were
// alone. The other databases do not say which rows they have changed (MariaDB), or
// have no way to the server (SQLite).

// What is written by one statement at most; a larger row goes alone. A driver may
// hold it as text, in which bytes are two digits each.
const (
	rowsTogether  = 500
	bytesTogether = 1 << 20
)

// swapTogether swaps those rows that can be swapped together, and returns them in
// their groups, and the others. What another has changed is lost. One that the database leaves as it
// was, and says nothing, is a refusal, as in swap.
func (s *storedTable) swapTogether(ctx context.Context, tx *sql.Tx, tenant string, plans []*rowPlan) (groups []*group, singly []*rowPlan, err error) {
	if s.db.Kind != sqldb.Postgres || s.singly {
		return nil, plans, nil
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
		if err := s.swapGroup(ctx, tx, tenant, g); err != nil {
			return nil, nil, err
		}
		groups = append(groups, g)
	}
	return groups, singly, nil
}

// group is what one statement swaps.
type group struct {
	plans    []*rowPlan
	size     int
	now      []swappedRow // by plan
	mayDefer bool
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

// swapGroup swaps rows of one shape, and looks at them again: a trigger that runs
// after the statement may put back what was there.
func (s *storedTable) swapGroup(ctx context.Context, tx *sql.Tx, tenant string, g *group) (err error) {
	if g.now, err = s.swapped(ctx, tx, tenant, g.plans); err != nil {
		return doubtOf(s.failed("update", err), namesOf(g.plans[0].changes)...)
	}
	if err := s.holdsWritten(ctx, tx, tenant, g); err != nil {
		return err
	}
	for i, p := range g.plans {
		if g.now[i].changed {
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

// holdsWritten looks at the rows of a group that were changed.
func (s *storedTable) holdsWritten(ctx context.Context, tx *sql.Tx, tenant string, g *group) error {
	stand, err := s.stand(ctx, tx, g)
	if err == nil && !stand {
		err = s.readBack(ctx, tx, tenant, g.plans, g.now)
	}
	if err != nil {
		return s.failed("read", err)
	}
	if slices.ContainsFunc(g.now, func(row swappedRow) bool { return row.changed && !row.holds }) {
		return s.storedOtherwise()
	}
	return nil
}

// swappedRow is what an UPDATE says of a row.
type swappedRow struct {
	changed bool
	holds   bool   // what it was to hold
	place   string // ctid of the version that was made
}

// swapped updates the rows that still hold what was read, and says which, and what
// they hold then.
func (s *storedTable) swapped(ctx context.Context, tx *sql.Tx, tenant string, plans []*rowPlan) ([]swappedRow, error) {
	a := s.arraysOf(plans)
	var set []string
	written := []string{"true"}
	for i, c := range plans[0].changes {
		a.holds(c.column, func(p *rowPlan) any { return p.changes[i].old })
		value := a.add(c.column, func(p *rowPlan) any { return p.changes[i].new })
		set = append(set, c.column.Name+" = "+value)
		written = append(written, c.column.SameAs(value))
	}
	answer := []string{`"crmguard: n"`}
	if s.places {
		answer = append(answer, "CAST("+s.sql+".ctid AS text)", strings.Join(written, " AND "))
	}
	of, args := s.ofTenant(tenant)
	now := make([]swappedRow, len(plans))
	err := a.ask(ctx, tx, func(rows *sql.Rows) error {
		var n int
		row := swappedRow{changed: true}
		var holds sql.NullBool
		into := []any{&n}
		if s.places {
			into = append(into, &row.place, &holds)
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row.holds = holds.Bool
		now[n-1] = row
		return nil
	}, `UPDATE `+s.sql+` SET `+strings.Join(set, ", ")+` FROM `+a.table()+` WHERE `+a.where(of)+` RETURNING `+strings.Join(answer, ", "), args)
	return now, err
}

// stand says that the versions that an UPDATE has made are still those that this
// transaction sees. What one version of a row holds never changes: then the rows
// hold what the UPDATE said.
func (s *storedTable) stand(ctx context.Context, tx *sql.Tx, g *group) (stand bool, err error) {
	if !s.places {
		return false, nil
	}
	places, made := append(make([]byte, 0, 2+len(g.now)*len(`"(4294967295,65535)",`)), '{'), 0
	for _, row := range g.now {
		if !row.changed {
			continue
		}
		if made > 0 {
			places = append(places, ',')
		}
		places, made = append(append(append(places, '"'), row.place...), '"'), made+1
	}
	there := 0
	err = sqldb.One(ctx, tx, []any{&there, &g.mayDefer}, s.db.Bind(`SELECT count(*), `+mayDefer+` FROM `+s.sql+` WHERE ctid = ANY (CAST(? AS tid[]))`), string(append(places, '}')))
	return there == made, err
}

// readBack asks which rows hold what they were to hold.
func (s *storedTable) readBack(ctx context.Context, tx *sql.Tx, tenant string, plans []*rowPlan, now []swappedRow) error {
	a := s.arraysOf(plans)
	for i, c := range plans[0].changes {
		a.holds(c.column, func(p *rowPlan) any { return p.changes[i].new })
	}
	for i := range now {
		now[i].holds = false
	}
	of, args := s.ofTenant(tenant)
	return a.ask(ctx, tx, func(rows *sql.Rows) error {
		var n int
		if err := rows.Scan(&n); err != nil {
			return err
		}
		now[n-1].holds = true
		return nil
	}, `SELECT "crmguard: n" FROM `+s.sql+`, `+a.table()+` WHERE `+a.where(of), args)
}

// hasPlaces says whether ctid names a version of a row, and may be asked: in a
// table of PostgreSQL's own kind, of which one may read every column. Partitions
// have places of their own, and what others store may change in its place.
func (s *storedTable) hasPlaces(ctx context.Context) (has bool, err error) {
	if s.db.Kind != sqldb.Postgres {
		return false, nil
	}
	err = sqldb.Each(ctx, s.db, func(rows *sql.Rows) error { return rows.Scan(&has) },
		s.db.Bind(`SELECT c.relkind = 'r' AND a.amname = 'heap' AND has_table_privilege(c.oid, 'SELECT')
			FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam WHERE c.oid = to_regclass(?)`), s.sql)
	if err != nil {
		return false, s.failed("read", err)
	}
	return has, nil
}

// isNotUnderstood says that the database does not take a statement, whatever the
// rows: a rule that has no answer for RETURNING, a key of a type of which there is
// no array.
func isNotUnderstood(err error) bool {
	fault, ok := errors.AsType[*sqldb.DriverError](err)
	return ok && (strings.HasPrefix(fault.Code, "42") || strings.HasPrefix(fault.Code, "0A"))
}

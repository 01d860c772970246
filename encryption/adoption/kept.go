package adoption

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// errNotKept is about a row that stays as it was.
var errNotKept = errors.New("adoption: the table does not keep the value as it is written: the column is too short or of another type, or a trigger changes it; widen the column, or change the trigger")

// readBack is how many rows are asked for at once.
const readBack = 100

// stands reads back what was written, in its own transaction: a column may cut a
// value, take blanks away, make a number of digits, and a trigger may change it,
// all without an error. What did not stay as it is, byte for byte, must not be the
// only copy.
func (p *pass) stands(ctx context.Context, tx *sql.Tx, plans []plan, lost [][]any) error {
	wrote := map[string]plan{}
	var cursors [][]any
	for _, one := range plans {
		if len(one.changes) == 0 || isLost(lost, one.row.cursor) {
			continue
		}
		place, err := p.placed(one.row)
		if err != nil {
			return err
		}
		wrote[place] = one
		cursors = append(cursors, one.row.cursor)
	}
	for len(cursors) > 0 {
		n := min(len(cursors), readBack)
		var conditions []string
		var args []any
		for _, cursor := range cursors[:n] {
			condition, more := p.key.Equal(cursor)
			conditions = append(conditions, "("+condition+")")
			args = append(args, more...)
		}
		query, args := p.pageQuery(p.tenant, nil, strings.Join(conditions, " OR "), args, n)
		err := sqldb.Each(ctx, tx, func(rows *sql.Rows) error {
			r, err := p.scan(rows)
			if err != nil {
				return err
			}
			place, err := p.placed(r)
			if err != nil {
				return err
			}
			one, ours := wrote[place]
			if !ours || !p.holds(r, one.changes) {
				return errNotKept
			}
			delete(wrote, place)
			return nil
		}, query, args...)
		if err != nil {
			return sqldb.Safe(err)
		}
		cursors = cursors[n:]
	}
	if len(wrote) > 0 {
		return errNotKept // its key is another now, or it is hidden
	}
	return nil
}

// placed tells rows of a page apart. Drivers of MariaDB and PostgreSQL give a key as
// a number or as its digits, by how a query was sent; to SQLite 7 and '7' are two.
func (l *live) placed(r row) (string, error) {
	if l.db.Kind != sqldb.SQLite && r.idErr == nil {
		return r.id, nil
	}
	return placeText(r.cursor)
}

// holds says whether a row holds what the changes made of it.
func (l *live) holds(r row, changes []change) bool {
	have := map[string]any{}
	for i, c := range l.cells {
		have[c.plain.Name], have[c.stored.Name] = r.cells[i].plain, r.cells[i].sealed
		for j, v := range c.values {
			have[v.Name] = r.cells[i].values[j]
		}
	}
	for _, c := range changes {
		want := c.new
		if c.keep {
			want = c.old
		}
		if !sameStored(have[c.column.Name], want) {
			return false
		}
	}
	return true
}

// sameStored compares what a column holds with what was given to it, which drivers
// give back as bytes or text, and integers as digits too.
func sameStored(have, want any) bool {
	text := func(v any) (string, bool) {
		switch v := v.(type) {
		case string:
			return v, true
		case []byte:
			return string(v), v != nil
		case int64:
			return strconv.FormatInt(v, 10), true
		}
		return "", false
	}
	a, there := text(have)
	b, given := text(want)
	return there == given && a == b
}

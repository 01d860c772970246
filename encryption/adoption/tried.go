package adoption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// errTried rolls back what was only tried.
var errTried = errors.New("adoption: tried")

// triedRows is how many rows are tried.
const triedRows = 20

// tried writes a few rows as SealedOnly will, and rolls that back: triggers and
// deferred constraints speak by themselves. Rows that others hold are left alone.
func (m *moving) tried(ctx context.Context) ([]Obstacle, error) {
	rows, err := m.clears(ctx, m.row.tenant, nil, triedRows)
	if err != nil {
		return nil, err
	}
	about, err := m.aboutSealed(ctx)
	if err != nil {
		return nil, err
	}
	var set []string
	for _, c := range m.cells {
		set = append(set, c.plain.Name+" = CASE WHEN "+m.staying(c)+" THEN "+c.plain.Name+" END")
		if c.stored.Name != "" { // another value than before, to the guard
			set = append(set, c.stored.Name+" = "+m.altered(c))
		}
	}
	var tries [][]row
	for _, r := range rows {
		tries = append(tries, []row{r})
	}
	if len(rows) > 1 {
		tries = append(tries, rows) // each by itself, then beside each other
	}
	for _, some := range tries {
		var at row
		err := m.table.Write(ctx, func(tx *sql.Tx) error {
			do := func(statement string, given ...any) error {
				_, err := tx.ExecContext(ctx, m.db.Bind(statement), given...)
				return waitedFor(sqldb.Safe(err))
			}
			if m.db.Kind == sqldb.Postgres {
				if err := do(`SET LOCAL lock_timeout = '500ms'`); err != nil {
					return err
				}
			}
			for _, r := range some {
				at = r
				where, named := m.key.Equal(r.cursor)
				if err := do(m.patience()+`UPDATE `+m.sql+` SET `+strings.Join(set, ", ")+` WHERE `+where, named...); err != nil {
					return err
				}
			}
			if err := m.undeferred(ctx, tx); err != nil {
				return err
			}
			return errTried
		})
		switch {
		case errors.Is(err, errTried) || isHeld(err):
		case refusedRow(err):
			refused, _ := sqldb.Refused(err)
			if slices.Contains(about, refused.Constraint) || slices.ContainsFunc(m.cells, func(c liveColumn) bool { return c.sealed.SQL == refused.Column }) {
				continue
			}
			return []Obstacle{{Rows: 1, Listed: []Left{{Row: at.id, Why: refused.Error()}}, Why: fmt.Sprintf("the database refuses a row in which nothing stands in the clear (%v): change the constraint or the trigger that says so", refused)}}, nil
		default:
			return nil, fmt.Errorf("adoption: try what %s writes to %s: %w", SealedOnly, m.def.Name, err)
		}
	}
	return nil, nil
}

// altered is a sealed value with another last byte, NULL where there is none: one that
// is no longer than what the column takes.
func (m *moving) altered(c liveColumn) string {
	name := c.stored.Name
	switch {
	case m.db.Kind == sqldb.Postgres && !c.sealed.Text:
		return `CASE WHEN octet_length(` + name + `) > 0 THEN set_byte(` + name + `, octet_length(` + name + `) - 1, get_byte(` + name + `, octet_length(` + name + `) - 1) # 1) ELSE ` + name + ` END`
	case m.db.Kind == sqldb.Postgres:
		return `left(` + name + `, -1) || CASE WHEN right(` + name + `, 1) = 'A' THEN 'B' ELSE 'A' END`
	case m.db.Kind == sqldb.SQLite:
		other := `substr(` + name + `, 1, length(` + name + `) - 1) || CASE WHEN CAST(substr(` + name + `, -1) AS BLOB) = CAST('A' AS BLOB) THEN 'B' ELSE 'A' END`
		if c.sealed.Text {
			return other
		}
		return `CAST(` + other + ` AS BLOB)`
	}
	return `CONCAT(LEFT(` + name + `, CHAR_LENGTH(` + name + `) - 1), CASE WHEN RIGHT(` + name + `, 1) = 'A' THEN 'B' ELSE 'A' END)`
}

// aboutSealed names the CHECKs that look at sealed values: these are not there yet when
// it is asked beforehand, and no real ones when it is tried. What they say of rows as
// they will be, checked asks.
func (m *moving) aboutSealed(ctx context.Context) (names []string, err error) {
	all, err := m.checks(ctx)
	for _, c := range all {
		if c.name != "" && slices.ContainsFunc(m.cells, func(cell liveColumn) bool { return wordIn(c.expr, cell.sealed.SQL) }) {
			names = append(names, c.name)
		}
	}
	return names, err
}

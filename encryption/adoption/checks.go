package adoption

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// check is a CHECK of the table.
type check struct {
	name          string // "" where it has none
	expr          string
	drop, restore []string
}

// checks lists the CHECKs of the table.
func (l *live) checks(ctx context.Context) (out []check, err error) {
	switch l.db.Kind {
	case sqldb.SQLite:
		text, err := l.created(ctx)
		for _, one := range clauses(text, "CHECK") {
			out = append(out, check{name: one.name, expr: one.text})
		}
		return out, err
	case sqldb.Postgres:
		err = l.rows(ctx, func(scan func(...any) error) error {
			var quoted, definition string
			var c check
			err := scan(&c.name, &quoted, &c.expr, &definition)
			alter := `ALTER TABLE ` + l.sql
			c.drop, c.restore = []string{alter + ` DROP CONSTRAINT ` + quoted}, []string{alter + ` ADD CONSTRAINT ` + quoted + ` ` + definition}
			out = append(out, c)
			return err
		}, `SELECT CAST(c.conname AS text), quote_ident(c.conname), pg_get_expr(c.conbin, c.conrelid), pg_get_constraintdef(c.oid) FROM pg_catalog.pg_constraint c
			WHERE c.conrelid = to_regclass(?) AND c.contype = 'c' ORDER BY c.conname`, l.sql)
		return out, err
	case sqldb.MariaDB, sqldb.MySQL:
	}
	own, err := l.shown(ctx, sqldb.ColumnPart)
	if err != nil {
		return nil, err
	}
	parts, err := l.shown(ctx, sqldb.CheckPart)
	for _, one := range slices.Concat(own, parts) {
		if one.In == "" || one.Idle { // which refuses nothing
			continue
		}
		c, err := l.checkOf(one)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, err
}

// checkOf finds how a CHECK of MariaDB or MySQL leaves its table: one of a column
// has its name, and goes by saying this again without it.
func (l *live) checkOf(part sqldb.Part) (check, error) {
	c := check{name: part.Name, expr: part.In}
	if part.Kind == sqldb.ColumnPart {
		without := part.Bare
		if slices.ContainsFunc(l.cells, func(cell liveColumn) bool { return cell.Plain == c.name }) {
			without = strings.Replace(without, " NOT NULL", " NULL", 1) // which is dropped with it
		}
		c.drop, c.restore = []string{l.modify(without)}, []string{l.modify(part.Text)}
		return c, nil
	}
	quoted, err := l.db.QuoteName(c.name)
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	how := `CONSTRAINT `
	if l.db.Kind == sqldb.MySQL {
		how = `CHECK `
	}
	alter := `ALTER TABLE ` + l.sql
	c.drop, c.restore = []string{alter + ` DROP ` + how + quoted}, []string{alter + ` ADD ` + part.Text}
	return c, nil
}

// columnNames are all columns of the table.
func (l *live) columnNames(ctx context.Context) ([]string, error) {
	schema, name := l.parts()
	switch l.db.Kind {
	case sqldb.Postgres:
		return l.texts(ctx, `SELECT CAST(attname AS text) FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass(?) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, l.sql)
	case sqldb.SQLite:
		return l.texts(ctx, `SELECT name FROM pragma_table_xinfo(?, NULLIF(?, '')) WHERE hidden <> 1 ORDER BY cid`, name, schema)
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return l.texts(ctx, `SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`, schema, name)
}

// checked: a CHECK over a column in the clear refuses the NULL that will stand there,
// or never refuses anything any more. Each is asked about every row as it will be.
func (m *moving) checked(ctx context.Context) (out []Obstacle, err error) {
	all, err := m.checks(ctx)
	if err != nil {
		return nil, err
	}
	names, err := m.columnNames(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		i := slices.IndexFunc(m.cells, func(cell liveColumn) bool { return wordIn(c.expr, cell.Plain) })
		if i < 0 {
			continue
		}
		rows, refuses, err := m.refusesNULL(ctx, c, names)
		if err != nil {
			return nil, err
		}
		said := "CHECK " + c.name
		if c.name == "" {
			said = "a CHECK without a name"
		}
		o := Obstacle{Column: m.cells[i].Name, Rows: rows}
		switch {
		case refuses:
			o.Why = fmt.Sprintf("%s over %s refuses rows in which nothing stands there", said, m.cells[i].Plain)
			o.SQL, o.restores = c.drop, []restoring{{Of: "CHECK " + c.name, SQL: c.restore}}
			if len(c.drop) == 0 {
				o.Why += onSQLite
			}
		case m.options.LoseChecks || slices.ContainsFunc(m.cells, func(cell liveColumn) bool { return wordIn(c.expr, cell.sealed.SQL) }):
			continue // it is about what is sealed, too
		default:
			o.Why = fmt.Sprintf("%s over %s will refuse nothing any more, since NULL stands there: let the application check before it seals, or what it lets through blocks the way back, where Unseal is refused it", said, m.cells[i].Plain)
			o.Option = "LoseChecks"
		}
		out = append(out, o)
	}
	return out, nil
}

// staying is the condition that a value stays in the clear at SealedOnly: nothing is
// sealed of it.
func (m *moving) staying(c liveColumn) string {
	if m.ahead {
		return "1 = 0"
	}
	return c.stored.Name + " IS NULL"
}

// refusesNULL counts the rows that a CHECK would refuse when nothing stands in the
// clear any more. One that is about nothing else is asked about a row of NULLs, too.
func (m *moving) refusesNULL(ctx context.Context, c check, names []string) (rows int64, refuses bool, err error) {
	var selected []string
	alone := true
	for _, name := range names {
		quoted, err := m.db.QuoteName(name)
		if err != nil {
			return 0, false, fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		if i := slices.IndexFunc(m.cells, func(cell liveColumn) bool { return cell.Plain == name }); i >= 0 {
			quoted = `CASE WHEN ` + m.staying(m.cells[i]) + ` THEN ` + quoted + ` END AS ` + quoted // NULL of its type and collation
		} else if wordIn(c.expr, name) {
			alone = false
		}
		selected = append(selected, quoted)
	}
	_, name := m.parts()
	alias, err := m.db.Quote(name)
	if err != nil {
		return 0, false, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	of, args := m.of(m.row.tenant)
	var some []string
	for _, cell := range m.cells {
		some = append(some, cell.plain.Name+" IS NOT NULL")
		if cell.stored.Name != "" && wordIn(c.expr, cell.sealed.SQL) {
			of += " AND " + cell.stored.Name + " IS NOT NULL" // it will be
		}
	}
	from := []string{m.sql + ` WHERE ` + of + ` AND (` + strings.Join(some, " OR ") + `)`}
	if alone {
		from = append(from, `(SELECT 1 AS crmguard_one) AS crmguard_row LEFT JOIN `+m.sql+` ON 1 = 0`)
	}
	for i, one := range from {
		var n int64
		err := m.rows(ctx, func(scan func(...any) error) error { return scan(&n) },
			`SELECT COUNT(*) FROM (SELECT `+strings.Join(selected, ", ")+` FROM `+one+`) AS `+alias+` WHERE NOT (`+c.expr+`)`, args...)
		if refusedRow(err) { // a domain, for one
			return rows, true, nil
		}
		if err != nil {
			return 0, false, err
		}
		if i == 0 {
			rows, args = n, nil
		}
		refuses = refuses || n > 0
	}
	return rows, refuses, nil
}

// domains: a column of PostgreSQL may have a type that refuses NULL, or whose CHECK
// refuses nothing any more.
func (m *moving) domains(ctx context.Context) (out []Obstacle, err error) {
	err = m.each(func(c column) error {
		domain, refuses, err := m.domain(ctx, c)
		if err != nil || domain.name == "" {
			return err
		}
		quoted, err := m.db.QuoteName(c.Plain)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		alter := `ALTER TABLE ` + m.sql + ` ALTER COLUMN ` + quoted + ` TYPE `
		switch {
		case refuses:
			out = append(out, Obstacle{
				Column: c.Name, Why: fmt.Sprintf("%s is of the domain %s, which refuses NULL", c.Plain, domain.name),
				SQL: []string{alter + domain.base}, restores: []restoring{{Of: "TYPE " + c.Plain, SQL: []string{alter + domain.name}}},
			})
		case domain.checks && !m.options.LoseChecks:
			out = append(out, Obstacle{Column: c.Name, Option: "LoseChecks", Why: fmt.Sprintf("the CHECK of %s, the domain of %s, will refuse nothing any more, since NULL stands there: let the application check before it seals, or what it lets through blocks the way back, where Unseal is refused it", domain.name, c.Plain)})
		}
		return nil
	})
	return out, err
}

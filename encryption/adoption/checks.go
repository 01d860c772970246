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

// check is a CHECK of the table.
type check struct {
	name          string // "" where it has none
	expr          string
	drop, restore []string
}

// checks lists the CHECKs of the table.
func (l *live) checks(ctx context.Context) (out []check, err error) {
	schema, name := l.parts()
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
	query, how := `SELECT CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? ORDER BY CONSTRAINT_NAME`, `CONSTRAINT `
	if l.db.Kind == sqldb.MySQL {
		query, how = `SELECT c.CONSTRAINT_NAME, c.CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t
			ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME WHERE t.TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND t.TABLE_NAME = ? ORDER BY 1`, `CHECK `
	}
	err = l.rows(ctx, func(scan func(...any) error) error {
		var c check
		err := scan(&c.name, &c.expr)
		out = append(out, c)
		return err
	}, query, schema, name)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if err := l.dropsCheck(ctx, &out[i], how); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// dropsCheck finds how a CHECK of MariaDB leaves its table: one of a column stands at
// the end of that column's definition, and goes by saying this again without it.
func (l *live) dropsCheck(ctx context.Context, c *check, how string) error {
	if line, err := l.columnLine(ctx, c.name); err == nil && strings.HasSuffix(line, ` CHECK (`+c.expr+`)`) {
		c.drop, c.restore = []string{l.modify(strings.TrimSuffix(line, ` CHECK (`+c.expr+`)`))}, []string{l.modify(line)}
		return nil
	} else if err != nil && !errors.Is(err, ErrDefinition) {
		return err
	}
	quoted, err := l.db.Quote(c.name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	alter := `ALTER TABLE ` + l.sql
	c.drop, c.restore = []string{alter + ` DROP ` + how + quoted}, []string{alter + ` ADD CONSTRAINT ` + quoted + ` CHECK (` + c.expr + `)`}
	return nil
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
		case m.options.LoseChecks:
			continue
		default:
			o.Why = fmt.Sprintf("%s over %s will refuse nothing any more, since NULL stands there: let the application check before it seals", said, m.cells[i].Plain)
			o.Option = "LoseChecks"
		}
		out = append(out, o)
	}
	return out, nil
}

// refusesNULL counts the rows that a CHECK would refuse when nothing stands in the
// clear any more. One that is about nothing else is asked about a row of NULLs, too.
func (m *moving) refusesNULL(ctx context.Context, c check, names []string) (rows int64, refuses bool, err error) {
	var selected []string
	alone := true
	for _, name := range names {
		quoted, err := m.db.Quote(name)
		if err != nil {
			return 0, false, fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		if slices.ContainsFunc(m.cells, func(cell liveColumn) bool { return cell.Plain == name }) {
			quoted = `CASE WHEN 1 = 0 THEN ` + quoted + ` END AS ` + quoted // NULL of its type and collation
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
	if m.db.Kind != sqldb.Postgres {
		return nil, nil
	}
	err = m.each(func(c column) error {
		var domain, base string
		checks := false
		err := m.rows(ctx, func(scan func(...any) error) error { return scan(&domain, &base, &checks) },
			`WITH RECURSIVE d (oid, base, modifier, n) AS (
				SELECT t.oid, t.typbasetype, t.typtypmod, 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typtype = 'd' WHERE a.attrelid = to_regclass(?) AND a.attname = ?
				UNION ALL SELECT t.oid, t.typbasetype, t.typtypmod, d.n + 1 FROM d JOIN pg_catalog.pg_type t ON t.oid = d.base AND t.typtype = 'd')
			SELECT (SELECT format_type(d.oid, NULL) FROM d WHERE n = 1), format_type(d.base, d.modifier),
				EXISTS (SELECT 1 FROM d JOIN pg_catalog.pg_constraint c ON c.contypid = d.oid AND c.contype = 'c') FROM d ORDER BY n DESC LIMIT 1`, m.sql, c.Plain)
		if err != nil || domain == "" {
			return err
		}
		quoted, err := m.db.Quote(c.Plain)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		err = m.rows(ctx, func(scan func(...any) error) error { var null any; return scan(&null) }, `SELECT CAST(CAST(NULL AS `+domain+`) AS text)`)
		alter := `ALTER TABLE ` + m.sql + ` ALTER COLUMN ` + quoted + ` TYPE `
		switch {
		case refusedRow(err):
			out = append(out, Obstacle{
				Column: c.Name, Why: fmt.Sprintf("%s is of the domain %s, which refuses NULL", c.Plain, domain),
				SQL: []string{alter + base}, restores: []restoring{{Of: "TYPE " + c.Plain, SQL: []string{alter + domain}}},
			})
		case err != nil:
			return err
		case checks && !m.options.LoseChecks:
			out = append(out, Obstacle{Column: c.Name, Option: "LoseChecks", Why: fmt.Sprintf("the CHECK of %s, the domain of %s, will refuse nothing any more, since NULL stands there: let the application check before it seals", domain, c.Plain)})
		}
		return nil
	})
	return out, err
}

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
	var set []string
	var args []any
	for _, c := range m.cells {
		set = append(set, c.plain.Name+" = NULL")
		if c.stored.Name != "" { // another value, to the guard
			set = append(set, c.stored.Name+" = ?")
			args = append(args, []byte("crmguard"))
			if c.sealed.Text {
				args[len(args)-1] = "crmguard"
			}
		}
	}
	for _, r := range rows {
		where, named := m.key.Equal(r.cursor)
		err := m.table.Write(ctx, func(tx *sql.Tx) error {
			statements := []string{m.patience() + `UPDATE ` + m.sql + ` SET ` + strings.Join(set, ", ") + ` WHERE ` + where}
			if m.db.Kind == sqldb.Postgres {
				statements = []string{`SET LOCAL lock_timeout = '500ms'`, statements[0], `SET CONSTRAINTS ALL IMMEDIATE`}
			}
			for _, statement := range statements {
				given := append(slices.Clone(args), named...)
				if !strings.Contains(statement, "UPDATE ") {
					given = nil
				}
				if _, err := tx.ExecContext(ctx, m.db.Bind(statement), given...); err != nil {
					return waitedFor(sqldb.Safe(err))
				}
			}
			return errTried
		})
		switch {
		case errors.Is(err, errTried) || isHeld(err):
		case refusedRow(err):
			refused, _ := sqldb.Refused(err)
			return []Obstacle{{Rows: 1, Listed: []Left{{Row: r.id, Why: refused.Error()}}, Why: fmt.Sprintf("the database refuses a row in which nothing stands in the clear (%v): change the constraint or the trigger that says so", refused)}}, nil
		default:
			return nil, fmt.Errorf("adoption: try what %s writes to %s: %w", SealedOnly, m.def.Name, err)
		}
	}
	return nil, nil
}

package adoption

import (
	"context"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// NotNullError says that a value in the clear was not taken away, because its column
// is NOT NULL. Up to ReadSealed that is how a table is that was NOT NULL before its
// adoption. No empty text is written in its place: it is a value, which a UNIQUE takes
// once, and a CHECK or the application perhaps not at all.
type NotNullError struct {
	Table  string // logical name
	Column string // in the clear, as the definition has it
	By     string // what says so where it is not the column itself: "CHECK name", "domain name"
}

// Error names the column and the remedies.
func (e *NotNullError) Error() string {
	if e.By != "" {
		return fmt.Sprintf("adoption: %s.%s takes no NULL by the %s, so the value stays: delete the row, or drop that as Obstacles says, and call again", e.Table, e.Column, e.By)
	}
	return fmt.Sprintf("adoption: %s.%s is NOT NULL, so the value stays: delete the row, or drop NOT NULL as Obstacles says, and call again", e.Table, e.Column)
}

// notNulls says of each column in the clear why it cannot be emptied; nil is that it
// can. A CHECK over several columns is left to the database, which refuses the row and
// names it: what else stands in the row decides.
func (l *live) notNulls(ctx context.Context) ([]*NotNullError, error) {
	all, err := l.checks(ctx)
	if err != nil {
		return nil, err
	}
	names, err := l.columnNames(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]*NotNullError, len(l.cells))
	for i, c := range l.cells {
		nullable, err := l.nullable(ctx, c.Plain)
		if err != nil {
			return nil, err
		}
		if !nullable {
			out[i] = &NotNullError{Table: l.def.Name, Column: c.Plain}
			continue
		}
		domain, refuses, err := l.domain(ctx, c.column)
		if err != nil {
			return nil, err
		}
		if refuses {
			out[i] = &NotNullError{l.def.Name, c.Plain, "domain " + domain.name}
			continue
		}
		for _, one := range all {
			alone := wordIn(one.expr, c.Plain) && !slices.ContainsFunc(names, func(name string) bool { return name != c.Plain && wordIn(one.expr, name) })
			if alone && l.refusesNone(ctx, one, c) {
				out[i] = &NotNullError{l.def.Name, c.Plain, "CHECK " + one.name}
				break
			}
		}
	}
	return out, nil
}

// refusesNone asks a CHECK that is about one column alone whether it refuses NULL. What
// cannot be asked by itself, the database says of the row.
func (l *live) refusesNone(ctx context.Context, c check, cell liveColumn) bool {
	_, name := l.parts()
	alias, err := l.db.Quote(name)
	if err != nil {
		return false
	}
	var n int
	err = l.rows(ctx, func(scan func(...any) error) error { return scan(&n) },
		`SELECT COUNT(*) FROM (SELECT `+cell.plain.Name+` FROM (SELECT 1 AS crmguard_one) AS crmguard_row LEFT JOIN `+l.sql+` ON 1 = 0) AS `+alias+` WHERE NOT (`+c.expr+`)`)
	return err == nil && n > 0
}

// domainOf is the domain that a column of PostgreSQL is of; "" is none.
type domainOf struct {
	name, base string // as the database has them
	checks     bool   // it has a CHECK, or one that it is made of
}

// domain asks for the domain of a column in the clear, and whether it refuses NULL.
func (l *live) domain(ctx context.Context, c column) (d domainOf, refuses bool, err error) {
	if l.db.Kind != sqldb.Postgres {
		return d, false, nil
	}
	err = l.rows(ctx, func(scan func(...any) error) error { return scan(&d.name, &d.base, &d.checks) },
		`WITH RECURSIVE d (oid, base, modifier, n) AS (
			SELECT t.oid, t.typbasetype, t.typtypmod, 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typtype = 'd' WHERE a.attrelid = to_regclass(?) AND a.attname = ?
			UNION ALL SELECT t.oid, t.typbasetype, t.typtypmod, d.n + 1 FROM d JOIN pg_catalog.pg_type t ON t.oid = d.base AND t.typtype = 'd')
		SELECT (SELECT format_type(d.oid, NULL) FROM d WHERE n = 1), format_type(d.base, d.modifier),
			EXISTS (SELECT 1 FROM d JOIN pg_catalog.pg_constraint c ON c.contypid = d.oid AND c.contype = 'c') FROM d ORDER BY n DESC LIMIT 1`, l.sql, c.Plain)
	if err != nil || d.name == "" {
		return d, false, err
	}
	err = l.rows(ctx, func(scan func(...any) error) error { var null any; return scan(&null) }, `SELECT CAST(CAST(NULL AS `+d.name+`) AS text)`)
	if refusedRow(err) {
		return d, true, nil
	}
	return d, false, err
}

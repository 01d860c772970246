package adoption

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// byDefault is what stands in a column where an INSERT does not name it, other than
// NULL.
type byDefault struct {
	of, said      string // of which table, "" where there is one only; the expression
	drop, restore string // "" where there is no statement
}

// isNULL is the expression of a default that is NULL, of whatever type.
var isNULL = regexp.MustCompile(`^(?i:NULL)(::[\w" .()\[\],]+)?$`)

// defaults: what an INSERT that does not name the column puts there would be refused by
// the guard Refuse, and before it stands would be in the clear behind Clear.
func (m *moving) defaults(ctx context.Context) (out []Obstacle, err error) {
	err = m.each(func(c column) error {
		all, err := m.byDefaults(ctx, c.Plain)
		for _, one := range all {
			if isNULL.MatchString(one.said) {
				continue
			}
			o := Obstacle{Column: c.Name, Why: fmt.Sprintf("%s%s has a DEFAULT that is not NULL: an INSERT that does not name the column would put that there in the clear, and be refused once the guard Refuse stands; what the release before relies on it for, it has to say by then", one.of, c.Plain)}
			if one.drop == "" {
				o.Why += onSQLite
			} else {
				o.SQL, o.restores = []string{one.drop}, []restoring{{Of: "DEFAULT " + one.of + c.Plain, SQL: []string{one.restore}}}
			}
			out = append(out, o)
		}
		return err
	})
	return out, err
}

// byDefaults lists the defaults of a column, on PostgreSQL also those of its domain and
// of partitions, which each have their own.
func (m *moving) byDefaults(ctx context.Context, column string) (out []byDefault, err error) {
	schema, table := m.parts()
	quoted, err := m.db.QuoteName(column)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	alter := ` ALTER COLUMN ` + quoted
	switch m.db.Kind {
	case sqldb.SQLite:
		err = m.rows(ctx, func(scan func(...any) error) error {
			var one byDefault
			err := scan(&one.said)
			out = append(out, one)
			return err
		}, `SELECT dflt_value FROM pragma_table_xinfo(?, NULLIF(?, '')) WHERE lower(name) = lower(?) AND dflt_value IS NOT NULL`, table, schema, column)
		return out, err
	case sqldb.Postgres:
		err = m.rows(ctx, func(scan func(...any) error) error {
			var one byDefault
			var in, own, ofDomain string
			var whole bool
			if err := scan(&in, &whole, &own, &ofDomain); err != nil {
				return err
			}
			if !whole {
				one.of = in + "."
			}
			// To a column of a domain NULL is a default of its own.
			one.drop, one.restore, one.said = ` DROP DEFAULT`, ` SET DEFAULT `+own, own
			if ofDomain != "" {
				one.drop = ` SET DEFAULT NULL`
			}
			if own == "" {
				one.restore, one.said = ` DROP DEFAULT`, ofDomain
			}
			only := `ALTER TABLE ONLY ` + in + alter
			one.drop, one.restore = only+one.drop, only+one.restore
			out = append(out, one)
			return nil
		}, `WITH RECURSIVE tree (oid) AS (SELECT to_regclass(?)::oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid)
			SELECT CASE WHEN c.oid = to_regclass(?) THEN CAST(? AS text) ELSE format('%I.%I', n.nspname, c.relname) END, c.oid = to_regclass(?),
				COALESCE(pg_get_expr(d.adbin, d.adrelid), ''), COALESCE(t.typdefault, '') FROM tree
			JOIN pg_catalog.pg_class c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = ? AND NOT a.attisdropped JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
			LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
			WHERE d.oid IS NOT NULL OR t.typtype = 'd' AND t.typdefault IS NOT NULL ORDER BY c.oid <> to_regclass(?), 1`, m.sql, m.sql, m.sql, m.sql, column, m.sql)
		return out, err
	case sqldb.MariaDB, sqldb.MySQL:
	}
	err = m.rows(ctx, func(scan func(...any) error) error {
		var one byDefault
		var computed bool
		if err := scan(&one.said, &computed); err != nil {
			return err
		}
		said := one.said // MariaDB writes it as an expression, MySQL as it is
		switch {
		case m.db.Kind == sqldb.MySQL && computed:
			said = "(" + said + ")"
		case m.db.Kind == sqldb.MySQL:
			one.said = "'" + said + "'"
			said = "'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(said) + "'"
		}
		alter := `ALTER TABLE ` + m.sql + alter
		one.drop, one.restore = alter+` SET DEFAULT NULL`, alter+` SET DEFAULT `+said
		out = append(out, one)
		return nil
	}, `SELECT COLUMN_DEFAULT, EXTRA LIKE '%DEFAULT_GENERATED%' FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND COLUMN_NAME = ? AND COLUMN_DEFAULT IS NOT NULL`, schema, table, column)
	return out, err
}

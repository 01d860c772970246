package adoption

import (
	"context"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// reference is a foreign key of a table that references a column of the adopted one.
type reference struct {
	table, name   string // as the database has them
	drop, restore string // "" where there is no statement
}

// referenced: a foreign key of whatever table that references a column in the clear
// would carry NULL into the values of that table, or refuse it there; and these stay
// in the clear in any case.
func (m *moving) referenced(ctx context.Context) (out []Obstacle, err error) {
	err = m.each(func(c column) error {
		all, err := m.references(ctx, c.Plain)
		for _, one := range all {
			what := "a foreign key"
			if one.name != "" {
				what = "the foreign key " + one.name
			}
			o := Obstacle{Column: c.Name, Why: fmt.Sprintf("%s of table %s references %s, where NULL will stand: by its rule the values of that table are lost, or the row is refused; let it reference an id", what, one.table, c.Plain)}
			if one.drop == "" {
				o.Why += onSQLite
			} else {
				o.SQL = []string{one.drop}
				o.restores = []restoring{{Of: "FOREIGN KEY " + one.name + " OF " + one.table, SQL: []string{one.restore}}}
			}
			out = append(out, o)
		}
		return err
	})
	return out, err
}

// references lists the foreign keys that reference a column.
func (m *moving) references(ctx context.Context, column string) (out []reference, err error) {
	schema, table := m.parts()
	switch m.db.Kind {
	case sqldb.SQLite:
		master := "sqlite_master"
		if schema != "" {
			quoted, err := m.db.QuoteName(schema)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
			}
			master = quoted + "." + master
		}
		// A key that names no column references the primary key.
		names, err := m.texts(ctx, `SELECT DISTINCT m.name FROM `+master+` m, pragma_foreign_key_list(m.name, NULLIF(?2, '')) f WHERE m.type = 'table' AND lower(f."table") = lower(?1)
			AND lower(COALESCE(f."to", (SELECT p.name FROM pragma_table_xinfo(?1, NULLIF(?2, '')) p WHERE p.pk = f.seq + 1))) = lower(?3) ORDER BY 1`, table, schema, column)
		for _, name := range names {
			out = append(out, reference{table: name})
		}
		return out, err
	case sqldb.Postgres:
		// That of a partition goes with the one of its parent.
		err = m.rows(ctx, func(scan func(...any) error) error {
			var r reference
			var quoted, definition string
			err := scan(&r.table, &r.name, &quoted, &definition)
			alter := `ALTER TABLE ` + r.table
			r.drop, r.restore = alter+` DROP CONSTRAINT `+quoted, alter+` ADD CONSTRAINT `+quoted+` `+definition
			out = append(out, r)
			return err
		}, `WITH RECURSIVE tree (oid) AS (SELECT to_regclass(?)::oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid)
			SELECT format('%I.%I', n.nspname, c.relname), CAST(f.conname AS text), quote_ident(f.conname), pg_get_constraintdef(f.oid) FROM pg_catalog.pg_constraint f JOIN tree ON f.confrelid = tree.oid
			JOIN pg_catalog.pg_class c ON c.oid = f.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = ANY (f.confkey) WHERE f.contype = 'f' AND f.conparentid = 0 AND a.attname = ? ORDER BY 1, 2`, m.sql, column)
		return out, err
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return m.referencesInSchemas(ctx, schema, table, column)
}

// referencesInSchemas is references of MariaDB and MySQL, which show those of tables
// that the account has rights on.
func (m *moving) referencesInSchemas(ctx context.Context, schema, table, column string) (out []reference, err error) {
	const whole = ` FROM information_schema.KEY_COLUMN_USAGE k WHERE k.REFERENCED_TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND k.REFERENCED_TABLE_NAME = ? AND (@@lower_case_table_names <> 0 OR BINARY k.REFERENCED_TABLE_NAME = ?)`
	var from, to []string
	err = m.rows(ctx, func(scan func(...any) error) error {
		var in, child, name, one, other, parentSchema, parent, onUpdate, onDelete string
		var last bool
		if err := scan(&in, &child, &name, &one, &other, &parentSchema, &parent, &onUpdate, &onDelete, &last); err != nil {
			return err
		}
		quote := func(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
		from, to = append(from, quote(one)), append(to, quote(other))
		if !last {
			return nil
		}
		alter := `ALTER TABLE ` + quote(in) + `.` + quote(child)
		out = append(out, reference{
			table: in + "." + child, name: name, drop: alter + ` DROP FOREIGN KEY ` + quote(name),
			restore: alter + ` ADD CONSTRAINT ` + quote(name) + ` FOREIGN KEY (` + strings.Join(from, ", ") + `) REFERENCES ` + quote(parentSchema) + `.` + quote(parent) + ` (` + strings.Join(to, ", ") + `) ON DELETE ` + onDelete + ` ON UPDATE ` + onUpdate,
		})
		from, to = nil, nil
		return nil
	}, `SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, r.UPDATE_RULE, r.DELETE_RULE,
			k.ORDINAL_POSITION = MAX(k.ORDINAL_POSITION) OVER (PARTITION BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME)
		FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.TABLE_NAME = k.TABLE_NAME AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
		WHERE (k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME) IN (SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME`+whole+` AND k.REFERENCED_COLUMN_NAME = ?)
		ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION`, schema, table, table, column)
	return out, err
}

// clearable refuses to take values away where a foreign key would carry that into
// another table, or a history would keep them: what was made after the move.
func (a *Adoption) clearable(ctx context.Context, r stageRow) error {
	l, err := a.live(ctx, r.tenant)
	if err != nil {
		return err
	}
	m := &moving{live: l, row: r, to: SealedOnly}
	return m.judged(ctx, m.referenced, m.versioned)
}

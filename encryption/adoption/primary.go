package adoption

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// primaryKey is the PRIMARY KEY of the table, none of whose columns may be NULL.
type primaryKey struct {
	columns       []string
	text          string // on MariaDB and MySQL, which has them
	drop, restore string // clauses of ALTER TABLE
}

// primary reads the PRIMARY KEY, and how the key that rows are named by takes its
// place. SQLite has no statement for it.
func (l *live) primary(ctx context.Context) (key primaryKey, err error) {
	var names []string
	for name := range strings.SplitSeq(l.def.Key, ",") {
		quoted, err := l.db.QuoteName(strings.TrimSpace(name))
		if err != nil {
			return key, fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		names = append(names, quoted)
	}
	other := `PRIMARY KEY (` + strings.Join(names, ", ") + `)`
	switch l.db.Kind {
	case sqldb.SQLite:
		return key, nil
	case sqldb.Postgres:
		err = l.rows(ctx, func(scan func(...any) error) error {
			var name, definition, column string
			err := scan(&name, &definition, &column)
			key.columns = append(key.columns, column)
			key.drop, key.restore = `DROP CONSTRAINT `+name+`, ADD CONSTRAINT `+name+` `+other, `DROP CONSTRAINT `+name+`, ADD CONSTRAINT `+name+` `+definition
			return err
		}, `SELECT quote_ident(k.conname), pg_get_constraintdef(k.oid), CAST(a.attname AS text) FROM pg_catalog.pg_constraint k
			JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
			WHERE k.conrelid = to_regclass(?) AND k.contype = 'p' ORDER BY a.attnum`, l.sql)
		return key, err
	case sqldb.MariaDB, sqldb.MySQL:
	}
	all, err := l.shown(ctx, sqldb.PrimaryKeyPart)
	for _, one := range all {
		key = primaryKey{text: one.In, drop: `DROP PRIMARY KEY, ADD ` + other, restore: `DROP PRIMARY KEY, ADD ` + one.Text}
	}
	return key, err
}

// has says whether a column is a part of it.
func (k primaryKey) has(column string) bool {
	return slices.Contains(k.columns, column) || wordIn(k.text, column)
}

// notInKey: NULL is in no PRIMARY KEY, so another one takes its place before a
// column of it is let go of.
func (m *moving) notInKey(key primaryKey, o Obstacle) Obstacle {
	o.Why += ": it is a part of the PRIMARY KEY, which " + m.def.Key + " has to be first"
	alter := `ALTER TABLE ` + m.sql + ` `
	o.SQL = append([]string{alter + key.drop}, o.SQL...)
	o.restores = append(o.restores, restoring{Of: "PRIMARY KEY", SQL: []string{alter + key.restore}})
	return o
}

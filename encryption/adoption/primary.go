package adoption

import (
	"context"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// primaryKey is the PRIMARY KEY of the table, none of whose columns may be NULL.
type primaryKey struct {
	columns       []string // on MariaDB and MySQL the text that has them
	drop, restore string   // clauses of ALTER TABLE
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
	text, err := l.created(ctx)
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(strings.TrimSpace(line), ","); strings.HasPrefix(line, "PRIMARY KEY ") {
			key = primaryKey{columns: []string{line}, drop: `DROP PRIMARY KEY, ADD ` + other, restore: `DROP PRIMARY KEY, ADD ` + line}
		}
	}
	return key, err
}

// has says whether a column is a part of it.
func (k primaryKey) has(column string) bool {
	for _, one := range k.columns {
		if one == column || strings.HasPrefix(one, "PRIMARY KEY ") && wordIn(one, column) {
			return true
		}
	}
	return false
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

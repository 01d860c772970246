package adoption

import (
	"context"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// What one partition of PostgreSQL has alone refuses its rows as well, and no question
// about the table shows it.

// notNullOfPartitions are partitions in which a column is NOT NULL that may be NULL in
// the table.
func (m *moving) notNullOfPartitions(ctx context.Context, c column) (out []Obstacle, err error) {
	if m.db.Kind != sqldb.Postgres {
		return nil, nil
	}
	quoted, err := m.db.QuoteName(c.Plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	err = m.rows(ctx, func(scan func(...any) error) error {
		var of, key, definition string
		if err := scan(&of, &key, &definition); err != nil {
			return err
		}
		alter := `ALTER TABLE ` + of + ` `
		o := Obstacle{Column: c.Name, Why: fmt.Sprintf("%s is NOT NULL in the partition %s, and NULL will stand there", c.Plain, of)}
		restore := []string{alter + `ALTER COLUMN ` + quoted + ` SET NOT NULL`}
		if key != "" {
			o.SQL = []string{alter + `DROP CONSTRAINT ` + key}
			restore = append(restore, alter+`ADD CONSTRAINT `+key+` `+definition)
		}
		o.SQL = append(o.SQL, alter+`ALTER COLUMN `+quoted+` DROP NOT NULL`)
		o.restores = []restoring{{Of: "NOT NULL " + c.Plain + of, SQL: restore}}
		out = append(out, o)
		return nil
	}, tree+`SELECT `+of+`, COALESCE(quote_ident(k.conname), ''), COALESCE(pg_get_constraintdef(k.oid), '') FROM tree
		JOIN pg_catalog.pg_attribute a ON a.attrelid = tree.oid AND a.attname = ? AND a.attnotnull AND NOT a.attisdropped
		LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = tree.oid AND k.contype = 'p' AND k.coninhcount = 0 AND a.attnum = ANY (k.conkey) WHERE NOT tree.root ORDER BY 1`, m.sql, c.Plain)
	return out, err
}

// triedOfPartition is how many rows are tried of each partition.
const triedOfPartition = 2

// triable are rows to be tried: the first ones, and some of each partition.
func (m *moving) triable(ctx context.Context) ([]row, error) {
	out, err := m.clears(ctx, m.row.tenant, "", nil, nil, triedRows)
	if err != nil || m.db.Kind != sqldb.Postgres {
		return out, err
	}
	partitions, err := m.texts(ctx, tree+`SELECT CAST(tree.oid AS text) FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid WHERE c.relkind <> 'p' ORDER BY 1`, m.sql)
	if err != nil || len(partitions) < 2 {
		return out, err
	}
	seen := map[string]bool{}
	for _, r := range out {
		seen[r.id] = true
	}
	for _, of := range partitions {
		some, err := m.clears(ctx, m.row.tenant, "tableoid = CAST(? AS oid)", []any{of}, nil, triedOfPartition)
		if err != nil {
			return nil, err
		}
		out = append(out, slices.DeleteFunc(some, func(r row) bool { return seen[r.id] })...)
	}
	return out, nil
}

// withoutNULL are the uniquenesses over columns none of which may be NULL.
func (m *moving) withoutNULL(ctx context.Context, all []uniqueness) (out []uniqueness, err error) {
	known := map[string]bool{"": true} // an expression may be
	for _, u := range all {
		for _, column := range u.columns {
			if _, ok := known[column]; ok {
				continue
			}
			if known[column], err = m.nullable(ctx, column); err != nil {
				return nil, err
			}
		}
		if !slices.ContainsFunc(u.columns, func(column string) bool { return known[column] }) {
			out = append(out, u)
		}
	}
	return out, nil
}

package encryption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Census counts the sealed cells of a table by key generation.
type Census struct {
	Generations map[uint32]int64 // cells a generation
	Null        int64            // cells that are NULL
	Unsealed    int64            // cells that do not begin like a sealed field: clear or damaged
}

// Census counts by the first bytes of every declared column, in SQL: no key
// is needed and no value leaves the database. Columns that the definition
// forgot, and streams, are not counted.
func (t *SealedTable) Census(ctx context.Context, db *sql.DB, tenant string) (Census, error) {
	out := Census{Generations: map[uint32]int64{}}
	if err := checkDB(ctx, db); err != nil {
		return out, err
	}
	if err := checkTenant(tenant); err != nil {
		return out, err
	}
	for _, col := range t.def.Columns {
		if col.Stream {
			continue
		}
		if err := t.countColumn(ctx, db, tenant, &col, &out); err != nil {
			return out, fmt.Errorf("encryption: census of %s.%s: %w", t.def.Name, col.Name, err)
		}
	}
	return out, nil
}

func (t *SealedTable) countColumn(ctx context.Context, db *sql.DB, tenant string, col *Column, out *Census) (err error) {
	where, args := t.ofTenant(tenant)
	rows, err := db.QueryContext(ctx, fmt.Sprintf(`SELECT CASE WHEN substr(%[1]s, 1, 4) IN ('cg1.', x'6367312e') THEN substr(%[1]s, 1, %[2]d) ELSE substr(%[1]s, 1, %[3]d) END AS head, COUNT(*), COUNT(%[1]s) FROM %[4]s WHERE %[5]s GROUP BY head`, col.SQL, textHead, prefixSize, t.def.SQL, where), args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var head []byte
		var count, present int64
		if err := rows.Scan(&head, &count, &present); err != nil {
			return err
		}
		generation, err := GenerationOf(head)
		switch {
		case present == 0:
			out.Null += count
		case err != nil || head[0] == streamMark:
			out.Unsealed += count
		default:
			out.Generations[generation] += count
		}
	}
	return rows.Err()
}

// ofTenant returns the condition that keeps to one tenant.
func (t *SealedTable) ofTenant(tenant string) (where string, args []any) {
	if t.def.Tenant == "" {
		return "1 = 1", nil
	}
	return t.def.Tenant + " = ?", []any{tenant}
}

// Holder returns the table's answer to DestroyGeneration.
func (t *SealedTable) Holder(db *sql.DB) Holder {
	return func(ctx context.Context, tenant string, generation uint32) (int, string, error) {
		census, err := t.Census(ctx, db, tenant)
		return int(census.Generations[generation]), "table " + t.def.Name, err
	}
}

// Counts returns tenant -> generation -> count over tables: what a backup
// manifest names, so that its snapshot can be a Holder later.
func Counts(db *sql.DB, tenant string, tables ...*SealedTable) func(ctx context.Context) (map[string]map[uint32]int64, error) {
	return func(ctx context.Context) (map[string]map[uint32]int64, error) {
		sum := map[uint32]int64{}
		for _, table := range tables {
			census, err := table.Census(ctx, db, tenant)
			if err != nil {
				return nil, err
			}
			for generation, count := range census.Generations {
				sum[generation] += count
			}
		}
		return map[string]map[uint32]int64{tenant: sum}, nil
	}
}

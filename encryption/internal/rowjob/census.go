package rowjob

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// censusPage is the number of rows a question: so few that a planner reads them
// in the order of an index also near the end of a table.
const censusPage = 500

// Census does what SealedTable.Census promises.
func (t *Table) Census(ctx context.Context, db *sql.DB, tenant string) (jobs.Census, error) {
	s, err := t.counted(ctx, db, tenant)
	if err != nil {
		return jobs.Census{KeyVersions: map[uint32]int64{}}, err
	}
	return s.census(ctx, tenant, nil)
}

// CheckIn looks whether the database holds the table as it is declared.
func (t *Table) CheckIn(ctx context.Context, db *sql.DB, tenant string) error {
	_, err := t.counted(ctx, db, tenant)
	return err
}

// counted is keyed for a job over the rows of a tenant.
func (t *Table) counted(ctx context.Context, db *sql.DB, tenant string) (*storedTable, error) {
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	s, err := t.keyed(ctx, db)
	if err == nil {
		err = s.indexable()
	}
	if err == nil && s.tenant != nil {
		err = s.spelt(ctx, *s.tenant, tenant)
	}
	return s, err
}

// census counts, and hands the view that it counted in to a func.
func (s *storedTable) census(ctx context.Context, tenant string, also func(q sqldb.Querier) error) (jobs.Census, error) {
	out := jobs.Census{KeyVersions: map[uint32]int64{}}
	var hidden error
	err := s.db.Snapshot(ctx, func(tx *sql.Tx) error {
		var after []any
		for {
			n, next, err := s.countPage(ctx, tx, tenant, after, &out)
			if err != nil {
				return err
			}
			if n < censusPage {
				break
			}
			after = next
		}
		if _, err := s.countNameless(ctx, tx, tenant, &out); err != nil {
			return err
		}
		if hidden = s.whole(ctx, tx); hidden != nil { // that was asked before, and of another connection
			return hidden
		}
		if also != nil {
			return also(tx)
		}
		return nil
	})
	if hidden != nil {
		return out, hidden
	}
	if err != nil {
		return out, s.failed("census of", err)
	}
	return out, nil
}

func (s *storedTable) countPage(ctx context.Context, q sqldb.Querier, tenant string, after []any, out *jobs.Census) (n int, next []any, err error) {
	query, args, heads := s.countQuery(tenant, after)
	values, into := make([]any, heads), make([]any, heads)
	for i := range values {
		into[i] = &values[i]
	}
	err = sqldb.Each(ctx, q, func(rows *sql.Rows) error {
		cursor, err := s.key.Scan(rows, into...)
		if err != nil {
			return err
		}
		n, next = n+1, cursor
		for _, head := range values {
			countHead(out, head)
		}
		return nil
	}, query, args...)
	return n, next, err
}

func (s *storedTable) countQuery(tenant string, after []any) (query string, args []any, heads int) {
	where, args := s.pages(tenant)
	columns := s.heads()
	query, args = s.key.Page(sqldb.Page{Columns: columns, Where: where, Args: args, After: after, Limit: censusPage})
	return query, args, len(columns)
}

// heads are what a census reads of each declared column: NULL, what names a
// key version in either form, or nothing.
func (s *storedTable) heads() []string {
	binary, text := `x'01'`, `x'6367312e'`
	switch s.db.Kind {
	case sqldb.SQLite:
		text += `, 'cg1.'` // each value has a class of its own
	case sqldb.Postgres:
		binary, text = `decode('01', 'hex')`, `decode('6367312e', 'hex')`
	case sqldb.MariaDB, sqldb.MySQL:
	}
	var heads []string
	for i, col := range s.Columns {
		if col.Stream {
			continue
		}
		cell, _ := s.db.Bytes(s.cells[i])
		heads = append(heads, fmt.Sprintf(`CASE WHEN %[1]s IS NULL THEN NULL WHEN substr(%[2]s, 1, %[3]d) IN (%[4]s) THEN substr(%[2]s, 1, %[5]d) WHEN substr(%[2]s, 1, 1) = %[6]s THEN substr(%[2]s, 1, %[7]d) ELSE %[6]s END`,
			s.cells[i].Name, cell, len(format.TextPrefix), text, format.TextHead, binary, format.PrefixSize))
	}
	return heads
}

// countHead adds what begins so.
func countHead(c *jobs.Census, head any) {
	var raw []byte
	switch h := head.(type) {
	case nil:
		c.Null++
		return
	case []byte:
		raw = h
	case string:
		raw = []byte(h)
	}
	keyVersion, err := sealedvalue.KeyVersion(raw)
	if err != nil {
		c.Unsealed++
		return
	}
	c.KeyVersions[keyVersion]++
}

// Holder does what SealedTable.Holder promises.
func (t *Table) Holder(db *sql.DB, lost ...jobs.Unreadable) jobs.Holder {
	return func(ctx context.Context, tenant string, keyVersion uint32) (int, string, error) {
		where := "table " + t.Name
		s, err := t.counted(ctx, db, tenant)
		if err != nil {
			return 0, where, err
		}
		if err := t.awaitWriters(ctx, s.db, s.sql); err != nil {
			return 0, where, err
		}
		var given int64
		census, err := s.census(ctx, tenant, func(q sqldb.Querier) (err error) {
			given, err = s.givenUp(ctx, q, tenant, keyVersion, lost)
			return err
		})
		return int(census.KeyVersions[keyVersion] - given), where, err
	}
}

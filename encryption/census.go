package encryption

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

// Census counts by the first bytes of every declared column: no key is needed
// and no value leaves the database. It reads pages in the order of the table's
// key, all of one unchanging view. Columns that the definition forgot, and
// streams, are not counted.
func (t *SealedTable) Census(ctx context.Context, db *sql.DB, tenant string) (jobs.Census, error) {
	s, err := t.counted(ctx, db, tenant)
	if err != nil {
		return jobs.Census{KeyVersions: map[uint32]int64{}}, err
	}
	return s.census(ctx, tenant, nil)
}

func (t *SealedTable) counted(ctx context.Context, db *sql.DB, tenant string) (*storedTable, error) {
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	s, err := t.keyed(ctx, db)
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
	for i, col := range s.def.Columns {
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

// Holder returns the table's answer to DestroyKeyVersion. It counts what all
// transactions leave that are writing to the table when it is asked, and waits for
// them to end, however long they take and as long as the context runs;
// encryption.holder.writers tells how many are waited for. Nothing must call it
// inside of a transaction that has written to the table: it would wait for itself.
// On MariaDB and MySQL it needs the right LOCK TABLES.
//
// Cells that a job has listed as unreadable ([jobs.ResealReport],
// [jobs.ResealOptions].Unreadable) and that are handed in here are not counted, as long
// as they hold what they held then: this is how somebody says that they may be
// lost.
func (t *SealedTable) Holder(db *sql.DB, lost ...jobs.Unreadable) jobs.Holder {
	return func(ctx context.Context, tenant string, keyVersion uint32) (int, string, error) {
		where := "table " + t.def.Name
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

// Counts returns a func that answers tenant -> key version -> count over tables: what a backup
// manifest names, so that its snapshot can be a Holder later.
func (v *Vault) Counts(db *sql.DB, tenant string, tables ...*SealedTable) func(ctx context.Context) (map[string]map[uint32]int64, error) {
	return func(ctx context.Context) (map[string]map[uint32]int64, error) {
		sum := map[uint32]int64{}
		for _, table := range tables {
			census, err := table.Census(ctx, db, tenant)
			if err != nil {
				return nil, err
			}
			for keyVersion, count := range census.KeyVersions {
				sum[keyVersion] += count
			}
		}
		return map[string]map[uint32]int64{tenant: sum}, nil
	}
}

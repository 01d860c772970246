package rowjob

import (
	"context"
	"database/sql"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// SQLite allows NULL in a primary key that was not declared NOT NULL. Such a row
// has no name: nothing can be written to it alone, so no job changes it. But it
// stops none, and what it holds is counted. Give it a key; or give up what it
// holds, cell by cell, by the list of the job.

// isNameless is the condition that a row has no name, "" where there is no such
// row.
func (s *storedTable) isNameless() string {
	if s.db.Kind != sqldb.SQLite {
		return ""
	}
	null := make([]string, len(s.key.Columns))
	for i, c := range s.key.Columns {
		null[i] = c.Name + " IS NULL"
	}
	return "(" + strings.Join(null, " OR ") + ")"
}

// pages is the condition of every page: of the tenant, with a name.
func (s *storedTable) pages(tenant string) (where string, args []any) {
	where, args = s.ofTenant(tenant)
	if nameless := s.isNameless(); nameless != "" {
		where += " AND NOT " + nameless
	}
	return where, args
}

// countNameless counts what rows without a name hold.
func (s *storedTable) countNameless(ctx context.Context, q sqldb.Querier, tenant string, out *jobs.Census) (rows int, err error) {
	nameless := s.isNameless()
	if nameless == "" {
		return 0, nil
	}
	where, args := s.ofTenant(tenant)
	heads := s.heads()
	values, into := make([]any, len(heads)), make([]any, len(heads))
	for i := range values {
		into[i] = &values[i]
	}
	err = sqldb.Each(ctx, q, func(r *sql.Rows) error {
		if err := r.Scan(into...); err != nil {
			return sqldb.Safe(err)
		}
		rows++
		for _, head := range values {
			countHead(out, head)
		}
		return nil
	}, `SELECT `+strings.Join(heads, ", ")+` FROM `+s.sql+` WHERE `+where+` AND `+nameless, args...)
	return rows, err
}

// eachNameless calls f for every sealed cell of a row without a name.
func (s *storedTable) eachNameless(ctx context.Context, q sqldb.Querier, tenant string, f func(column int, stored any, keyVersion uint32)) error {
	nameless := s.isNameless()
	if nameless == "" {
		return nil
	}
	var columns []int
	var names []string
	for i, col := range s.Columns {
		if !col.Stream {
			columns, names = append(columns, i), append(names, s.cells[i].Name)
		}
	}
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	where, args := s.ofTenant(tenant)
	err := sqldb.Each(ctx, q, func(r *sql.Rows) error {
		if err := r.Scan(into...); err != nil {
			return sqldb.Safe(err)
		}
		for i, column := range columns {
			if keyVersion, err := sealedvalue.KeyVersion(storedBytes(values[i])); err == nil {
				f(column, values[i], keyVersion)
			}
		}
		return nil
	}, `SELECT `+strings.Join(names, ", ")+` FROM `+s.sql+` WHERE `+where+` AND `+nameless, args...)
	if err != nil {
		return s.failed("read", err)
	}
	return nil
}

// nameless lists the sealed cells of rows without a name.
func (s *storedTable) nameless(ctx context.Context, tenant string, each func(jobs.Unreadable)) error {
	return s.eachNameless(ctx, s.db, tenant, func(column int, stored any, _ uint32) {
		name := s.Columns[column].Name
		each(jobs.Unreadable{
			Table: s.Name, Column: name, Digest: Digest(stored),
			Err: &keyring.KeyError{Op: "a row has NULL in its key: give it one;", Table: s.Name, Column: name, Err: keyring.ErrID},
		})
	})
}

// givenUpNameless counts the cells of a list that are in rows without a name.
// There is no other way to tell which cell is meant than by what it holds: where
// two hold the same bytes, both are given up.
func (s *storedTable) givenUpNameless(ctx context.Context, q sqldb.Querier, tenant string, keyVersion uint32, lost []jobs.Unreadable) (n int64, err error) {
	type cell struct{ column, digest string }
	listed := map[cell]bool{}
	for _, u := range lost {
		if u.Table == s.Name && u.Key == "" {
			listed[cell{u.Column, u.Digest}] = true
		}
	}
	if len(listed) == 0 {
		return 0, nil
	}
	err = s.eachNameless(ctx, q, tenant, func(column int, stored any, under uint32) {
		if under == keyVersion && listed[cell{s.Columns[column].Name, Digest(stored)}] {
			n++
		}
	})
	return n, err
}

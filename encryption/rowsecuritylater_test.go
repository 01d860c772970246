package encryption_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// statementPool calls f before each statement of a pool of pgx, and when it has
// been answered calls what f returned.
type statementPool struct {
	driver.Connector

	f func(ctx context.Context, query string) (answered func(), err error)
}

// statementsOf opens a database so.
func statementsOf(t *testing.T, d testdb.Database, f func(ctx context.Context, query string) (answered func(), err error)) *sql.DB {
	t.Helper()
	connector, err := stdlib.GetDefaultDriver().(driver.DriverContext).OpenConnector(d.DSN("pgx"))
	require.NoError(t, err)
	db := sql.OpenDB(statementPool{connector, f})
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func (w statementPool) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := w.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return statementConn{conn.(*stdlib.Conn), w.f}, nil
}

type statementConn struct {
	*stdlib.Conn

	f func(ctx context.Context, query string) (answered func(), err error)
}

func (c statementConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	answered, err := c.f(ctx, query)
	if err != nil {
		return nil, err
	}
	defer answered()
	return c.Conn.QueryContext(ctx, query, args)
}

func (c statementConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	answered, err := c.f(ctx, query)
	if err != nil {
		return nil, err
	}
	defer answered()
	return c.Conn.ExecContext(ctx, query, args)
}

// Rows are hidden while a job runs, before any of its statements: no job answers
// that it is done with what it was not shown.
func TestAJobFromWhichRowsAreHiddenMeanwhileDoesNotSayThatItIsDone(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		people, err := s.a.Table(encryption.Table{Name: "people", Columns: []encryption.Column{{Name: "email", Index: []encryption.Index{{Column: "email_idx", As: encryption.Email, Bits: 32}}}}})
		require.NoError(t, err)
		record, err := encryption.NewRecordOwner()
		require.NoError(t, err)
		role, database := s.database.Role(t)
		s.exec(t, s.db, `CREATE TABLE people (id text PRIMARY KEY, person text NOT NULL, email bytea, email_idx bigint)`)
		s.exec(t, s.db, `GRANT ALL ON people TO `+role)
		s.exec(t, s.db, `CREATE POLICY own ON people USING (id > 'c2')`)

		at := int64(0)
		var calls atomic.Int64 // Reseal reads and writes side by side
		db := statementsOf(t, database, func(context.Context, string) (func(), error) {
			if calls.Add(1) == at { // where the job holds a lock there is nothing to see
				_, _ = s.second.ExecContext(context.Background(), `DO $$ BEGIN LOCK TABLE people IN ACCESS EXCLUSIVE MODE NOWAIT; ALTER TABLE people ENABLE ROW LEVEL SECURITY; EXCEPTION WHEN lock_not_available THEN NULL; END $$`)
			}
			return func() {}, nil
		})

		fill := func() {
			s.exec(t, s.db, `ALTER TABLE people DISABLE ROW LEVEL SECURITY`)
			s.exec(t, s.db, `DELETE FROM people`)
			insert := func(id, owner string, w *encryption.Writer) {
				s.exec(t, s.db, `INSERT INTO people (id, person, email, email_idx) VALUES (?, ?, ?, ?)`, id, owner, w.Text("email", "ann@b.example"), w.Int64("email_idx", "ann@b.example"))
			}
			for i := range 5 {
				w, err := people.Writer(t.Context(), tenant, "p1")
				require.NoError(t, err)
				insert(fmt.Sprint("c", i), "p1", w)
			}
			for _, id := range []string{"a", "r"} { // two rows of one record owner
				w, err := people.RecordWriter(t.Context(), tenant, record)
				require.NoError(t, err)
				insert(id, record, w)
			}
		}
		count := func(where string) (n int) {
			require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM people WHERE `+where).Scan(&n))
			return n
		}
		for name, job := range map[string]func(ctx context.Context) (right bool, err error){
			"ClearRows": func(ctx context.Context) (bool, error) {
				err := people.ClearRows(db)(ctx, tenant, "p1")
				return count("person = 'p1' AND (email IS NOT NULL OR email_idx IS NOT NULL)") == 0, err
			},
			"FindRows": func(ctx context.Context) (bool, error) {
				n := 0
				for _, err := range s.a.FindRows(ctx, db, tenant, map[string][]string{"people.email_idx": {"ann@b.example"}}) {
					if err != nil {
						return false, err
					}
					n++
				}
				return n == 7, nil
			},
			"Opened": func(ctx context.Context) (bool, error) {
				n := 0
				for _, err := range people.Opened(ctx, db, tenant, "email") {
					if err != nil {
						return false, err
					}
					n++
				}
				return n == 7, nil
			},
			"Rebuild": func(ctx context.Context) (bool, error) {
				s.exec(t, s.db, `UPDATE people SET email_idx = NULL`)
				_, err := people.Rebuild(ctx, db, tenant)
				return count("email_idx IS NULL") == 0, err
			},
			"Reseal": func(ctx context.Context) (bool, error) {
				active, err := s.a.NewKeyVersion(t.Context(), tenant)
				require.NoError(t, err)
				_, err = people.Reseal(ctx, db, tenant, jobs.ResealOptions{})
				census, fault := people.Census(t.Context(), s.db, tenant)
				require.NoError(t, fault)
				return census.KeyVersions[active] == 7, err
			},
			"Census": func(ctx context.Context) (bool, error) {
				census, err := people.Census(ctx, db, tenant)
				n := int64(0)
				for _, cells := range census.KeyVersions {
					n += cells
				}
				return n == 7, err
			},
			"Redact": func(ctx context.Context) (bool, error) {
				_, err := people.Redact(ctx, db, tenant, "r", jobs.Redaction{Edit: func(_ string, b []byte) ([]byte, error) { return b, nil }})
				return false, err // the other row of its owner may be hidden, but is there
			},
		} {
			for at = 1; ; at++ {
				fill()
				calls.Store(0)
				right, err := job(t.Context())
				require.True(t, err != nil || right, "%s: rows were hidden before statement %d of %d, and it says that it is done", name, at, calls.Load())
				if err != nil && name != "Redact" {
					require.ErrorIs(t, err, encryption.ErrDefinition, name)
					require.ErrorContains(t, err, toEdit, name)
				}
				if calls.Load() < at {
					break
				}
			}
		}
	})
}

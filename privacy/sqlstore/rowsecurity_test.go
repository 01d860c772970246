package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// Row level security that a migration switches on while the store is open hides
// rows from its role. An erasure that does not see them is none.
func TestRowSecurityThatCameLaterIsNoErasure(t *testing.T) {
	eachDriver(t, func(t *testing.T, db *sql.DB, name testdb.Name) {
		if name == testdb.MariaDB {
			return // has no row level security
		}
		role := fmt.Sprintf("crmguard_rows_%d", time.Now().UnixNano())
		run(t, db, `CREATE TABLE calls (id bigint PRIMARY KEY, person text)`, `INSERT INTO calls VALUES (1, 'p1'), (2, 'p2')`,
			`CREATE ROLE `+role, `GRANT ALL ON ALL TABLES IN SCHEMA public TO `+role, `SET ROLE `+role)
		t.Cleanup(func() {
			for _, query := range []string{`RESET ROLE`, `DROP OWNED BY ` + role, `DROP ROLE ` + role} {
				_, err := db.ExecContext(context.WithoutCancel(t.Context()), query)
				require.NoError(t, err)
			}
		})
		s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{Name: "calls", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}}})
		run(t, db, `RESET ROLE`, `ALTER TABLE calls ENABLE ROW LEVEL SECURITY`, `CREATE POLICY theirs ON calls USING (person <> 'p1')`, `SET ROLE `+role)
		err := s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil)
		require.ErrorContains(t, err, "row security hides rows")
		var fault *sqlstore.DatabaseError
		require.ErrorAs(t, err, &fault)
		require.Equal(t, "calls", fault.Table)
		run(t, db, `RESET ROLE`, `ALTER TABLE calls DISABLE ROW LEVEL SECURITY`, `SET ROLE `+role)
		require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM calls`))
	})
}

// What the application writes in the transaction of an erasure goes by its own
// setting.
func TestARedactionHasTheRowSecurityOfTheApplication(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, name testdb.Name) {
		if name != testdb.PostgresC && name != testdb.PostgresICU {
			return
		}
		db.SetMaxOpenConns(1)
		for _, own := range []string{"on", "off"} {
			run(t, db, `SET row_security = `+own)
			plant(db)(t, "t1", "p1")
			exec(t, db, `INSERT INTO meeting_people SELECT id, 'p2' FROM meetings ON CONFLICT DO NOTHING`)
			seen := ""
			s, err := sqlstore.Open(t.Context(), sqlstore.Config{
				DB: db, Map: dataMap(), EraseOwner: func(context.Context, string, string) error { return nil },
				Redact: func(context.Context, sqlstore.JointRow) (sqlstore.Redaction, error) {
					return sqlstore.Redaction{Apply: func(ctx context.Context, tx datastore.Tx) error {
						rows, err := tx.QueryContext(ctx, `SELECT current_setting('row_security')`)
						if err != nil {
							return err
						}
						defer rows.Close()
						for rows.Next() {
							if err := rows.Scan(&seen); err != nil {
								return err
							}
						}
						return rows.Err()
					}}, nil
				},
			})
			require.NoError(t, err)
			require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil))
			require.Equal(t, own, seen)
		}
	})
}

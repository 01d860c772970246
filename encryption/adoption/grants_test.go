package adoption_test

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The application's role has the rights of Grants, and its own ones on its table:
// with these it does everything but what SQL and GuardSQL return. Each of the rights
// is needed.
func TestARoleWithTheGrantsDoesTheWholeWork(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				owner := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
				owner.old(t, "1", "p1", "ann@b.example")
				owner.prepare(t)
				role, as := d.Role(t)
				rights := d.Rights(t, adoption.Grants(), role)
				for _, right := range rights {
					owner.exec(t, right.Grant)
				}
				owner.exec(t, `GRANT SELECT, INSERT, UPDATE, DELETE ON contacts TO `+role)
				if name == testdb.MariaDB {
					var database string
					require.NoError(t, owner.db.QueryRowContext(t.Context(), `SELECT DATABASE()`).Scan(&database))
					owner.exec(t, `GRANT LOCK TABLES ON `+database+`.* TO `+role)
				}
				work := func() error {
					owner.exec(t, `DELETE FROM crmguard_adoption`)
					owner.exec(t, `DELETE FROM crmguard_adoption_job`)
					e := *owner
					e.db = as.OpenWith(t, driver)
					table, err := e.vault.Table(e.def)
					require.NoError(t, err)
					a, err := adoption.Open(t.Context(), adoption.Config{DB: e.db, Table: table, Columns: e.cols})
					if err != nil {
						return err
					}
					gone := adoption.MoveOptions{OldReleaseGone: true} // on MariaDB the role does not see the trigger
					for _, stage := range []adoption.Stage{adoption.WriteBoth, adoption.ReadSealed, adoption.SealedOnly} {
						if err := a.Move(t.Context(), tenant, stage, gone); err != nil {
							return err
						}
						if _, err := a.Backfill(t.Context(), tenant, adoption.JobOptions{}); err != nil {
							return err
						}
						if _, err := a.Status(t.Context(), tenant); err != nil {
							return err
						}
					}
					if _, err = a.Clear(t.Context(), tenant, adoption.JobOptions{Again: true}); err != nil {
						return err
					}
					if err := a.Move(t.Context(), tenant, adoption.ReadSealed, gone); err != nil {
						return err
					}
					_, err = a.Unseal(t.Context(), tenant, adoption.JobOptions{})
					return err
				}
				require.NoError(t, work())
				if name == testdb.MariaDB {
					e := *owner
					e.db = as.OpenWith(t, driver)
					have, err := e.open(t, e.vault).Guard(t.Context())
					require.NoError(t, err)
					require.Equal(t, adoption.HiddenGuard, have, "what cannot be read counts for none")
				}
				for _, right := range rights {
					owner.exec(t, right.Revoke)
					err := work()
					require.ErrorIs(t, err, fs.ErrPermission, right.Revoke)
					require.ErrorContains(t, err, "table "+right.Table)
					owner.exec(t, right.Grant)
				}
			})
		}
	}
}

// The role is told of all obstacles that the owner of the table is told of, by its
// rights on the table alone.
func TestTheRoleSeesWhatStandsInTheWay(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			db := d.Open(t)
			_, err := db.ExecContext(t.Context(), `CREATE TABLE persons (id VARCHAR(40) NOT NULL PRIMARY KEY)`)
			require.NoError(t, err)
			owner := newEnvOn(t, name, db, contactsDef, emailColumn, `CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40), email VARCHAR(200) NOT NULL UNIQUE,
				CONSTRAINT wants CHECK (email IS NOT NULL), FOREIGN KEY (person) REFERENCES persons (id) ON DELETE SET NULL)`)
			owner.exec(t, `INSERT INTO persons VALUES ('p1')`)
			owner.exec(t, `INSERT INTO contacts (id, person, email) VALUES ('1', 'p1', 'ann@b.example')`)
			all, err := owner.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, map[testdb.Name]int{testdb.PostgresC: 3, testdb.MariaDB: 4}[name])
			role, as := d.Role(t)
			for _, right := range d.Rights(t, adoption.Grants(), role) {
				owner.exec(t, right.Grant)
			}
			owner.exec(t, `GRANT SELECT, INSERT, UPDATE, DELETE ON contacts TO `+role)
			e := *owner
			e.db = as.Open(t)
			told, err := e.open(t, e.vault).Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Equal(t, all, told)
		})
	}
}

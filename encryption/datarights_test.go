package encryption_test

import (
	"bytes"
	"database/sql"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The jobs work on the application's table as a role with the rights that the
// package comment names, column by column, and each of them is needed.
func TestTheRightsOfJobsOnTheDataAreEnoughAndEachIsNeeded(t *testing.T) {
	const all = "SELECT (id, person, email, email_idx)"
	jobs := map[string]struct {
		rights []string
		run    func(*testing.T, dataJob) error
	}{
		"Census": {[]string{all}, func(t *testing.T, j dataJob) error {
			_, err := j.table.Census(t.Context(), j.db, "main")
			return err
		}},
		"Holder": {[]string{all}, func(t *testing.T, j dataJob) error {
			_, _, err := j.table.Holder(j.db)(t.Context(), "main", j.keyVersion)
			return err
		}},
		"Reseal": {[]string{all, "UPDATE (email)"}, func(t *testing.T, j dataJob) error {
			report, err := j.table.Reseal(t.Context(), j.db, "main", jobs.ResealOptions{})
			if err == nil {
				require.EqualValues(t, 1, report.Cells)
			}
			return err
		}},
		"Rebuild": {[]string{all, "UPDATE (email_idx)"}, func(t *testing.T, j dataJob) error {
			return j.table.RebuildIndexes(j.db, "main")(t.Context())
		}},
		"ClearRows": {[]string{"SELECT (person, email, email_idx)", "UPDATE (email, email_idx)"}, func(t *testing.T, j dataJob) error {
			return j.table.ClearRows(j.db)(t.Context(), "main", "p1")
		}},
		"Redact": {[]string{all, "UPDATE (person, email, email_idx)"}, func(t *testing.T, j dataJob) error {
			_, err := j.table.Redact(t.Context(), j.db, "main", "1", jobs.Redaction{Edit: func(_ string, text []byte) ([]byte, error) {
				return bytes.ToLower(text), nil
			}})
			return err
		}},
	}
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		for job, j := range jobs {
			t.Run(string(name)+"/"+job, func(t *testing.T) {
				d := testdb.New(t, name)
				owner := d.Open(t)
				binary := map[testdb.Name]string{testdb.PostgresC: "BYTEA", testdb.MariaDB: "VARBINARY(200)"}[name]
				exec := func(statement string, args ...any) {
					t.Helper()
					_, err := owner.ExecContext(t.Context(), statement, args...)
					require.NoError(t, err, statement)
				}
				exec(`CREATE TABLE contacts (id BIGINT PRIMARY KEY, person VARCHAR(50) NOT NULL, other VARCHAR(50), email ` + binary + `, email_idx BIGINT)`)
				vault := encryptiontest.Vault(t, "main")
				table, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", Find: encryption.Email}}})
				require.NoError(t, err)
				record, err := encryption.NewRecordOwner()
				require.NoError(t, err)
				w, err := table.RecordWriter(t.Context(), "main", record)
				require.NoError(t, err)
				insert := `INSERT INTO contacts (id, person, email) VALUES (1, ?, ?)`
				if name == testdb.PostgresC {
					insert = `INSERT INTO contacts (id, person, email) VALUES (1, $1, $2)`
				}
				exec(insert, record, w.Text("email", "Ann@b.example").Bytes())
				versions, err := vault.KeyVersions(t.Context(), "main")
				require.NoError(t, err)
				_, err = vault.NewKeyVersion(t.Context(), "main")
				require.NoError(t, err)

				role, as := d.Role(t)
				rights := j.rights
				if name == testdb.MariaDB && job == "Holder" {
					exec(`GRANT LOCK TABLES ON * TO ` + role)
				}
				for _, right := range rights {
					exec(`GRANT ` + right + ` ON contacts TO ` + role)
				}
				work := dataJob{table, as.Open(t), versions[0].KeyVersion}
				for _, right := range rights {
					exec(`REVOKE ` + right + ` ON contacts FROM ` + role)
					lacking := fs.ErrPermission
					if name == testdb.MariaDB && strings.HasPrefix(right, "SELECT") {
						lacking = encryption.ErrDefinition // it hides the columns on which a role has no right
					}
					require.ErrorIs(t, j.run(t, work), lacking, "without %s", right)
					exec(`GRANT ` + right + ` ON contacts TO ` + role)
				}
				require.NoError(t, j.run(t, work))
			})
		}
	}
}

// dataJob is what a job works on.
type dataJob struct {
	table      *encryption.SealedTable
	db         *sql.DB
	keyVersion uint32
}

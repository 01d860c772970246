package main

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// An operator goes the whole way and back with this program, by what it prints.
func TestAnOperatorGoesThereAndBack(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC} {
		t.Run(string(name), func(t *testing.T) {
			crm, keys, folder, driver := testdb.New(t, name), testdb.New(t, name), t.TempDir(), name.Drivers()[0]
			require.NoError(t, os.WriteFile(filepath.Join(folder, "kek-1"), bytes.Repeat([]byte{9}, 32), 0o600))
			t.Setenv("CRM_URL", crm.DSN(driver))
			t.Setenv("KEYS_URL", keys.DSN(driver))
			t.Setenv("KEK_FOLDER", folder)
			prepare(t, keys.Open(t), folder)
			db := crm.Open(t)
			exec := func(statement string) {
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err, statement)
			}
			null := ""
			if name != testdb.SQLite { // which has no statement that drops it
				null = " NOT NULL"
			}
			exec(`CREATE TABLE contacts (id varchar(40) PRIMARY KEY, person varchar(40) NOT NULL, email varchar(80)` + null + ` UNIQUE CHECK (email LIKE '%@%'))`)
			exec(`INSERT INTO contacts VALUES ('1', 'p1', 'ann@b.example'), ('2', 'p2', 'bob@b.example')`)
			here := func(out *bytes.Buffer) *operator {
				return &operator{out: out, words: out, wait: func(context.Context, time.Duration) error { return nil }}
			}
			call := func(args ...string) (string, error) {
				var out bytes.Buffer
				err := here(&out).call(t.Context(), append([]string{"-driver", driver}, args...))
				return out.String(), err
			}
			says := func(want string, args ...string) {
				t.Helper()
				out, err := call(args...)
				require.NoError(t, err, "%v: %s", args, out)
				require.Contains(t, out, want)
			}
			owner := here(&bytes.Buffer{}) // executes what the program prints
			end, err := owner.open(t.Context(), driver)
			require.NoError(t, err)
			defer end()
			execute := func(statements []string, err error) {
				t.Helper()
				require.NoError(t, err)
				for _, statement := range statements {
					exec(statement)
				}
			}
			count := func(where string) (n int) {
				require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM contacts WHERE `+where).Scan(&n))
				return n
			}
			printed := func(args ...string) string { // to stdout
				t.Helper()
				var out, words bytes.Buffer
				o := here(&out)
				o.words = &words
				require.NoError(t, o.call(t.Context(), append([]string{"-driver", driver}, args...)), words.String())
				return out.String()
			}
			exec(`INSERT INTO contacts VALUES ('3', 'p3', 'ANN@b.example')`)
			says(`row "1" email`, "plan") // or that of the other spelling
			exec(`DELETE FROM contacts WHERE id = '3'`)
			says("email_sealed", "plan")
			obstacles, err := owner.a.Obstacles(t.Context(), "main")
			require.NoError(t, err)
			for _, one := range obstacles {
				if len(one.SQL) > 0 && one.Option == "" {
					execute(one.SQL, nil)
				}
			}
			says("email_sealed_idx", "sql")
			execute(owner.a.SQL(t.Context()))
			says("nothing is missing", "sql")
			says("move write-both", "plan")
			says("plain, settled: true", "status")
			says("at write-both", "move", "write-both")
			says("2 would be changed", "plan")
			says("2 changed", "backfill")
			says("clean: true", "backfill")
			says("at read-sealed", "move", "read-sealed")
			says("clean: true", "backfill")
			_, err = call("move", "sealed-only")
			require.ErrorContains(t, err, "OldReleaseGone")
			out, err := call("-old-release-gone", "move", "sealed-only")
			require.ErrorContains(t, err, "UNIQUE", out)
			require.ErrorContains(t, err, "LoseChecks")
			exec(`CREATE UNIQUE INDEX contacts_email_sealed_key ON contacts (email_sealed_idx)`)
			says("clean: true", "backfill") // on SQLite each change of the schema wants another one
			says("at sealed-only", "-old-release-gone", "-lose-checks", "move", "sealed-only")
			require.Regexp(t, `^(CREATE|DROP) `, printed("guard", "refuse"), "nothing but statements")
			execute(owner.a.GuardSQL(t.Context(), adoption.Refuse))
			says("clean: true", "clear")
			require.Equal(t, 2, count(`email IS NULL AND email_sealed IS NOT NULL`))
			says("clean: true", "clear-erased")
			out, err = call("status")
			require.NoError(t, err)
			require.NotContains(t, out, "alarm")

			execute(owner.a.GuardSQL(t.Context(), adoption.Reset))
			for _, want := range []string{"at read-sealed", "2 changed", "next: restore", "nothing lies behind plain"} {
				says(want, "back")
			}
			require.Equal(t, 2, count(`email IS NOT NULL`))
			restore := printed("restore")
			if null == "" {
				require.Equal(t, "-- nothing is missing\n", restore)
			} else {
				require.Regexp(t, `^ALTER TABLE .* SET NOT NULL;\n$`, restore)
				exec(restore)
			}
			_, err = call("fly")
			require.ErrorContains(t, err, "none of")
		})
	}
}

// prepare makes an installation.
func prepare(t *testing.T, db *sql.DB, folder string) {
	t.Helper()
	require.NoError(t, sqlkeys.Install(t.Context(), db))
	store, err := sqlkeys.Open(t.Context(), db)
	require.NoError(t, err)
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: store, KEK: insecurekeys.Folder(folder)})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
}

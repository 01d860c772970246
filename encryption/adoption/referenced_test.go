package adoption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A foreign key that references the column in the clear would carry NULL into the
// values of another table: it stands in the way, with the statement that takes it
// away, whatever its rule is; and where it is made after the move, nothing is cleared.
func TestNoOtherTableLosesItsValues(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.PostgresICU, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), uniqueDef, emailColumn, strings.Replace(contactsSQL, "email VARCHAR(200)", "email VARCHAR(200) UNIQUE", 1))
			key := `FOREIGN KEY (email) REFERENCES contacts (email) ON UPDATE CASCADE ON DELETE CASCADE`
			login := `CREATE TABLE logins (id VARCHAR(9) PRIMARY KEY, email VARCHAR(200), CONSTRAINT whose ` + key + `)`
			e.exec(t, login)
			e.old(t, "1", "p1", "ann@b.example")
			e.exec(t, `INSERT INTO logins VALUES ('1', 'ann@b.example')`)
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.Equal(t, adoption.SealedOnly, all[0].Before)
			require.Empty(t, all[0].Option, "nobody can state that this may be so")
			require.Contains(t, all[0].Why, "logins references email")

			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			detail := e.refused(t, adoption.SealedOnly, gone)
			require.Contains(t, detail.Why, "logins references email")
			away := func() {
				t.Helper()
				if name == testdb.SQLite {
					e.exec(t, `DROP TABLE logins`)
					e.exec(t, `CREATE TABLE logins (id VARCHAR(9) PRIMARY KEY, email VARCHAR(200))`)
					e.exec(t, `INSERT INTO logins VALUES ('1', 'ann@b.example')`)
				}
			}
			away()
			for _, statement := range detail.SQL {
				e.exec(t, statement)
			}
			if name == testdb.SQLite { // the schema was changed
				require.True(t, e.backfill(t).Clean)
			}
			e.move(t, adoption.SealedOnly, gone)

			if name == testdb.SQLite {
				e.exec(t, `DROP TABLE logins`)
				e.exec(t, login)
				e.exec(t, `INSERT INTO logins VALUES ('1', 'ann@b.example')`)
			} else {
				restore, err := e.a.RestoreSQL(t.Context(), tenant)
				require.NoError(t, err)
				for _, statement := range restore {
					e.exec(t, statement)
				}
			}
			e.guard(t, adoption.Refuse)
			_, err = e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			var again *adoption.NotReadyError
			require.ErrorAs(t, err, &again)
			require.Contains(t, again.Why, "logins references email")
			away()
			for _, statement := range again.SQL {
				e.exec(t, statement)
			}
			report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.True(t, report.Clean)
			var kept string
			require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT email FROM logins`).Scan(&kept))
			require.Equal(t, "ann@b.example", kept)
		})
	}
}

// A key over two columns, of a table in another place, comes back as it was; one that
// references something else is none of this.
func TestAReferenceComesBackAsItWas(t *testing.T) {
	for name, ask := range map[testdb.Name]string{
		testdb.PostgresC: `SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'Whose.Is'`,
		testdb.MariaDB:   "SELECT GROUP_CONCAT(k.COLUMN_NAME, k.REFERENCED_COLUMN_NAME, r.UPDATE_RULE, r.DELETE_RULE ORDER BY k.ORDINAL_POSITION) FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r USING (CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME) WHERE k.CONSTRAINT_SCHEMA = DATABASE() AND CONSTRAINT_NAME = 'Whose.Is'",
	} {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), uniqueDef, emailColumn, strings.TrimSuffix(contactsSQL, ")")+`, UNIQUE (seen, email))`)
			quote := strings.NewReplacer("'", map[testdb.Name]string{testdb.PostgresC: `"`, testdb.MariaDB: "`"}[name])
			e.exec(t, quote.Replace(`CREATE TABLE 'Log.Ins' (id VARCHAR(40), s INTEGER, 'e.mail' VARCHAR(200), FOREIGN KEY (id) REFERENCES contacts (id) ON UPDATE CASCADE,
				CONSTRAINT 'Whose.Is' FOREIGN KEY (s, 'e.mail') REFERENCES contacts (seen, email) ON UPDATE CASCADE ON DELETE SET NULL)`))
			read := func() (out string) {
				require.NoError(t, e.db.QueryRowContext(t.Context(), ask).Scan(&out))
				return out
			}
			before := read()
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			detail := e.refused(t, adoption.SealedOnly, gone)
			for _, statement := range detail.SQL {
				e.exec(t, statement)
			}
			e.move(t, adoption.SealedOnly, gone)
			restore, err := e.a.RestoreSQL(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, restore, 1)
			e.exec(t, restore[0])
			require.Equal(t, before, read())
		})
	}
}

// The history of a table keeps what is cleared: it goes before the adoption begins,
// and nothing is called clean where it was added since.
func TestAHistoryThatKeepsTheClearStandsInTheWay(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.MariaDB), contactsDef, emailColumn, contactsSQL+` WITH SYSTEM VERSIONING`)
	e.old(t, "1", "p1", "ann@b.example")
	all, err := e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, adoption.WriteBoth, all[0].Before)
	require.Len(t, all[0].SQL, 1)
	e.exec(t, all[0].SQL[0])
	e.to(t, adoption.ReadSealed)
	e.exec(t, `ALTER TABLE contacts ADD SYSTEM VERSIONING`)
	require.True(t, e.backfill(t).Clean)
	e.exec(t, e.refused(t, adoption.SealedOnly, gone).SQL[0])
	e.move(t, adoption.SealedOnly, gone)
	e.guard(t, adoption.Refuse)
	e.exec(t, `ALTER TABLE contacts ADD SYSTEM VERSIONING`)
	_, err = e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
	var detail *adoption.NotReadyError
	require.ErrorAs(t, err, &detail)
	require.Contains(t, err.Error(), "not ready to clear")
	e.exec(t, detail.SQL[0])
	report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.True(t, report.Clean)
	e.exec(t, `ALTER TABLE contacts ADD SYSTEM VERSIONING`)
	var kept int
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM contacts FOR SYSTEM_TIME ALL WHERE email IS NOT NULL`).Scan(&kept))
	require.Zero(t, kept)
}

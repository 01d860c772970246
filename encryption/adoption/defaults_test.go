package adoption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// forward executes what obstacles say and goes to SealedOnly, with the guard Refuse and
// nothing left in the clear.
func (e *env) forward(t *testing.T) {
	t.Helper()
	all, err := e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	for _, one := range all {
		for _, statement := range one.SQL {
			e.exec(t, statement)
		}
	}
	all, err = e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Empty(t, all)
	e.to(t, adoption.SealedOnly)
	e.guard(t, adoption.Refuse)
	report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.True(t, report.Clean, "%+v", report)
}

// back goes back to Plain and executes RestoreSQL.
func (e *env) back(t *testing.T) {
	t.Helper()
	e.guard(t, adoption.Reset)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	report, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.True(t, report.Clean)
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	e.move(t, adoption.Plain, adoption.MoveOptions{})
	restore, err := e.a.RestoreSQL(t.Context(), tenant)
	require.NoError(t, err)
	for _, statement := range restore {
		e.exec(t, statement)
	}
}

// A DEFAULT of the column in the clear that is not NULL is said before SealedOnly, where
// an INSERT that does not name the column would be refused because of it; with what is
// handed out it is not, and the way back brings the default back.
func TestADefaultOfTheColumnInTheClear(t *testing.T) {
	const said = `it's \"none\"`
	for _, one := range []struct {
		name   testdb.Name
		column string
	}{
		{testdb.PostgresC, `VARCHAR(200) DEFAULT 'it''s \"none\"'`},
		{testdb.PostgresC, `VARCHAR(200) NOT NULL DEFAULT 'it''s \"none\"'`},
		{testdb.PostgresC, `mail`},
		{testdb.PostgresC, `mail DEFAULT 'it''s \"none\"'`},
		{testdb.MariaDB, `VARCHAR(200) DEFAULT 'it''s \\"none\\"'`},
		{testdb.MariaDB, `TEXT NOT NULL DEFAULT concat('it''s \\"none', '\\"')`},
	} {
		t.Run(string(one.name)+" "+one.column, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, one.name), contactsDef, emailColumn, "")
			if strings.HasPrefix(one.column, "mail") {
				e.exec(t, `CREATE DOMAIN mail AS VARCHAR(200) DEFAULT 'it''s \"none\"'`)
			}
			e.exec(t, strings.Replace(contactsSQL, "VARCHAR(200)", one.column, 1))
			insert := func(id string) (value *string) {
				t.Helper()
				e.exec(t, `INSERT INTO contacts (id, person) VALUES ('`+id+`', 'p1')`)
				require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT email FROM contacts WHERE id = '`+id+`'`).Scan(&value))
				e.exec(t, `DELETE FROM contacts WHERE id = '`+id+`'`)
				return value
			}
			require.Equal(t, said, *insert("2"))
			e.old(t, "1", "p1", "ann@b.example")
			e.forward(t)
			require.Nil(t, insert("3"), "an INSERT that has no address")
			e.back(t)
			require.Equal(t, said, *insert("4"))
		})
	}
	t.Run("sqlite", func(t *testing.T) {
		e := newEnv(t, testdb.New(t, testdb.SQLite), contactsDef, emailColumn, strings.Replace(contactsSQL, "VARCHAR(200)", "VARCHAR(200) DEFAULT ''", 1))
		all, err := e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Contains(t, all[0].Why, "email has a DEFAULT that is not NULL")
		require.Contains(t, all[0].Why, "made anew")
		e.to(t, adoption.ReadSealed)
		require.Contains(t, e.refused(t, adoption.SealedOnly, gone).Why, "email has a DEFAULT")
	})
}

// A DEFAULT that is NULL is none.
func TestADefaultOfNULL(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, strings.Replace(contactsSQL, "VARCHAR(200)", "VARCHAR(200) DEFAULT NULL", 1))
		all, err := e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		require.Empty(t, all, "NULL is what stands there anyway")
	})
}

// A partition of PostgreSQL has a DEFAULT of its own.
func TestADefaultOfOnePartition(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL+` PARTITION BY RANGE (id)`)
	e.exec(t, `CREATE TABLE contacts_a PARTITION OF contacts (email DEFAULT 'none') DEFAULT`)
	e.old(t, "1", "p1", "ann@b.example")
	e.forward(t)
	e.exec(t, `INSERT INTO contacts_a (id, person) VALUES ('2', 'p1')`)
}

// What comes back on MariaDB by saying a column again is said of the column as it is by
// then: the application may have made it wider.
func TestRestoreSQLKeepsAWiderColumn(t *testing.T) {
	def := encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Find: encryption.Email}}}
	e := newEnv(t, testdb.New(t, testdb.MariaDB), def, emailColumn, strings.Replace(contactsSQL, "VARCHAR(200)", "VARCHAR(30) NOT NULL COMMENT 'where' CHECK (email <> '')", 1))
	e.old(t, "1", "p1", "ann@b.example")
	all, err := e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	for _, one := range all {
		for _, statement := range one.SQL {
			e.exec(t, statement)
		}
	}
	e.exec(t, `ALTER TABLE contacts MODIFY email VARCHAR(200) COLLATE utf8mb4_bin NULL COMMENT 'where, DEFAULT NULL CHECK (1)'`)
	const long = "somebody.with.a.very.long.address@department.b.example"
	e.old(t, "2", "p1", long)
	e.prepare(t)
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	require.True(t, e.backfill(t).Clean)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	e.backfill(t)
	e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, LoseChecks: true})
	e.clear(t)
	e.back(t)
	var email, typ, nullable, collation, comment string
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT email FROM contacts WHERE id = '2'`).Scan(&email))
	require.Equal(t, long, email)
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT COLUMN_TYPE, IS_NULLABLE, COLLATION_NAME, COLUMN_COMMENT FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'contacts' AND COLUMN_NAME = 'email'`).Scan(&typ, &nullable, &collation, &comment))
	require.Equal(t, []string{"varchar(200)", "NO", "utf8mb4_bin", "where, DEFAULT NULL CHECK (1)"}, []string{typ, nullable, collation, comment})
}

// A foreign key is dropped before the uniqueness that it rests on, and comes back after
// it.
func TestStatementsInTheirOrder(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), uniqueDef, emailColumn, `CREATE TABLE contacts (id VARCHAR(40) NOT NULL UNIQUE, person VARCHAR(40), email VARCHAR(200) NOT NULL PRIMARY KEY)`)
			e.exec(t, `CREATE TABLE logins (n INTEGER NOT NULL PRIMARY KEY, email VARCHAR(200), CONSTRAINT of_contact FOREIGN KEY (email) REFERENCES contacts (email))`)
			e.old(t, "1", "p1", "ann@b.example")
			e.exec(t, `INSERT INTO logins (n, email) VALUES (1, 'ann@b.example')`)
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			for _, one := range all {
				for _, statement := range one.SQL {
					e.exec(t, statement)
				}
			}
			restore, err := e.a.RestoreSQL(t.Context(), tenant)
			require.NoError(t, err)
			require.Contains(t, restore[len(restore)-1], "of_contact")
			for _, statement := range restore {
				e.exec(t, statement)
			}
			_, err = e.db.ExecContext(t.Context(), `INSERT INTO logins (n, email) VALUES (2, 'bob@b.example')`)
			require.Error(t, err, "the foreign key is there")
			_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email) VALUES ('2', 'p1', NULL)`)
			require.Error(t, err, "and NOT NULL")
		})
	}
}

// Where NOT NULL keeps the value of an erased person, what is sealed of it and its index
// values go all the same.
func TestClearErasedTakesWhatMayGo(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, strings.Replace(contactsSQL, "email VARCHAR(200)", "email VARCHAR(200) NOT NULL", 1))
		e.old(t, "1", "p1", "ann@b.example")
		e.to(t, adoption.ReadSealed)
		_, err := e.vault.Erase(t.Context(), tenant, "p1")
		require.NoError(t, err)
		for i := range 2 {
			report, err := e.a.ClearErased(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.EqualValues(t, []int64{1, int64(1 - i)}, []int64{report.Refused, report.Changed}, "%+v", report)
			require.False(t, report.Clean)
			require.Contains(t, report.Listed[0].Why, "NOT NULL")
			require.Equal(t, 1, e.count(t, `email IS NOT NULL AND email_sealed IS NULL AND email_sealed_idx IS NULL`))
		}
	})
}

package adoption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A trigger over a column that is not there stops every UPDATE of a table in use, also
// of the release that knows nothing of it: none is handed out, and the error names the
// column and what of the definition means it.
func TestNoStatementIsHandedOutOverAColumnThatIsNotThere(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		for column, change := range map[string]func(*encryption.Table){
			"persom": func(def *encryption.Table) { def.Owner = "persom" },
			"tenamt": func(def *encryption.Table) { def.Tenant = "tenamt" },
			"idd":    func(def *encryption.Table) { def.Key = "idd" },
		} {
			def := contactsDef
			change(&def)
			table, err := e.vault.Table(def)
			require.NoError(t, err)
			a, err := adoption.Open(t.Context(), adoption.Config{DB: e.db, Table: table, Columns: emailColumn})
			require.NoError(t, err)
			named := func(statements []string, err error) {
				t.Helper()
				require.Empty(t, statements)
				require.ErrorIs(t, err, adoption.ErrDefinition)
				var wrong *adoption.ColumnError
				require.ErrorAs(t, err, &wrong)
				require.Equal(t, column, wrong.Column)
				require.Contains(t, wrong.Why, "of the encryption.Table")
			}
			named(a.SQL(t.Context()))
			named(a.GuardSQL(t.Context(), adoption.Reset))
			named(a.GuardSQL(t.Context(), adoption.Refuse))
			named(nil, a.Check(t.Context(), tenant))
			all, err := a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.Contains(t, all[0].Why, column+" was not found")
			away, err := a.GuardSQL(t.Context(), adoption.NoGuard)
			require.NoError(t, err, "what takes a trigger away is never refused")
			require.NotEmpty(t, away)
		}

		// Before the columns of the adoption are there, too.
		var wrong *adoption.ColumnError
		_, err := e.a.GuardSQL(t.Context(), adoption.Reset)
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, "email_sealed", wrong.Column)
		require.ErrorContains(t, err, "execute first what SQL returns")
		e.prepare(t)
		e.guard(t, adoption.Reset)
		e.old(t, "1", "p1", "ann@b.example")
		e.exec(t, `UPDATE contacts SET seen = 1`)
	})
}

// What was dropped because Obstacles said so, before any move asked for it, comes back
// on the way back as well.
func TestWhatObstaclesHaveDroppedComesBack(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU, testdb.MariaDB} { // SQLite has no statement for it
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), contactsDef, emailColumn, `CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40), email VARCHAR(200) NOT NULL, seen INTEGER NOT NULL DEFAULT 0)`)
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1)
			for _, statement := range all[0].SQL {
				e.exec(t, statement)
			}
			e.to(t, adoption.SealedOnly)
			for _, back := range []adoption.Stage{adoption.ReadSealed, adoption.WriteBoth, adoption.Plain} {
				e.move(t, back, adoption.MoveOptions{})
			}
			_, err = e.a.Obstacles(t.Context(), tenant) // once more, where nothing is in the way
			require.NoError(t, err)
			restore, err := e.a.RestoreSQL(t.Context(), tenant)
			require.NoError(t, err)
			require.NotEmpty(t, restore)
			for _, statement := range restore {
				e.exec(t, statement)
			}
			_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email) VALUES ('1', 'p1', NULL)`)
			require.Error(t, err, "NOT NULL is back")
		})
	}
}

package adoption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Who writes in the clear and knows nothing of the sealed column, or gives a row to
// another owner, takes the sealed value away: what a collation takes for equal is
// a change, too.
func TestTheGuardResetsWhatIsOfYesterday(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		create := contactsSQL
		switch d.Name {
		case testdb.SQLite:
			create = `CREATE TABLE contacts (id TEXT NOT NULL PRIMARY KEY, person TEXT COLLATE NOCASE, email TEXT COLLATE NOCASE, seen INTEGER NOT NULL DEFAULT 0)`
		case testdb.PostgresC, testdb.PostgresICU, testdb.MariaDB:
		}
		e := newEnv(t, d, contactsDef, emailColumn, create)
		e.to(t, adoption.ReadSealed)
		for id, change := range map[string]struct {
			set    string
			resets bool
		}{
			"1": {`seen = seen + 1`, false},
			"2": {`email = 'ann@b.example', seen = 3`, false},
			"3": {`email = 'Ann@b.example'`, true},
			"4": {`email = 'ann@b.example '`, true},
			"5": {`email = NULL`, true},
			"6": {`person = 'P1'`, true},
			"7": {`email = 'bob@b.example'`, true},
		} {
			e.write(t, e.a, id, "p1", "ann@b.example")
			e.exec(t, `UPDATE contacts SET `+change.set+` WHERE id = ?`, id)
			want := 1
			if change.resets {
				want = 0
			}
			require.Equal(t, want, e.count(t, `id = '`+id+`' AND email_sealed IS NOT NULL`), "%s", change.set)
			require.Equal(t, want, e.count(t, `id = '`+id+`' AND email_sealed_idx IS NOT NULL`), "%s", change.set)
		}
		w, err := e.a.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		e.exec(t, `UPDATE contacts SET email = ?, email_sealed = ?, email_sealed_idx = ? WHERE id = '1'`, w.Plain("email", "new@b.example"), w.Text("email", "new@b.example"), w.Int64("email_sealed_idx", "new@b.example"))
		require.Equal(t, 1, e.count(t, `id = '1' AND email_sealed IS NOT NULL`), "who writes both is left alone")
	})
}

// At SealedOnly nobody writes in the clear: an INSERT and an UPDATE are refused, as
// is the guard while a tenant is below.
func TestTheGuardRefusesWritersThatForgot(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.to(t, adoption.ReadSealed)
		e.write(t, e.a, "1", "p1", "ann@b.example")
		_, err := e.a.GuardSQL(t.Context(), adoption.Refuse)
		require.ErrorIs(t, err, adoption.ErrStage)
		_, err = e.a.GuardSQL(t.Context(), "some")
		require.ErrorIs(t, err, adoption.ErrDefinition)
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
		e.guard(t, adoption.Refuse)
		for _, statement := range []string{
			`INSERT INTO contacts (id, person, email) VALUES ('2', 'p2', 'bob@b.example')`,
			`UPDATE contacts SET email = 'bob@b.example' WHERE id = '1'`,
		} {
			_, err := e.db.ExecContext(t.Context(), statement)
			require.ErrorContains(t, err, "email is sealed", "%s", statement)
		}
		e.exec(t, `UPDATE contacts SET seen = 3 WHERE id = '1'`)
		e.write(t, e.a, "3", "p3", "cid@b.example")
		report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.True(t, report.Clean)
		require.Equal(t, map[string]string{"1": "ann@b.example", "3": "cid@b.example"}, e.read(t, e.a))
		e.guard(t, adoption.NoGuard)
	})
}

// A guard that was switched off, or is of another definition, is none.
func TestAGuardIsComparedAsItStands(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.to(t, adoption.WriteBoth)
		other := e.def
		other.Columns = []encryption.Column{{Name: "email", SQL: "email_sealed"}}
		vault, err := encryption.Open(t.Context(), e.cfg)
		require.NoError(t, err)
		table, err := vault.Table(other)
		require.NoError(t, err)
		e.exec(t, `DELETE FROM crmguard_adoption`)
		a, err := adoption.Open(t.Context(), adoption.Config{DB: e.db, Table: table, Columns: emailColumn})
		require.NoError(t, err)
		have, err := a.Guard(t.Context())
		require.NoError(t, err)
		require.Equal(t, adoption.OtherGuard, have, "its index would stay")
		if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU {
			e.exec(t, `ALTER TABLE contacts DISABLE TRIGGER USER`)
			have, err = e.a.Guard(t.Context())
			require.NoError(t, err)
			require.Equal(t, adoption.OtherGuard, have)
		}
	})
}

// A guard that names a column which the table does not have would refuse every UPDATE
// of the release before: no statement of it is handed out.
func TestNoGuardNamesAColumnThatIsNotThere(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.MariaDB} {
		for _, def := range []encryption.Table{
			{Name: "contacts", Owner: "whose", Columns: contactsDef.Columns},
			{Name: "contacts", Tenant: "company", Columns: contactsDef.Columns},
		} {
			e := newEnv(t, testdb.New(t, name), def, emailColumn, contactsSQL)
			for _, ask := range []func() ([]string, error){
				func() ([]string, error) { return e.a.SQL(t.Context()) },
				func() ([]string, error) { return e.a.GuardSQL(t.Context(), adoption.Reset) },
			} {
				statements, err := ask()
				require.ErrorIs(t, err, adoption.ErrDefinition)
				require.ErrorContains(t, err, "of the encryption.Table")
				require.Empty(t, statements)
			}
		}
	}
}

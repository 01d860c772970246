package encryption_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Who hands in the rows of an application on PostgreSQL reads that this is not
// offered yet, and not the server's complaint about a placeholder.
func TestRowsOnPostgreSQLAreRefusedByName(t *testing.T) {
	vault := encryptiontest.Vault(t, "main")
	table, err := vault.Table(encryption.Table{
		Name: "contacts", Tenant: "tenant", Owner: "person",
		Columns: []encryption.Column{{Name: "email", Index: []encryption.Index{{Column: "email_idx", As: encryption.Email, Bits: 32}}}},
	})
	require.NoError(t, err)
	d := testdb.New(t, testdb.PostgresC)
	for _, driver := range d.Name.Drivers() {
		db := d.OpenWith(t, driver)
		_, census := table.Census(t.Context(), db, "main")
		_, reseal := table.Reseal(t.Context(), db, "main", encryption.ResealOptions{})
		_, redact := table.Redact(t.Context(), db, "main", "c1", encryption.Redaction{
			Edit: func(string, []byte) ([]byte, error) { return nil, nil },
		})
		_, counts := encryption.Counts(db, "main", table)(t.Context())
		_, _, holder := table.Holder(db)(t.Context(), "main", 1)
		for verb, err := range map[string]error{
			"Census": census, "Reseal": reseal, "Redact": redact, "Holder": holder,
			"RebuildIndexes": table.RebuildIndexes(db, "main")(t.Context()),
			"ClearRows":      table.ClearRows(db)(t.Context(), "main", "p1"),
			"Counts":         counts,
		} {
			require.ErrorIs(t, err, errors.ErrUnsupported, verb)
			require.ErrorContains(t, err, "on PostgreSQL yet", verb)
			require.ErrorContains(t, err, verb, "what is not offered is listed")
			require.NotContains(t, err.Error(), "syntax", verb)
		}
	}
}

// On PostgreSQL the application writes its rows itself: sealed fields go in, are
// found by Probes.Postgres behind other arguments, and open again.
func TestFieldsAreSealedFoundAndOpenedOnPostgreSQL(t *testing.T) {
	vault := encryptiontest.Vault(t, "main")
	table, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", Index: []encryption.Index{
		{Column: "email_idx", As: encryption.Email, Bits: 32}, {Column: "email_wide", As: encryption.Email, Bits: 128},
	}}}})
	require.NoError(t, err)
	d := testdb.New(t, testdb.PostgresC)
	_, err = d.Open(t).ExecContext(t.Context(), `CREATE TABLE contacts (id text, driver text, person text, email bytea, email_idx bigint, email_wide bytea)`)
	require.NoError(t, err)
	for _, driver := range d.Name.Drivers() {
		db := d.OpenWith(t, driver)
		for _, person := range []string{"p1", "p2"} {
			w, err := table.Writer(t.Context(), "main", person)
			require.NoError(t, err)
			mail := person + "@b.example"
			_, err = db.ExecContext(t.Context(), `INSERT INTO contacts VALUES ($1, $2, $3, $4, $5, $6)`,
				person, driver, person, w.Text("email", mail), w.Int64("email_idx", mail), w.Index("email_wide", mail))
			require.NoError(t, err)
		}
		for _, index := range []string{"email_idx", "email_wide"} {
			probes, err := table.Lookup(t.Context(), "main", index, "P2@b.example")
			require.NoError(t, err)
			where, args := probes.Postgres("c", 2)
			require.Contains(t, where, "$2")
			var id string
			var email encryption.Sealed
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT c.id, c.email FROM contacts AS c WHERE c.driver = $1 AND `+where, append([]any{driver}, args...)...).Scan(&id, &email))
			r, err := table.Reader(t.Context(), "main", "p2")
			require.NoError(t, err)
			mail, err := r.Text(t.Context(), "p2", id, "email", email.Bytes())
			require.NoError(t, err)
			require.Equal(t, "p2@b.example", mail)
		}
	}
}

// Each live version of an index has a placeholder of its own.
func TestProbesAreNumberedOnPostgreSQL(t *testing.T) {
	where, args := encryption.Probes{{Column: "a"}, {Column: "b"}}.Postgres("", 3)
	require.Equal(t, "(a = $3 OR b = $4)", where)
	require.Len(t, args, 2)
	where, _ = encryption.Probes{{Column: "a"}, {Column: "b"}}.Where("c")
	require.Equal(t, "(c.a = ? OR c.b = ?)", where)
}

// Rows on MariaDB are read and written with the same question marks as on
// SQLite: each verb does its work there once.
func TestRowsOnMariaDBAreWorkedOnByEachVerb(t *testing.T) {
	ctx, vault := t.Context(), encryptiontest.Vault(t, "main")
	table, err := vault.Table(encryption.Table{
		Name: "contacts", Tenant: "tenant",
		Columns: []encryption.Column{{Name: "email", Index: []encryption.Index{{Column: "email_idx", As: encryption.Email, Bits: 32}}}},
	})
	require.NoError(t, err)
	db := testdb.New(t, testdb.MariaDB).Open(t)
	_, err = db.ExecContext(ctx, `CREATE TABLE contacts (id VARBINARY(36) PRIMARY KEY, tenant VARBINARY(36), person VARBINARY(50), email BLOB, email_idx BIGINT)`)
	require.NoError(t, err)
	owner, err := encryption.NewRecordOwner()
	require.NoError(t, err)
	w, err := table.Writer(ctx, "main", "p1")
	require.NoError(t, err)
	joint, err := table.RecordWriter(ctx, "main", owner)
	require.NoError(t, err)
	_, err = db.ExecContext(ctx, `INSERT INTO contacts VALUES ('c1', 'main', 'p1', ?, NULL), ('c2', 'main', ?, ?, NULL)`,
		w.Text("email", "p1@b.example"), owner, joint.Text("email", "both@b.example"))
	require.NoError(t, err)

	require.NoError(t, table.RebuildIndexes(db, "main")(ctx))
	generations, err := vault.Generations(ctx, "main")
	require.NoError(t, err)
	old := generations[0].Generation
	fresh, err := vault.NewGeneration(ctx, "main")
	require.NoError(t, err)
	held, _, err := table.Holder(db)(ctx, "main", old)
	require.NoError(t, err)
	require.Equal(t, 2, held)
	report, err := table.Reseal(ctx, db, "main", encryption.ResealOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 2, report.Cells)
	census, err := table.Census(ctx, db, "main")
	require.NoError(t, err)
	require.EqualValues(t, 2, census.Generations[fresh])
	counts, err := encryption.Counts(db, "main", table)(ctx)
	require.NoError(t, err)
	require.Len(t, counts, 1)
	for _, byGeneration := range counts {
		require.EqualValues(t, 2, byGeneration[fresh])
	}

	owner, err = table.Redact(ctx, db, "main", "c2", encryption.Redaction{Edit: func(string, []byte) ([]byte, error) { return []byte("one@b.example"), nil }})
	require.NoError(t, err)
	probes, err := table.Lookup(ctx, "main", "email_idx", "one@b.example")
	require.NoError(t, err)
	where, args := probes.Where("")
	var email encryption.Sealed
	require.NoError(t, db.QueryRowContext(ctx, `SELECT email FROM contacts WHERE `+where, args...).Scan(&email))
	r, err := table.Reader(ctx, "main", owner)
	require.NoError(t, err)
	text, err := r.Text(ctx, owner, "c2", "email", email.Bytes())
	require.NoError(t, err)
	require.Equal(t, "one@b.example", text)

	require.NoError(t, table.ClearRows(db)(ctx, "main", "p1"))
	var left int
	require.NoError(t, db.QueryRowContext(ctx, `SELECT COUNT(*) FROM contacts WHERE email IS NOT NULL OR email_idx IS NOT NULL`).Scan(&left))
	require.Equal(t, 1, left)
}

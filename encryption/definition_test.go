package encryption_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// A definition comes back complete, and is nobody's to change.
func TestADefinitionComesBackComplete(t *testing.T) {
	e := newEnv(t, 1)
	table := e.table(t, e.vault, encryption.Table{Name: "people", Columns: []encryption.Column{
		{Name: "email", SQL: "mail", Find: encryption.Email, Index: []encryption.Index{{Column: "mail_wide", As: encryption.Exact, Bits: 128}}},
	}})
	def := table.Definition()
	require.Equal(t, encryption.Table{
		Name: "people", SQL: "people", Key: "id", Owner: "person", Level: encryption.LevelOwner,
		Columns: []encryption.Column{{Name: "email", SQL: "mail", Level: encryption.LevelOwner, Index: []encryption.Index{
			{Column: "mail_idx", Name: "email_idx", Version: 1, As: encryption.Email, Bits: 32},
			{Column: "mail_wide", Name: "mail_wide", Version: 1, As: encryption.Exact, Bits: 128},
		}}},
	}, def)
	def.Columns[0].Name = "other"
	def.Columns[0].Index[0].Column = "other"
	require.Equal(t, "email", table.Definition().Columns[0].Name)
	require.Equal(t, "mail_idx", table.Definition().Columns[0].Index[0].Column)
	require.NoError(t, func() error { _, err := e.vault.Table(table.Definition()); return err }(), "it declares the same table again")
}

// A page of rows gets its writers at once: who gets none is named by position, and
// costs nobody else theirs.
func TestWritersOfAPage(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "gone", "from", "into"))
	_, err := e.vault.Erase(t.Context(), tenant, "gone")
	require.NoError(t, err)
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "from", "into"))
	writers, err := e.contacts.Writers(t.Context(), tenant, "p1", "gone", "p2", "from", "p1", "a@b.example", "t:", "")
	var refused *encryption.PersonsError
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Persons, 4)
	require.ErrorIs(t, refused.Persons[1], encryption.ErrErased)
	require.ErrorIs(t, refused.Persons[3], encryption.ErrMerged)
	require.ErrorIs(t, refused.Persons[5], encryption.ErrID)
	require.ErrorIs(t, refused.Persons[7], encryption.ErrID)
	reader, err := e.contacts.PageReader(t.Context(), tenant, "p1", "p2", "a@b.example", "", "p1")
	require.NoError(t, err)
	for i, owner := range map[int]string{0: "p1", 2: "p2", 4: "p1"} {
		sealed := writers[i].Text("email", "value of "+owner)
		require.NoError(t, sealed.Err())
		text, err := reader.Row(owner, "").Text(t.Context(), "email", sealed.Bytes())
		require.NoError(t, err)
		require.Equal(t, "value of "+owner, text)
	}
	require.NotNil(t, writers[6], "the tenant's own")
	none, err := e.contacts.Writers(t.Context(), tenant)
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = e.contacts.Writers(t.Context(), "")
	require.ErrorIs(t, err, encryption.ErrTenant)
}

// What was sealed before a key version was retired is not committed after it.
func TestCommitSealedWantsAnActiveKeyVersion(t *testing.T) {
	e := newEnv(t, 2)
	writers, err := e.contacts.Writers(t.Context(), tenant, "p1")
	require.NoError(t, err)
	begin := func(ctx context.Context, f func(tx *sql.Tx) error) error {
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		if err := f(tx); err != nil {
			require.NoError(t, tx.Rollback())
			return err
		}
		return tx.Commit()
	}
	commit := func(id string, cell []byte) error {
		return e.contacts.CommitSealed(t.Context(), e.db, tenant, [][]byte{cell}, begin, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO contacts (id, person, email) VALUES (?, 'p1', ?)`, id, cell)
			return err
		})
	}
	cell, err := writers[0].Seal("email", []byte("a@b.example"))
	require.NoError(t, err)
	require.NoError(t, commit("r1", cell))
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	require.ErrorIs(t, commit("r2", cell), encryption.ErrLease)
	require.Error(t, commit("r3", []byte("no sealed value")))
	require.Len(t, e.read(t), 1)
	require.NoError(t, e.contacts.CheckIn(t.Context(), e.db, tenant))
	require.Equal(t, encryption.DefaultLongestTransaction, e.contacts.Terms().LongestTransaction)
	_, err = e.db.ExecContext(t.Context(), `ALTER TABLE contacts DROP COLUMN note`)
	require.NoError(t, err)
	require.ErrorIs(t, e.contacts.CheckIn(t.Context(), e.db, tenant), encryption.ErrDefinition)
}

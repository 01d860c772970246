package encryption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// Owner and row are bound once, and hold for every column that is opened.
func TestARowIsReadForItsOwnerAndKey(t *testing.T) {
	e := newEnv(t, 1)
	ctx := t.Context()
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	first := e.read(t)[0]
	row, err := e.contacts.Row(ctx, tenant, "p1", "c1")
	require.NoError(t, err)
	for column, want := range map[string]struct {
		sealed encryption.Sealed
		text   string
	}{"email": {first.email, "p1@b.example"}, "note": {first.note, "note of p1"}, "phone": {first.phone, "+41 p1"}} {
		text, err := row.Text(ctx, column, want.sealed.Bytes())
		require.NoError(t, err)
		require.Equal(t, want.text, text)
		opened, err := row.Open(ctx, column, want.sealed.Bytes())
		require.NoError(t, err)
		require.Equal(t, want.text, string(opened))
		opened, err = row.AppendOpen(ctx, []byte("> "), column, want.sealed.Bytes())
		require.NoError(t, err)
		require.Equal(t, "> "+want.text, string(opened))
	}
	null, err := row.Open(ctx, "email", nil)
	require.NoError(t, err)
	require.Nil(t, null)
	_, err = row.Text(ctx, "nothing", first.note.Bytes())
	require.ErrorIs(t, err, encryption.ErrDefinition)

	reader, err := e.contacts.Reader(ctx, tenant, "p1", "p2")
	require.NoError(t, err)
	for _, other := range []encryption.RowReader{reader.Row("p1", "c2"), reader.Row("p2", "c1"), reader.Row("p2", "c2"), reader.Row("c1", "p1")} {
		_, err = other.Text(ctx, "note", first.note.Bytes())
		require.Error(t, err, "another owner, another row, or both the wrong way round")
	}
	_, err = reader.Row("p1", "").Text(ctx, "note", first.note.Bytes())
	require.ErrorIs(t, err, encryption.ErrDefinition, "the column needs the row")
	_, err = e.contacts.Row(ctx, tenant, "", "c1")
	require.ErrorIs(t, err, encryption.ErrID)
	_, err = e.contacts.Row(ctx, "", "p1", "c1")
	require.ErrorIs(t, err, encryption.ErrTenant)
}

// What belongs to the tenant opens in any row, also in one without an owner.
func TestARowOfTheTenantsOwnDataIsRead(t *testing.T) {
	e := newEnv(t, 1)
	ctx := t.Context()
	settings := e.table(t, e.vault, encryption.Table{Name: "settings", Shared: true, Level: encryption.LevelTenant, Columns: []encryption.Column{{Name: "token"}}})
	w, err := settings.TenantWriter(ctx, tenant)
	require.NoError(t, err)
	sealed, err := w.Seal("token", []byte("secret"))
	require.NoError(t, err)
	for _, owner := range []string{"", "t:"} {
		row, err := settings.Row(ctx, tenant, owner, "1")
		require.NoError(t, err)
		text, err := row.Text(ctx, "token", sealed)
		require.NoError(t, err)
		require.Equal(t, "secret", text)
	}
}

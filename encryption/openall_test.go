package encryption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// cellsOf is a Record of whatever cells.
type cellsOf struct {
	owner, row string
	cells      []encryption.Cell
}

func (c *cellsOf) SealedCells() (owner, row string, cells []encryption.Cell) {
	return c.owner, c.row, c.cells
}

// NULL leaves alone what stood in the targets, whatever was opened beside it.
func TestANullCellLeavesItsTargetsAlone(t *testing.T) {
	e := newEnv(t, 1)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	sealed, err := w.Seal("email", []byte("ann"))
	require.NoError(t, err)
	empty, err := w.Seal("phone", []byte{})
	require.NoError(t, err)
	text, raw := "before", []byte("before")
	email, copied, phone, none := "", []byte(nil), "before", []byte("before")
	require.NoError(t, encryption.OpenAll(t.Context(), e.contacts, tenant, []*cellsOf{{owner: "p1", row: "r1", cells: []encryption.Cell{
		{Column: "note", Text: &text, Bytes: &raw},
		{Column: "email", Sealed: sealed, Text: &email, Bytes: &copied},
		{Column: "phone", Sealed: empty, Text: &phone, Bytes: &none},
		{Column: "note", Text: &text, Bytes: &raw},
	}}}))
	require.Equal(t, []string{"before", "ann", ""}, []string{text, email, phone})
	require.Equal(t, [][]byte{[]byte("before"), []byte("ann"), {}}, [][]byte{raw, copied, none})
}

// A row of the tenant's own data may have neither an owner nor a key, also as the
// first one.
func TestARowWithoutOwnerAndKeyIsTheFirstOneToOpen(t *testing.T) {
	e := newEnv(t, 1)
	settings := e.table(t, e.vault, encryption.Table{Name: "settings", Shared: true, Level: encryption.LevelTenant, Columns: []encryption.Column{{Name: "token"}}})
	w, err := settings.TenantWriter(t.Context(), tenant)
	require.NoError(t, err)
	sealed, err := w.Seal("token", []byte("secret"))
	require.NoError(t, err)
	row, err := settings.Row(t.Context(), tenant, "", "")
	require.NoError(t, err)
	text, err := row.Text(t.Context(), "token", sealed)
	require.NoError(t, err)
	require.Equal(t, "secret", text)
}

// A column may hand back a UUID in other letters than those under which its row
// was sealed.
func TestAPageOpensInWhicheverLettersAnOwnerIsRead(t *testing.T) {
	e := newEnv(t, 1)
	w, err := e.contacts.Writer(t.Context(), tenant, uuidSmall)
	require.NoError(t, err)
	w, err = w.Row(uuidSmall)
	require.NoError(t, err)
	email, err := w.Seal("email", []byte("ann"))
	require.NoError(t, err)
	note, err := w.Seal("note", []byte("bound to its row"))
	require.NoError(t, err)
	var texts [4]string
	var page []*cellsOf
	for i, id := range []string{uuidSmall, strings.ToUpper(uuidSmall)} {
		page = append(page, &cellsOf{owner: id, row: id, cells: []encryption.Cell{
			{Column: "email", Sealed: email, Text: &texts[2*i]}, {Column: "note", Sealed: note, Text: &texts[2*i+1]},
		}})
	}
	require.NoError(t, encryption.OpenAll(t.Context(), e.contacts, tenant, page))
	require.Equal(t, [4]string{"ann", "bound to its row", "ann", "bound to its row"}, texts)
}

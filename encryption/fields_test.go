package encryption_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

// wholeRow is a row with a value in each column.
func wholeRow() []encryption.Field {
	return []encryption.Field{
		{Column: "email", Value: []byte("ann@b.example")}, {Column: "note", Value: []byte("plays the cello")}, {Column: "phone", Value: []byte("+49 30 1")},
	}
}

// What is sealed as a row is what is sealed column by column: each way opens what
// the other one made, in any order of the columns, with NULL and with values of
// no length, padded and not, in both forms.
func TestARowAndItsColumnsAreSealedAlike(t *testing.T) {
	e := newEnv(t, 4)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	w, err = w.Row("r1")
	require.NoError(t, err)
	row, err := e.contacts.Row(t.Context(), tenant, "p1", "r1")
	require.NoError(t, err)
	for name, fields := range map[string][]encryption.Field{
		"in order": wholeRow(),
		"backward": {wholeRow()[2], wholeRow()[1], wholeRow()[0]},
		"twice":    {wholeRow()[1], wholeRow()[1]},
		"NULL":     {{Column: "email", Sealed: []byte("old")}, wholeRow()[1], {Column: "phone"}},
		"empty":    {{Column: "email", Value: []byte{}}, {Column: "phone", Value: []byte{}}},
		"nothing":  {},
	} {
		sealed, err := w.AppendSealRow([]byte("> "), fields)
		require.NoError(t, err, name)
		want := []byte("> ")
		for _, f := range fields {
			want = append(want, f.Sealed...)
			require.Equal(t, f.Value == nil, f.Sealed == nil, name)
			opened, err := row.Open(t.Context(), f.Column, f.Sealed)
			require.NoError(t, err, name)
			require.Equal(t, f.Value, opened, "%s: %s", name, f.Column)
		}
		require.Equal(t, want, sealed, "%s: the sealed forms lie in the buffer", name)

		back := make([]encryption.Field, len(fields))
		for i, f := range fields {
			back[i] = encryption.Field{Column: f.Column, Value: []byte("old")}
			if f.Value != nil {
				if back[i].Sealed, err = w.Seal(f.Column, f.Value); err == nil && f.Column == "phone" {
					text, formatErr := sealedvalue.FormatText(back[i].Sealed)
					back[i].Sealed, err = []byte(text), formatErr
				}
				require.NoError(t, err)
			}
		}
		opened, err := row.AppendOpenRow(t.Context(), []byte("> "), back)
		require.NoError(t, err, name)
		want = []byte("> ")
		for i, f := range fields {
			want = append(want, f.Value...)
			require.Equal(t, f.Value, back[i].Value, "%s: %s", name, f.Column)
		}
		require.Equal(t, want, opened, name)
	}
}

// One column that fails leaves the whole row as it was, wherever it stands.
func TestARowThatFailsChangesNothing(t *testing.T) {
	e := newEnv(t, 4)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	bound, err := w.Row("r1")
	require.NoError(t, err)
	untouched := func(fields []encryption.Field) {
		t.Helper()
		for _, f := range fields {
			require.Equal(t, "old", string(f.Sealed), f.Column)
		}
	}
	old := func(bad encryption.Field) []encryption.Field {
		fields := append(wholeRow(), bad)
		for i := range fields {
			fields[i].Sealed = []byte("old")
		}
		return fields
	}
	for _, c := range []struct {
		w    *encryption.Writer
		bad  encryption.Field
		want error
	}{
		{bound, encryption.Field{Column: "nope", Value: []byte("x")}, encryption.ErrDefinition},
		{bound, encryption.Field{Column: "nope"}, encryption.ErrDefinition},
		{bound, encryption.Field{Column: "email", Value: make([]byte, 16<<20+1)}, encryption.ErrTooLarge},
		{w, encryption.Field{Column: "email"}, encryption.ErrDefinition}, // a column of LevelRow without the row
	} {
		fields := old(c.bad)
		_, err := c.w.AppendSealRow(nil, fields)
		require.ErrorIs(t, err, c.want, c.bad.Column)
		untouched(fields)
	}

	row, err := e.contacts.Row(t.Context(), tenant, "p1", "r1")
	require.NoError(t, err)
	for _, bad := range []encryption.Field{{Column: "nope"}, {Column: "email", Sealed: []byte{}}, {Column: "email", Sealed: bytes.Repeat([]byte{1}, 60)}} {
		fields := wholeRow()
		_, err = bound.AppendSealRow(nil, fields)
		require.NoError(t, err)
		for i := range fields {
			fields[i].Value = []byte("old")
		}
		bad.Value = []byte("old")
		fields = append(fields, bad)
		_, err = row.AppendOpenRow(t.Context(), nil, fields)
		require.Error(t, err)
		for _, f := range fields {
			require.Equal(t, "old", string(f.Value))
		}
	}
}

// A row is counted for each value that it seals, and none is sealed where less is
// left than it needs.
func TestARowIsCountedWhole(t *testing.T) {
	e := newEnv(t, 4)
	w, err := e.contacts.TenantWriter(t.Context(), tenant)
	require.NoError(t, err)
	w, err = w.Row("r1")
	require.NoError(t, err)
	sealed, err := w.Seal("email", []byte("x"))
	require.NoError(t, err)
	keyVersion, err := sealedvalue.KeyVersion(sealed)
	require.NoError(t, err)

	e.vault.UseUp(tenant, "t:", keyVersion, 3)
	fields := append(wholeRow(), encryption.Field{Column: "phone"}) // NULL is not sealed
	_, err = w.AppendSealRow(nil, fields)
	require.NoError(t, err)
	require.Zero(t, e.vault.SealsLeft(tenant, "t:", keyVersion))

	e.vault.UseUp(tenant, "t:", keyVersion, 2)
	fields = wholeRow()
	_, err = w.AppendSealRow(nil, fields)
	require.ErrorIs(t, err, encryption.ErrLease)
	require.Nil(t, fields[0].Sealed)
	require.Equal(t, int64(2), e.vault.SealsLeft(tenant, "t:", keyVersion), "what was not sealed is not used up")

	// What a process counts by itself.
	w, err = e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	w, err = w.Row("r1")
	require.NoError(t, err)
	e.vault.HasSealed(tenant, "p1", keyVersion, encryption.FreeSeals-3)
	_, err = w.AppendSealRow(nil, wholeRow())
	require.NoError(t, err)
	_, err = w.Seal("email", []byte("x"))
	require.ErrorIs(t, err, encryption.ErrLease)
}

// A Writer seals no row after its lease; a Reader looks for its owner again.
func TestARowObeysTheLease(t *testing.T) {
	e := newEnv(t, 4)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	w, err = w.Row("r1")
	require.NoError(t, err)
	fields := wholeRow()
	_, err = w.AppendSealRow(nil, fields)
	require.NoError(t, err)
	row, err := e.contacts.Row(t.Context(), tenant, "p1", "r1")
	require.NoError(t, err)
	_, err = row.AppendOpenRow(t.Context(), nil, fields)
	require.NoError(t, err)

	e.clock.Move(encryption.DefaultLease)
	_, err = w.AppendSealRow(nil, wholeRow())
	require.ErrorIs(t, err, encryption.ErrLease)
	_, err = row.AppendOpenRow(t.Context(), nil, fields)
	require.NoError(t, err)

	_, err = e.another(t).Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = row.AppendOpenRow(t.Context(), nil, fields)
	require.ErrorIs(t, err, encryption.ErrErased, "the erasure waited for the lease that the row had")
}

// toldOwners is a key store that tells when it has read owners.
type toldOwners struct {
	keystore.Store
	read func()
}

func (s toldOwners) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	rows, err := s.Store.Owners(ctx, tenant, owners)
	s.read()
	return rows, err
}

// Where a key of a row is fetched in the midst of it, which may take long, the
// lease is looked at again for the next column. Whenever the lease ends meanwhile
// and the person is erased, the row does not open.
func TestARowLooksAtTheLeaseAgainAfterAFetch(t *testing.T) {
	// looks opens the first n cells, of which the first one's key is fetched. At the
	// look at the clock of that number behind the fetch the person is erased.
	looks := func(n, at int) (int, error) {
		e := newEnv(t, 1)
		process := e.cfg
		looks, armed, fetched := 0, false, false
		process.Keys = toldOwners{e.store, func() { fetched = armed }}
		process.Now = func() time.Time {
			if fetched {
				if looks++; looks == at {
					_, err := e.vault.Erase(t.Context(), tenant, "p1") // which waits for the lease
					require.NoError(t, err)
				}
			}
			return e.clock.Now()
		}
		vault, err := encryption.Open(t.Context(), process)
		require.NoError(t, err)
		table := e.table(t, vault, contactsTable)
		newer, older := encryption.Field{Column: "email"}, encryption.Field{Column: "email"}
		w, err := e.contacts.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		older.Sealed, err = w.Seal("email", []byte("older"))
		require.NoError(t, err)
		row, err := table.Row(t.Context(), tenant, "p1", "r1") // it knows one key
		require.NoError(t, err)
		_, err = e.vault.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		w, err = e.contacts.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		newer.Sealed, err = w.Seal("email", []byte("newer"))
		require.NoError(t, err)

		armed = true
		_, err = row.AppendOpenRow(t.Context(), nil, []encryption.Field{newer, older}[:n])
		return looks, err
	}
	one, err := looks(1, 0)
	require.NoError(t, err)
	two, err := looks(2, 0)
	require.NoError(t, err)
	require.Equal(t, one+1, two)
	for at := 1; at <= two; at++ {
		_, err := looks(2, at)
		require.ErrorIs(t, err, encryption.ErrErased, "at look %d of %d", at, two)
	}
}

// A Writer that is handed out from memory is the one that the long way would have
// handed out: what was declared meanwhile is registered, what was taken away is
// missed.
func TestAWriterFromMemoryKnowsWhatHasChanged(t *testing.T) {
	e := newEnv(t, 4)
	_, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	e.table(t, e.vault, encryption.Table{Name: "notes", Columns: []encryption.Column{{Name: "text", Find: encryption.Exact}}})
	_, err = e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, rows.Indexes, 2, "of both tables")

	for name, change := range map[string]func() error{
		"address":  func() error { _, err := e.contacts.Writer(t.Context(), tenant, "ann@b.example"); return err },
		"reserved": func() error { _, err := e.contacts.Writer(t.Context(), tenant, "t:"); return err },
	} {
		require.ErrorIs(t, change(), encryption.ErrID, name)
	}
	first, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	second, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.NotEqual(t, sealsUnder(t, first), sealsUnder(t, second))

	_, err = e.contacts.Writer(t.Context(), tenant, "p2")
	require.NoError(t, err)
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p2", "p1"))
	_, err = e.vault.Erase(t.Context(), tenant, "p3")
	require.NoError(t, err)
	for range 2 { // read afresh, and from memory
		_, err = e.contacts.Writer(t.Context(), tenant, "p2")
		require.ErrorIs(t, err, encryption.ErrMerged)
		_, err = e.contacts.Writer(t.Context(), tenant, "p3")
		require.ErrorIs(t, err, encryption.ErrErased)
	}
}

func sealsUnder(t *testing.T, w *encryption.Writer) uint32 {
	t.Helper()
	sealed, err := w.Seal("email", []byte("x"))
	require.NoError(t, err)
	keyVersion, err := sealedvalue.KeyVersion(sealed)
	require.NoError(t, err)
	return keyVersion
}

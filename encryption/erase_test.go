package encryption_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// remains counts the wrapped bytes in all files of the key store.
func (e *env) remains(t *testing.T, wrapped [][]byte) int {
	t.Helper()
	files, err := filepath.Glob(e.keysPath + "*")
	require.NoError(t, err)
	n := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, w := range wrapped {
			n += bytes.Count(data, w[5:])
		}
	}
	return n
}

func TestErasedIsErasedForEver(t *testing.T) {
	for _, conns := range []int{1, 4} {
		e := newEnv(t, conns)
		e.insert(t, "c1", "p1")
		e.insert(t, "c2", "p2")
		_, err := e.vault.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		e.insert(t, "c3", "p1")
		wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.Len(t, wrapped, 2, "one key a key version")
		require.NotZero(t, e.remains(t, wrapped), "a search that cannot find proves nothing")

		start := e.clock.Now()
		receipt, err := e.vault.Erase(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.Equal(t, 1, receipt.Owners)
		require.Equal(t, 2, receipt.Keys)
		require.True(t, receipt.Scrubbed)
		require.Equal(t, receipt.At.Add(encryption.DefaultLease), receipt.Unreadable)
		require.False(t, e.clock.Now().Before(start.Add(encryption.DefaultLease)), "it returns after the lease")
		require.Zero(t, e.remains(t, wrapped), "the 65 bytes stand nowhere in the store's files")

		rows := e.read(t)
		err = encryption.OpenAll(t.Context(), e.contacts, tenant, rows)
		failed, ok := errors.AsType[*encryption.RowsError](err)
		require.True(t, ok)
		require.Len(t, failed.Rows, 2)
		require.ErrorIs(t, failed.Rows[0], encryption.ErrErased)
		require.ErrorIs(t, failed.Rows[2], encryption.ErrErased)
		require.Equal(t, "p2@b.example", rows[1].Email, "the others are open")
		require.Empty(t, rows[0].Email)

		// Nobody resurrects the person: not this vault, not another one, not
		// a person sealer, not a new key version, not an insert by hand.
		for _, vault := range []*encryption.Vault{e.vault, e.another(t)} {
			_, err = e.table(t, vault, contactsTable).Writer(t.Context(), tenant, "p1")
			require.ErrorIs(t, err, encryption.ErrErased)
			require.ErrorIs(t, vault.Ensure(t.Context(), tenant, "p3", "p1"), encryption.ErrErased)
			_, err = vault.PersonSealer("opening").Seal(t.Context(), tenant, "p1", nil, nil)
			require.ErrorIs(t, err, encryption.ErrErased)
		}
		_, err = e.vault.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		_, err = e.contacts.Writer(t.Context(), tenant, "p1")
		require.ErrorIs(t, err, encryption.ErrErased)
		require.NoError(t, putBack(t, e, wrapped[0]))
		r, err := e.table(t, e.another(t), contactsTable).Reader(t.Context(), tenant, "p1")
		require.NoError(t, err)
		_, err = r.Row("p1", "").Open(t.Context(), "email", rows[0].email.Bytes())
		require.ErrorIs(t, err, encryption.ErrErased, "no key opens under a tombstone")

		again, err := e.vault.Erase(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.Equal(t, 1, again.Owners)
		require.Equal(t, 1, again.Keys, "what was put back by hand")
		require.Greater(t, again.Sequence, receipt.Sequence, "others may have opened it meanwhile")
		require.Equal(t, e.clock.Now(), again.Unreadable)
		e.clock.Move(encryption.DefaultLease)
		before := e.clock.Now()
		require.NoError(t, e.vault.Eraser()(t.Context(), tenant, "p1"))
		require.Less(t, e.clock.Now().Sub(before), encryption.DefaultLease, "an old tombstone is not waited for")

		_, err = e.vault.Erase(t.Context(), tenant, "never seen")
		require.NoError(t, err)
		_, err = e.contacts.Writer(t.Context(), tenant, "never seen")
		require.ErrorIs(t, err, encryption.ErrErased)
	}
}

// putBack inserts a wrapped key by hand under the first key version.
func putBack(t *testing.T, e *env, wrapped []byte) error {
	t.Helper()
	keyVersions, err := e.vault.KeyVersions(t.Context(), tenant)
	require.NoError(t, err)
	_, err = e.keysDB.ExecContext(t.Context(), `INSERT INTO crmguard_encryption_key (tenant, owner, generation, wrapped) VALUES (?, 'p1', ?, ?)`, tenant, int64(keyVersions[0].KeyVersion), wrapped)
	return err
}

// A second process with warm caches stops within the lease, and no later than
// the erasing one returns.
func TestOtherProcessesStopWithinTheLease(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	b := e.another(t)
	contacts := e.table(t, b, contactsTable)
	require.NoError(t, b.Ensure(t.Context(), tenant, "p1"))
	r, err := contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	w, err := contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	sealer := b.PersonSealer("opening")
	require.NoError(t, sealer.Ensure(t.Context(), tenant, "p1"))
	cell := e.read(t)[0].email.Bytes()
	opening, err := sealer.Seal(t.Context(), tenant, "p1", []byte("x"), nil)
	require.NoError(t, err)

	cfg := e.cfg
	cfg.Wait = func(_ context.Context, d time.Duration) error {
		if d == encryption.DefaultLease { // just after the tombstone, in the other process
			_, err := r.Row("p1", "").Open(t.Context(), "email", cell)
			require.NoError(t, err, "the lease runs")
			_, err = w.Seal("email", nil)
			require.NoError(t, err, "the lease runs")
		}
		e.clock.Move(d)
		return nil
	}
	a, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	_, err = a.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)

	_, err = r.Row("p1", "").Open(t.Context(), "email", cell)
	require.ErrorIs(t, err, encryption.ErrErased)
	_, err = w.Seal("email", nil)
	require.ErrorIs(t, err, encryption.ErrLease)
	_, err = contacts.Writer(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrErased)
	_, err = sealer.Seal(t.Context(), tenant, "p1", nil, nil)
	require.ErrorIs(t, err, encryption.ErrErased)
	_, err = sealer.Open(t.Context(), tenant, "p1", opening, nil)
	require.ErrorIs(t, err, encryption.ErrErased)
}

func TestErasingFollowsAliases(t *testing.T) {
	e := newEnv(t, 1)
	for _, p := range []string{"p12", "p17", "p18"} {
		e.insert(t, "c"+p, p)
	}
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p18", "p17"))
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p17", "p12"))
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p17", "p12"), "idempotent")
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p18", "p17"), "idempotent in a chain")
	require.ErrorIs(t, e.vault.AddAlias(t.Context(), tenant, "p12", "p18"), encryption.ErrMerged, "a circle")
	require.ErrorIs(t, e.vault.AddAlias(t.Context(), tenant, "p17", "p18"), encryption.ErrMerged)
	require.ErrorIs(t, e.vault.AddAlias(t.Context(), tenant, "p1", "p1"), encryption.ErrID)
	_, err := e.contacts.Writer(t.Context(), tenant, "p17")
	require.ErrorIs(t, err, encryption.ErrMerged)
	e.requireOpens(t, e.contacts) // old rows stay readable: old snapshots need it
	wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p12")
	require.NoError(t, err)
	require.Len(t, wrapped, 3)

	receipt, err := e.vault.Erase(t.Context(), tenant, "p12")
	require.NoError(t, err)
	require.Equal(t, 3, receipt.Owners)
	require.Equal(t, 3, receipt.Keys)
	require.Zero(t, e.remains(t, wrapped))
	require.ErrorIs(t, encryption.OpenAll(t.Context(), e.contacts, tenant, e.read(t)), encryption.ErrErased)
	require.ErrorIs(t, e.vault.AddAlias(t.Context(), tenant, "p3", "p12"), encryption.ErrErased)
}

// Merged ids are one person: after a merge the data stands under the id that
// stayed, and a request may come under any of them.
func TestErasingOneIDOfAMergeErasesAll(t *testing.T) {
	all := []string{"p12", "p17", "p18", "p19"}
	for _, conns := range []int{1, 4} {
		for _, named := range all {
			e := newEnv(t, conns)
			for _, p := range append(all, "p20") {
				e.insert(t, "c"+p, p)
			}
			for _, merge := range [][2]string{{"p18", "p17"}, {"p19", "p12"}, {"p17", "p12"}} {
				require.NoError(t, e.vault.AddAlias(t.Context(), tenant, merge[0], merge[1]))
			}
			for _, p := range all {
				others, err := e.vault.Aliases(t.Context(), tenant, p)
				require.NoError(t, err)
				require.Equal(t, slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == p }), others)
			}
			wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, named)
			require.NoError(t, err)
			require.Len(t, wrapped, 4, "what to search for is what is erased")

			receipt, err := e.vault.Erase(t.Context(), tenant, named)
			require.NoError(t, err)
			require.Equal(t, 4, receipt.Owners)
			require.Equal(t, 4, receipt.Keys)
			require.Zero(t, e.remains(t, wrapped))
			rows := e.read(t)
			failed, ok := errors.AsType[*encryption.RowsError](encryption.OpenAll(t.Context(), e.contacts, tenant, rows))
			require.True(t, ok)
			require.Len(t, failed.Rows, 4)
			require.Equal(t, "p20@b.example", rows[4].Email, "nobody else")

			for _, p := range all { // in any order, and again
				again, err := e.vault.Erase(t.Context(), tenant, p)
				require.NoError(t, err)
				require.Equal(t, 4, again.Owners)
				require.Zero(t, again.Keys)
				require.Equal(t, receipt.Sequence, again.Sequence)
			}
			others, err := e.vault.Aliases(t.Context(), tenant, "p12")
			require.NoError(t, err)
			require.Len(t, others, 3, "the list stays, for what else is cleared by it")
		}
	}
}

func TestAliases(t *testing.T) {
	e := newEnv(t, 1)
	for _, p := range []string{"never seen", "p1"} {
		others, err := e.vault.Aliases(t.Context(), tenant, p)
		require.NoError(t, err)
		require.Empty(t, others)
	}
	_, err := e.vault.Aliases(t.Context(), "", "p1")
	require.ErrorIs(t, err, encryption.ErrTenant)
	_, err = e.vault.Aliases(t.Context(), "nobody", "p1")
	require.ErrorIs(t, err, encryption.ErrTenant)
	_, err = e.vault.Aliases(t.Context(), tenant, "r:x")
	require.ErrorIs(t, err, encryption.ErrID)

	// A circle, which AddAlias refuses, ends the search and not the process.
	for _, merge := range [][2]string{{"a", "b"}, {"b", "c"}, {"c", "a"}} {
		_, err = e.keysDB.ExecContext(t.Context(), `INSERT INTO crmguard_encryption_owner (tenant, owner, state, sequence) VALUES (?, ?, 'live', 1)`, tenant, merge[0])
		require.NoError(t, err)
		_, err = e.keysDB.ExecContext(t.Context(), `INSERT INTO crmguard_encryption_alias (tenant, alias, owner) VALUES (?, ?, ?)`, tenant, merge[0], merge[1])
		require.NoError(t, err)
	}
	others, err := e.vault.Aliases(t.Context(), tenant, "a")
	require.NoError(t, err)
	require.Equal(t, []string{"b", "c"}, others)
	receipt, err := e.vault.Erase(t.Context(), tenant, "b")
	require.NoError(t, err)
	require.Equal(t, 3, receipt.Owners)
}

// The promise of crypto-shredding: with the KEK, all keysets and an old data
// snapshot in hand, but without the person's wrapped key, nothing of the
// person opens; with it put back, everything does.
func TestOnlyTheWrappedKeyBringsAPersonBack(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	snapshot := e.read(t)
	wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)

	_, err = e.keysDB.ExecContext(t.Context(), `DELETE FROM crmguard_encryption_key WHERE owner = 'p1'`)
	require.NoError(t, err)
	err = encryption.OpenAll(t.Context(), e.table(t, e.another(t), contactsTable), tenant, snapshot)
	failed, ok := errors.AsType[*encryption.RowsError](err)
	require.True(t, ok)
	require.Len(t, failed.Rows, 1)
	require.ErrorIs(t, failed.Rows[0], encryption.ErrNoKey)
	require.Empty(t, snapshot[0].Email+snapshot[0].Note+snapshot[0].Phone)

	require.NoError(t, putBack(t, e, wrapped[0]))
	e.requireOpens(t, e.table(t, e.another(t), contactsTable))
}

// A wrapped key moved to another owner, tenant or key version opens nothing.
func TestWrappedKeysAreBound(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	_, err := e.keysDB.ExecContext(t.Context(), `UPDATE crmguard_encryption_key SET wrapped = (SELECT wrapped FROM crmguard_encryption_key WHERE owner = 'p2') WHERE owner = 'p1'`)
	require.NoError(t, err)
	r, err := e.table(t, e.another(t), contactsTable).Reader(t.Context(), tenant, "p1", "p2")
	require.NoError(t, err)
	rows := e.read(t)
	_, err = r.Row("p1", "").Open(t.Context(), "email", rows[0].email.Bytes())
	require.ErrorIs(t, err, encryption.ErrOpen)
	_, err = r.Row("p2", "").Open(t.Context(), "email", rows[1].email.Bytes())
	require.NoError(t, err)
	_, err = e.table(t, e.another(t), contactsTable).Writer(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrOpen, "a damaged key is not replaced by a new one")
}

func TestClearRowsTakesIndexValuesAway(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	require.NoError(t, e.contacts.ClearRows(e.db)(t.Context(), tenant, "p1"))
	var left int
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT COUNT(email_idx) + COUNT(email) + COUNT(note) + COUNT(phone) FROM contacts WHERE person = 'p1'`).Scan(&left))
	require.Zero(t, left)
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT COUNT(email_idx) + COUNT(email) FROM contacts WHERE person = 'p2'`).Scan(&left))
	require.Equal(t, 2, left)
}

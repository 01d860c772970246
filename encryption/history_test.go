package encryption_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

// restorable is a key store behind which another one can be put.
type restorable struct{ keystore.Store }

// keep writes the key store as it is into a file of its own and returns the
// store that stands in it, as a backup of the server would bring it back.
func (e *env) keep(t *testing.T) keystore.Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kept.db")
	_, err := e.keysDB.ExecContext(t.Context(), `VACUUM INTO ?`, path)
	require.NoError(t, err)
	kept, err := sqlkeys.Open(t.Context(), openDB(t, path, 1))
	require.NoError(t, err)
	return kept
}

// restorable opens a vault whose store can be put back under it.
func (e *env) restorable(t *testing.T) (*restorable, *encryption.Vault, *encryption.SealedTable) {
	t.Helper()
	store := &restorable{e.store}
	cfg := e.cfg
	cfg.Keys = store
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	return store, vault, e.table(t, vault, contactsTable)
}

func (e *env) over(t *testing.T, store keystore.Store) *encryption.Vault {
	t.Helper()
	cfg := e.cfg
	cfg.Keys = store
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	return vault
}

func sequenceOf(t *testing.T, store keystore.Store) int64 {
	t.Helper()
	state, err := store.State(t.Context())
	require.NoError(t, err)
	return state.Sequence
}

// A store that was put back and counts up again reaches the number of a
// position whose keys it lost. The number says nothing then.
func TestAPositionOfALostHistoryIsNotCovered(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	kept := e.keep(t)
	e.insert(t, "c2", "p2")
	position, err := e.vault.Position(t.Context())
	require.NoError(t, err)
	want := sequenceOf(t, e.store)

	vault := e.over(t, kept)
	for sequenceOf(t, kept) <= want {
		_, err := vault.Position(t.Context())
		require.NoError(t, err)
	}
	dir := t.TempDir()
	written, err := vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	require.Greater(t, written.Sequence, want)
	require.ErrorIs(t, written.Covers(position), encryption.ErrNotCovered)
	require.ErrorContains(t, written.Covers(position), "put back")
	require.ErrorIs(t, vault.KeyCopy(dir)(t.Context(), position), encryption.ErrNotCovered)
	own, err := vault.Position(t.Context())
	require.NoError(t, err)
	require.NoError(t, vault.KeyCopy(dir)(t.Context(), own))
}

// An open vault notices a store that was put back and used on, although its
// number is the same or higher, and changes nothing in it.
func TestAStoreThatWentOnAfterBeingPutBackIsNoticed(t *testing.T) {
	for ahead := range int64(3) {
		e := newEnv(t, 1)
		e.insert(t, "c1", "p1")
		store, vault, contacts := e.restorable(t)
		kept := e.keep(t)
		_, err := vault.NewKeyVersion(t.Context(), tenant) // what is lost
		require.NoError(t, err)
		other := e.over(t, kept)
		for sequenceOf(t, kept) < sequenceOf(t, e.store)+ahead {
			_, err := other.Position(t.Context())
			require.NoError(t, err)
		}
		store.Store = kept
		f := found(t, vault, "encryption.store.rewound", "")
		require.Equal(t, encryption.HealthAlarm, f.Level, "%d ahead", ahead)
		before := sequenceOf(t, kept)
		for name, change := range map[string]func() error{
			"erase":      func() error { _, err := vault.Erase(t.Context(), tenant, "p2"); return err },
			"position":   func() error { _, err := vault.Position(t.Context()); return err },
			"generation": func() error { _, err := vault.NewKeyVersion(t.Context(), tenant); return err },
			"creation":   func() error { return vault.Ensure(t.Context(), tenant, "p3") },
			"copy":       func() error { _, err := vault.WriteCopy(t.Context(), t.TempDir()); return err },
		} {
			require.ErrorIs(t, change(), encryption.ErrRewound, "%s, %d ahead", name, ahead)
		}
		require.Equal(t, before, sequenceOf(t, kept))
		rows, err := kept.Owners(t.Context(), tenant, []string{"p2", "p3"})
		require.NoError(t, err)
		require.Empty(t, rows.Owners)
		e.clock.Move(encryption.DefaultLease)
		_, err = contacts.Reader(t.Context(), tenant, "p1")
		require.ErrorIs(t, err, encryption.ErrRewound)
	}
}

// The creation of a key does not raise the sequence: what a standby lost of it
// shows only by the key that is gone, and a vault must not seal under it.
func TestALostCreationIsNoticed(t *testing.T) {
	e := newEnv(t, 1)
	store, vault, contacts := e.restorable(t)
	_, err := contacts.Writer(t.Context(), tenant, "p0")
	require.NoError(t, err)
	kept := e.keep(t)
	_, err = contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Equal(t, sequenceOf(t, e.store), sequenceOf(t, kept))
	store.Store = kept
	require.Equal(t, encryption.HealthAlarm, found(t, vault, "encryption.store.rewound", "").Level)
	e.clock.Move(encryption.DefaultLease)
	_, err = contacts.Writer(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrRewound)
	require.Equal(t, encryption.HealthAlarm, found(t, vault, "encryption.store.rewound", "").Level, "still so")

	// Somebody else's key of the same person is not the one that was lost.
	require.NoError(t, e.over(t, kept).Ensure(t.Context(), tenant, "p1"))
	_, err = contacts.Writer(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrRewound)
}

// What takes a key away or wraps it anew is no loss.
func TestWhatHappensToAKeyIsNoLoss(t *testing.T) {
	for name, act := range map[string]func(e *env) error{
		"erased": func(e *env) error { _, err := e.vault.Erase(context.Background(), tenant, "p1"); return err },
		"rotated and destroyed": func(e *env) error {
			rows, err := e.store.Tenant(context.Background(), tenant)
			if err != nil {
				return err
			}
			if _, err := e.vault.NewKeyVersion(context.Background(), tenant); err != nil {
				return err
			}
			none := func(context.Context, string, uint32) (int, string, error) { return 0, "", nil }
			return e.vault.DestroyKeyVersion(context.Background(), tenant, rows.KeyVersions[0].KeyVersion, none)
		},
		"wrapped anew": func(e *env) error {
			_, err := e.vault.RewrapKeys(context.Background(), keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return nil }})
			return err
		},
		"merged": func(e *env) error { return e.vault.AddAlias(context.Background(), tenant, "p1", "p2") },
	} {
		e := newEnv(t, 1)
		_, _, contacts := e.restorable(t)
		_, err := contacts.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.NoError(t, act(e), name)
		e.clock.Move(encryption.DefaultLease)
		_, err = contacts.Writer(t.Context(), tenant, "p9")
		require.NoError(t, err, name)
	}
}

// The history does not grow for ever, a year of hourly positions stays, and a
// copy says of those that went that it does not know them.
func TestTheHistoryKeepsTheNewestPositions(t *testing.T) {
	e := newEnv(t, 1)
	const first, positions, others = 100, 25_000, 3_000
	mark := func(sequence int) string { return fmt.Sprintf("AAAAAAAAAAAAAAA%06dA", sequence) }
	var rows keystore.Rows
	for i := range positions + others {
		rows.Marks = append(rows.Marks, keystore.MarkRow{Sequence: int64(first + i), Mark: mark(first + i), Created: e.clock.Now(), Position: i < positions})
	}
	state, err := e.store.State(t.Context())
	require.NoError(t, err)
	_, err = e.store.Update(t.Context(), func(tx keystore.Tx) error {
		if err := tx.Write(t.Context(), keystore.Change{Put: rows}); err != nil {
			return err
		}
		state.Sequence = first + positions + others - 1
		return tx.Write(t.Context(), keystore.Change{Store: &state})
	})
	require.NoError(t, err)

	vault := e.another(t)
	written, err := vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	data, err := os.ReadFile(written.Path)
	require.NoError(t, err)
	require.Equal(t, 20_001, bytes.Count(data, []byte(`"position":true`)), "and the copy's own")
	require.LessOrEqual(t, bytes.Count(data, []byte(`"kind":"mark"`)), 21_010)
	at := func(sequence int) []byte {
		return fmt.Appendf(nil, `{"epoch":1,"mark":"%s","sequence":%d,"store":"%s"}`, mark(sequence), sequence, written.Store)
	}
	require.NoError(t, written.Covers(at(first+positions-1)))
	require.NoError(t, written.Covers(at(first+positions-8_760)), "a year ago, one an hour")
	require.NoError(t, written.Covers(at(first+positions-20_000)), "the oldest")
	require.ErrorIs(t, written.Covers(at(first+positions-20_001)), encryption.ErrNotCovered)
	require.ErrorContains(t, written.Covers(at(first+positions-20_001)), "any more")
	var kept int
	require.NoError(t, e.keysDB.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM crmguard_encryption_mark`).Scan(&kept))
	require.LessOrEqual(t, kept, 21_010)
}

// Who takes positions and never a copy does not fill the table either.
func TestPositionsAlonePruneToo(t *testing.T) {
	e := newEnv(t, 1)
	_, err := e.store.Update(t.Context(), func(tx keystore.Tx) error {
		state, err := tx.State(t.Context())
		if err != nil {
			return err
		}
		state.Sequence = 1999
		rows := keystore.Rows{Marks: []keystore.MarkRow{{Sequence: 1999, Mark: "AAAAAAAAAAAAAAAAAAAAAA", Created: e.clock.Now()}}}
		for i := range 1500 {
			rows.Marks = append(rows.Marks, keystore.MarkRow{Sequence: int64(100 + i), Mark: "BBBBBBBBBBBBBBBBBBBBBA", Created: e.clock.Now()})
		}
		if err := tx.Write(t.Context(), keystore.Change{Put: rows}); err != nil {
			return err
		}
		return tx.Write(t.Context(), keystore.Change{Store: &state})
	})
	require.NoError(t, err)
	_, err = e.another(t).Position(t.Context()) // of sequence 2000
	require.NoError(t, err)
	var kept int
	require.NoError(t, e.keysDB.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM crmguard_encryption_mark`).Scan(&kept))
	require.LessOrEqual(t, kept, 1_010)
}

// A vault that was idle for longer than the history reaches goes on as one that
// was opened afresh; one whose mark is missing too early does not.
func TestAVaultThatWasLongAway(t *testing.T) {
	for sequence, want := range map[int]error{900: encryption.ErrRewound, 5000: nil} {
		e := newEnv(t, 1)
		_, err := e.keysDB.ExecContext(t.Context(), `DELETE FROM crmguard_encryption_mark`)
		require.NoError(t, err)
		_, err = e.keysDB.ExecContext(t.Context(), `UPDATE crmguard_encryption_store SET sequence = ?, mark = 'AAAAAAAAAAAAAAAAAAAAAA'`, sequence)
		require.NoError(t, err)
		_, err = e.keysDB.ExecContext(t.Context(), `INSERT INTO crmguard_encryption_mark (sequence, mark, created, position, narrows) VALUES (?, 'AAAAAAAAAAAAAAAAAAAAAA', 0, 0, '')`, sequence)
		require.NoError(t, err)
		e.clock.Move(encryption.DefaultLease)
		_, err = e.contacts.Writer(t.Context(), tenant, "p1")
		require.ErrorIs(t, err, want)
	}
}

// Head changes nothing and still names what a copy covers.
func TestHeadWritesNothing(t *testing.T) {
	e := newEnv(t, 1)
	before := sequenceOf(t, e.store)
	one, err := e.vault.Head(t.Context())
	require.NoError(t, err)
	two, err := e.vault.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, one, two)
	require.Equal(t, before, sequenceOf(t, e.store))
	written, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	require.NoError(t, written.Covers(one))
}

// After a key store was put back and opened afresh, the copy in the folder may be
// all that is left of the keys that it lost: no new copy takes its place,
// whatever the numbers say, and none that lacks keys passes for one that has them.
func TestTheCopyOfALostHistoryStays(t *testing.T) {
	for _, ahead := range []int64{-1, 0, 1, 3} {
		e := newEnv(t, 1)
		e.insert(t, "c1", "p1")
		dir := t.TempDir()
		_, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		kept := e.keep(t)
		_, err = e.vault.NewKeyVersion(t.Context(), tenant) // what is lost
		require.NoError(t, err)
		lost, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		bytes, err := os.ReadFile(lost.Path)
		require.NoError(t, err)

		vault := e.over(t, kept)
		require.NoError(t, vault.Ensure(t.Context(), tenant, "p2"))
		for sequenceOf(t, kept)+1 < lost.Sequence+ahead {
			_, err := vault.Position(t.Context())
			require.NoError(t, err)
		}
		for range 2 {
			_, err = vault.WriteCopy(t.Context(), dir)
			require.ErrorIs(t, err, encryption.ErrRewound, "%d ahead", ahead)
			require.Error(t, vault.Copier(dir)(t.Context()))
		}
		now, err := os.ReadFile(lost.Path)
		require.NoError(t, err)
		require.Equal(t, bytes, now)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1)

		// Damaged, it is no copy, and keeps nobody from writing one.
		require.NoError(t, os.WriteFile(lost.Path, bytes[:len(bytes)-1], 0o600))
		_, err = vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		_, err = vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err, "over its own")
	}
}

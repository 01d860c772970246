package encryption_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// spoil changes the tables of the key store behind everyone's back.
func (e *env) spoil(t *testing.T, query string, args ...any) {
	t.Helper()
	res, err := e.keysDB.ExecContext(t.Context(), query, args...)
	require.NoError(t, err)
	n, err := res.RowsAffected()
	require.NoError(t, err)
	require.NotZero(t, n, "nothing was damaged")
}

func damagedRows(t *testing.T, err error) *keycopy.DamagedError {
	t.Helper()
	require.ErrorIs(t, err, encryption.ErrDamaged)
	damaged, ok := errors.AsType[*keycopy.DamagedError](err)
	require.True(t, ok)
	return damaged
}

// rowsOf reads the rows of a copy, but for the history, which grows with each.
func rowsOf(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var out []string
	for line := range strings.SplitSeq(middle(data), "\n") {
		if !strings.Contains(line, `"kind":"mark"`) {
			out = append(out, line)
		}
	}
	return out
}

const spoilKey = `UPDATE crmguard_encryption_key SET wrapped = ? WHERE owner = 'p2'`

// One damaged key row stops nothing but the values under it: the others are
// copied, the whole copy stays the newest, and the row comes back from it.
func TestOneDamagedKeyRowStopsNothingElse(t *testing.T) {
	flip := func(i int) func([]byte) []byte {
		return func(b []byte) []byte { b[i] ^= 1; return b }
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"its mark": flip(0), "the id of its wrap key": flip(4), "its nonce": flip(5), "the key": flip(20), "its tag": flip(64),
		"cut": func(b []byte) []byte { return b[:64] }, "longer": func(b []byte) []byte { return append(b, 0) }, "empty": func([]byte) []byte { return []byte{} },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			for i := range 3 {
				e.insert(t, fmt.Sprint("c", i+1), fmt.Sprint("p", i+1))
			}
			dir := t.TempDir()
			whole, err := e.vault.WriteCopy(t.Context(), dir)
			require.NoError(t, err)
			require.Equal(t, encryption.HealthOK, found(t, e.vault, "encryption.store.damaged", "").Level)
			want := rowsOf(t, whole.Path)
			rows, err := e.store.Owners(t.Context(), tenant, []string{"p2"})
			require.NoError(t, err)
			e.spoil(t, spoilKey, spoil(rows.Keys[0].Wrapped))
			e.insert(t, "c4", "p4")

			_, err = e.vault.WriteCopy(t.Context(), dir)
			require.ErrorIs(t, err, encryption.ErrCopy)
			damaged := damagedRows(t, err)
			require.Equal(t, 1, damaged.Count)
			require.Equal(t, tenant, damaged.Rows[0].Tenant)
			require.Equal(t, keystore.KindKey, damaged.Rows[0].Kind)
			require.Equal(t, "p2", damaged.Rows[0].Owner, "for programs")
			require.Equal(t, 2, damaged.Rows[0].Row)
			require.Contains(t, err.Error(), `key 2 of tenant "t1"`)
			var log strings.Builder
			slog.New(slog.NewJSONHandler(&log, nil)).Error("copy", "row", damaged.Rows[0])
			asJSON, jsonErr := json.Marshal(damaged.Rows)
			require.NoError(t, jsonErr)
			shown := strings.ReplaceAll(fmt.Sprintf("%v %+v %s %s", err, damaged.Rows, log.String(), asJSON), damaged.Rows[0].Digest, "") // 43 random letters
			require.NotContains(t, shown, "p2", "and for nobody to read")
			require.Equal(t, encryption.HealthAlarm, found(t, e.vault, "encryption.store.damaged", "").Level)
			require.EqualValues(t, 1, found(t, e.vault, "encryption.store.damaged", "").Value)
			require.Equal(t, encryption.HealthAlarm, found(t, e.vault, "encryption.copy.age", "").Level)

			// The copy with a hole is one for emergencies only.
			path, err := keycopy.Newest(dir)
			require.NoError(t, err)
			require.Equal(t, whole.Path, path)
			holes, err := e.vault.VerifyCopy(t.Context(), damaged.Copy)
			require.NoError(t, err)
			require.Equal(t, 1, holes.Holes)
			require.Greater(t, holes.Sequence, whole.Sequence)
			position, err := holes.Position()
			require.NoError(t, err)
			require.ErrorIs(t, holes.Covers(position), encryption.ErrNotCovered)
			data, err := os.ReadFile(damaged.Copy)
			require.NoError(t, err)
			require.ErrorIs(t, e.vault.KeyCopy(dir)(t.Context(), position), encryption.ErrDamaged)
			before, err := whole.Position()
			require.NoError(t, err)
			require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), before), "a snapshot from before is covered as ever")
			require.Len(t, names(t, dir), 2, "the newest with holes, and the whole one")
			renamed := filepath.Join(t.TempDir(), strings.TrimPrefix(filepath.Base(damaged.Copy), "damaged-"))
			require.NoError(t, os.WriteFile(renamed, data, 0o600))
			_, err = e.vault.VerifyCopy(t.Context(), renamed)
			require.ErrorIs(t, err, encryption.ErrCopy, "under the name of a whole one it is none")
			cfg := e.cfg
			cfg.Keys = encryptiontest.Keys()
			emergency := filepath.Join(t.TempDir(), "kept.jsonl")
			require.NoError(t, os.WriteFile(emergency, data, 0o600))
			restored, err := encryption.RestoreCopy(t.Context(), cfg, emergency)
			require.NoError(t, err)
			r, err := e.table(t, restored, contactsTable).Reader(t.Context(), tenant, "p4")
			require.NoError(t, err)
			text, err := r.Row("p4", "c4").Text(t.Context(), "email", e.read(t)[3].email.Bytes())
			require.NoError(t, err)
			require.Equal(t, "p4@b.example", text, "it has what was created since")

			report, err := e.vault.RepairFromCopy(t.Context(), whole.Path)
			require.NoError(t, err)
			require.Equal(t, keycopy.RepairReport{Keys: 1, Fenced: 1}, report)
			e.requireOpens(t, e.contacts)
			e.requireOpens(t, e.table(t, e.another(t), contactsTable))
			healed, err := e.vault.WriteCopy(t.Context(), dir)
			require.NoError(t, err)
			require.Equal(t, []string{filepath.Base(healed.Path)}, names(t, dir))
			require.Subset(t, unfenced(rowsOf(t, healed.Path)), unfenced(want), "byte by byte, but for the search, which is to be shown whole first")
			require.Equal(t, encryption.HealthOK, found(t, e.vault, "encryption.store.damaged", "").Level)
		})
	}
}

// A damaged row of whatever kind is named, costs no other tenant anything, and
// comes back as it was.
func TestADamagedRowOfAnyKindCostsNoOtherTenantAnything(t *testing.T) {
	const one = ` WHERE tenant = 't2'`
	for name, c := range map[string]struct {
		kind   keystore.Kind
		spoil  string
		nobody bool // nothing of the tenant itself is out of reach before the repair either
	}{
		"a keyset":                    {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET wrapped = CAST(substr(wrapped, 1, 100) || x'00' || substr(wrapped, 102) AS BLOB)` + one + ` AND purpose = 'wrap'`, false},
		"another keyset":              {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET wrapped = x'00'` + one + ` AND purpose = 'index'`, true},
		"the name of a KEK":           {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET kek = 'kek-q'` + one + ` AND purpose = 'wrap'`, false},
		"a branch key":                {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET wrapped = x'00'` + one + ` AND purpose = 'branch'`, false},
		"one bit of a branch key":     {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET wrapped = CAST(substr(wrapped, 1, 60) || x'00' || substr(wrapped, 62) AS BLOB)` + one + ` AND purpose = 'branch'`, false},
		"its KEK":                     {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET kek = 'kek-q'` + one + ` AND purpose = 'branch'`, false},
		"no KEK":                      {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET kek = ''` + one + ` AND purpose = 'branch'`, false},
		"a branch key that is gone":   {keystore.KindKeyset, `DELETE FROM crmguard_encryption_keyset` + one + ` AND purpose = 'branch'`, false},
		"a branch key of no purpose":  {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET purpose = 'brancj'` + one + ` AND purpose = 'branch'`, false},
		"the version of a branch key": {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET version = 0` + one + ` AND purpose = 'branch'`, true},
		"the branch key of another":   {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET wrapped = (SELECT wrapped FROM crmguard_encryption_keyset WHERE tenant = 't1' AND purpose = 'branch')` + one + ` AND purpose = 'branch'`, false},
		"a keyset that is gone":       {keystore.KindKeyset, `DELETE FROM crmguard_encryption_keyset` + one + ` AND purpose = 'seal'`, true},
		"the version of a keyset":     {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET version = 0` + one + ` AND purpose = 'wrap'`, true},
		"the purpose of a keyset":     {keystore.KindKeyset, `UPDATE crmguard_encryption_keyset SET purpose = 'sfal'` + one + ` AND purpose = 'seal'`, true},
		"the state of a key version":  {keystore.KindKeyVersion, `UPDATE crmguard_encryption_generation SET state = 'actjve'` + one + ` AND state = 'active'`, true},
		"a key version put back":      {keystore.KindKeyVersion, `UPDATE crmguard_encryption_generation SET state = 'active'` + one + ` AND state = 'retired'`, true},
		"a key version that is gone":  {keystore.KindKeyVersion, `DELETE FROM crmguard_encryption_generation` + one + ` AND state = 'retired'`, true},
		"the state of an owner":       {keystore.KindOwner, `UPDATE crmguard_encryption_owner SET state = 'ljve'` + one + ` AND owner = 'q1'`, true},
		"an owner that is gone":       {keystore.KindOwner, `DELETE FROM crmguard_encryption_owner` + one + ` AND owner = 'q1'`, false},
		"a key that is gone":          {keystore.KindKey, `DELETE FROM crmguard_encryption_key` + one + ` AND owner = 'q1'`, false},
		"a key that is another's":     {keystore.KindKey, `UPDATE crmguard_encryption_key SET wrapped = (SELECT wrapped FROM crmguard_encryption_key WHERE owner = 'p1')` + one + ` AND owner = 'q1'`, false},
		"the other end of a merge":    {keystore.KindAlias, `UPDATE crmguard_encryption_alias SET owner = 'r1'` + one, true},
		"the state of an index":       {keystore.KindIndex, `UPDATE crmguard_encryption_index SET state = 'ljve'` + one, true},
		"an index of another version": {keystore.KindIndex, `UPDATE crmguard_encryption_index SET state = ''` + one, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			e.kms.gone["kek-q"] = true
			e.insert(t, "c1", "p1")
			require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
			_, err := e.contacts.Writer(t.Context(), "t2", "q1")
			require.NoError(t, err)
			_, err = e.vault.NewKeyVersion(t.Context(), "t2")
			require.NoError(t, err)
			require.NoError(t, e.vault.Ensure(t.Context(), "t2", "q1", "q2"))
			require.NoError(t, e.vault.AddAlias(t.Context(), "t2", "q2", "q3"))
			w, err := e.contacts.Writer(t.Context(), "t2", "q1")
			require.NoError(t, err)
			sealed, err := w.Seal("email", []byte("q1@b.example"))
			require.NoError(t, err)
			opens := func() error {
				r, err := e.table(t, e.another(t), contactsTable).Reader(t.Context(), "t2", "q1")
				if err != nil {
					return err
				}
				_, err = r.Row("q1", "").Text(t.Context(), "email", sealed)
				return err
			}
			require.NoError(t, opens())
			dir := t.TempDir()
			whole, err := e.vault.WriteCopy(t.Context(), dir)
			require.NoError(t, err)
			want := rowsOf(t, whole.Path)

			e.spoil(t, c.spoil)
			if c.nobody {
				require.NoError(t, opens())
			} else {
				require.Error(t, opens())
			}
			other := e.another(t)
			contacts := e.table(t, other, contactsTable)
			e.contacts = contacts
			e.insert(t, "c2", "p2")
			e.requireOpens(t, contacts)
			_, err = other.WriteCopy(t.Context(), dir)
			damaged := damagedRows(t, err)
			named := false
			for _, row := range damaged.Rows {
				require.Equal(t, "t2", row.Tenant, "%v", row)
				named = named || row.Kind == c.kind
			}
			require.True(t, named, "%v", err)
			require.NotContains(t, err.Error(), "q1")
			emergency := filepath.Join(t.TempDir(), "kept.jsonl")
			data, err := os.ReadFile(damaged.Copy)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(emergency, data, 0o600))
			require.NoError(t, openWith(t, e, e.kms, emergency, e.read(t)), "the other tenant is copied")
			if name != "a key that is gone" && name != "the version of a keyset" && name != "the version of a branch key" && // which only a copy tells
				name != "a key version that is gone" { // which an epoch brings back without one
				untold := e.another(t)
				_, err = untold.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return nil }})
				require.ErrorIs(t, err, encryption.ErrRewrap)
				damagedRows(t, err)
				state, err := e.store.State(t.Context())
				require.NoError(t, err)
				require.Empty(t, state.Retiring, "nothing has begun")
			}

			report, err := other.RepairFromCopy(t.Context(), whole.Path)
			require.NoError(t, err)
			require.NotZero(t, report.Rows())
			require.NoError(t, opens())
			healed, err := other.WriteCopy(t.Context(), dir)
			require.NoError(t, err)
			require.Subset(t, unfenced(rowsOf(t, healed.Path)), unfenced(want), "byte by byte, but for the search, which is to be shown whole first")
		})
	}
}

// unfenced are rows of a copy as they are once every index is rebuilt.
func unfenced(rows []string) (out []string) {
	for _, row := range rows {
		out = append(out, strings.Replace(row, `"state":"fenced"`, `"state":"live"`, 1))
	}
	return out
}

// A mark of the history that is none is of no use to anybody, and stops nothing.
func TestADamagedMarkStopsNothing(t *testing.T) {
	for _, spoil := range []string{`UPDATE crmguard_encryption_mark SET mark = 'x' WHERE sequence = 2`, `UPDATE crmguard_encryption_mark SET sequence = -3 WHERE sequence = 2`, `UPDATE crmguard_encryption_mark SET created = 9000000000000000000 WHERE sequence = 2`} {
		e := newEnv(t, 1)
		e.insert(t, "c1", "p1")
		e.spoil(t, spoil)
		written, err := e.vault.WriteCopy(t.Context(), t.TempDir())
		require.NoError(t, err)
		head, err := e.vault.Head(t.Context())
		require.NoError(t, err)
		require.NoError(t, written.Covers(head))
		require.Equal(t, encryption.HealthNotice, found(t, e.vault, "encryption.store.stray", "").Level)
	}
}

// A KEK that is away is no damage: the copy is to be written later, whole.
func TestAKEKThatIsAwayIsNoDamage(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	dir := t.TempDir()
	vault := e.another(t)
	e.kms.gone["kek-1"] = true
	_, err := vault.WriteCopy(t.Context(), dir)
	require.ErrorIs(t, err, encryption.ErrKEK)
	require.NotErrorIs(t, err, encryption.ErrDamaged)
	require.Empty(t, names(t, dir))
	delete(e.kms.gone, "kek-1")
	_, err = vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
}

// A key that somebody put under a tombstone is in no copy and keeps nobody from
// writing one; closing an epoch removes it instead of wrapping it anew.
func TestAKeyUnderATombstoneIsLeftOutAndRemoved(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.NoError(t, putBack(t, e, wrapped[0]))
	dir := t.TempDir()
	written, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	require.Zero(t, written.Holes)
	for _, row := range rowsOf(t, written.Path) {
		require.NotContains(t, row, `"kind":"key","owner":"p1"`)
	}
	f := found(t, e.vault, "encryption.store.stray", "")
	require.Equal(t, encryption.HealthNotice, f.Level)
	require.EqualValues(t, 1, f.Value)

	_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir)})
	require.NoError(t, err)
	left, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Empty(t, left)
	require.Equal(t, encryption.HealthOK, found(t, e.vault, "encryption.store.stray", "").Level)
}

// Nor does an epoch stop at, or wrap anew, what somebody put under a tombstone
// and opens nothing, or into a key version that is destroyed.
func TestAnEpochRemovesWhatOpensNothing(t *testing.T) {
	e := newEnv(t, 1)
	for _, p := range []string{"p1", "p2"} {
		e.insert(t, "c"+p, p)
	}
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	old, err := e.store.Owners(t.Context(), tenant, []string{"p1", "p2"})
	require.NoError(t, err)
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p2"))
	none := func(context.Context, string, uint32) (int, string, error) { return 0, "", nil }
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, rows.KeyVersions[0].KeyVersion, none))
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	for _, key := range old.Keys {
		if key.Owner == "p1" {
			key.Wrapped = []byte{1, 2, 3}
		}
		e.spoil(t, `INSERT INTO crmguard_encryption_key (tenant, owner, generation, wrapped) VALUES (?, ?, ?, ?)`, tenant, key.Owner, int64(key.KeyVersion), key.Wrapped)
	}
	_, err = e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	require.EqualValues(t, 2, found(t, e.vault, "encryption.store.stray", "").Value)
	report, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(t.TempDir())})
	require.NoError(t, err)
	require.Equal(t, 1, report.Rewrapped)
	left, err := e.store.Owners(t.Context(), tenant, []string{"p1", "p2"})
	require.NoError(t, err)
	require.Len(t, left.Keys, 1)
}

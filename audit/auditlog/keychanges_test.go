package auditlog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keyLeaf is an entry of a log about one of its keys.
func keyLeaf(t testing.TB, i int, key, why string) []byte {
	t.Helper()
	leaf, err := AppendLeaf(nil, &Leaf{
		ID: fmt.Sprintf("0196b3a0-2222-7222-8333-%012x", i), Kind: KindKey, At: time.Date(2026, 11, 27, 4, 5, 6, 7000, time.UTC),
		Tenant: "main", Actor: "audit", Action: "audit.key", Outcome: OutcomeOK, Object: Object{Kind: "key", ID: key}, Reason: why,
	})
	require.NoError(t, err)
	return leaf
}

// otherwise are other texts of the same key, all of which package note takes.
func otherwise(key string) map[string]string {
	name, rest, _ := strings.Cut(key, "+")
	hash, code, _ := strings.Cut(rest, "+")
	return map[string]string{
		"as it is":         key,
		"hash in capitals": name + "+" + strings.ToUpper(hash) + "+" + code,
		"line break":       key + "\n",
		"other line break": key + "\r\n",
		"a break within":   name + "+" + hash + "+" + code[:10] + "\n" + code[10:],
	}
}

// newLettered makes a key whose hash has letters, so that it can be spelt in
// capitals.
func newLettered(t testing.TB) *madeLog {
	t.Helper()
	for {
		if m := newMadeLog(t); strings.ToUpper(m.short[:8]) != m.short[:8] {
			return m
		}
	}
}

// A stolen key that was taken out of the log counts no more, however it is spelt
// where it is trusted and where it is revoked.
func TestARevokedKeyCountsNoMoreHoweverItIsSpelt(t *testing.T) {
	old, fresh := newLettered(t), newMadeLog(t)
	for trusted, former := range otherwise(old.key) {
		for revoked, named := range otherwise(old.key) {
			leaves := [][]byte{madeLeaf(t, 0), keyLeaf(t, 1, fresh.short, ReasonRotated), keyLeaf(t, 2, strings.TrimPrefix(named, "crm.example/audit/0+"), ReasonRevoked)}
			_, kept := fresh.files(t, leaves, len(leaves))
			files, _ := old.files(t, leaves, 0) // the thief signs
			trust := Trust{Key: fresh.key, Former: []string{former}, Kept: kept}
			r, err := VerifyLog(t.Context(), files, trust)
			require.NoError(t, err)
			require.Equal(t, Tampered, r.Verdict, "trusted: %s, revoked: %s", trusted, revoked)
			require.Contains(t, r.Faults[0].What, "revokes")
			require.Equal(t, []KeyChange{{Index: 1, Key: fresh.short}, {Index: 2, Key: old.short, Revoked: true}}, r.Keys)
			r, err = VerifyHashes(t.Context(), files, trust)
			require.NoError(t, err)
			require.Equal(t, Tampered, r.Verdict, "trusted: %s, revoked: %s", trusted, revoked)

			files, _ = fresh.files(t, leaves, 0)
			r, err = VerifyLog(t.Context(), files, trust)
			require.NoError(t, err)
			require.Equal(t, OK, r.Verdict, "the new key counts: %+v", r.Faults)
		}
	}
}

// A key event that names no key is told as it stands, and harms nobody.
func TestAnEntryAboutWhatIsNoKey(t *testing.T) {
	m := newMadeLog(t)
	files, _ := m.files(t, [][]byte{keyLeaf(t, 0, "no key", ReasonRevoked)}, 0)
	r, err := VerifyLog(t.Context(), files, Trust{Key: m.key})
	require.NoError(t, err)
	require.Equal(t, Unanchored, r.Verdict)
	require.Equal(t, []KeyChange{{Key: "no key", Revoked: true}}, r.Keys)
}

// The report shows the first hundred changes of keys; all of them are heeded.
func TestARevocationIsHeededBehindAnyNumberOfKeyChanges(t *testing.T) {
	old, fresh := newMadeLog(t), newMadeLog(t)
	for _, before := range []int{0, MaxFaults - 1, MaxFaults, 3 * MaxFaults} {
		var leaves [][]byte
		for i := range before {
			leaves = append(leaves, keyLeaf(t, i, newMadeLog(t).short, []string{ReasonRotated, ReasonRevoked}[i%2]))
		}
		leaves = append(leaves, keyLeaf(t, before, old.short, ReasonRevoked))
		_, kept := fresh.files(t, leaves, len(leaves))
		files, _ := old.files(t, append(leaves, madeLeaf(t, 0)), 0) // the thief goes on with the log
		r, err := VerifyLog(t.Context(), files, Trust{Key: fresh.key, Former: []string{old.key}, Kept: kept})
		require.NoError(t, err)
		require.Equal(t, Tampered, r.Verdict, "%d changes of keys before", before)
		require.Contains(t, r.Faults[0].What, "revokes")
		require.Len(t, r.Keys, min(before+1, MaxFaults))
	}
}

package auditlog

import (
	"bytes"
	"context"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// aSigner is a signer of a log, and its verifier key.
func aSigner(t testing.TB) (note.Signer, string) {
	t.Helper()
	secret, public, err := note.GenerateKey(nil, "crm.example/audit/0")
	require.NoError(t, err)
	signer, err := note.NewSigner(secret)
	require.NoError(t, err)
	return signer, public
}

// Whoever hands in nothing is told so.
func TestNothingIsNoArgument(t *testing.T) {
	_, public := aSigner(t)
	w := Walk{Trust: Trust{Key: public}}
	r, err := w.Verify(t.Context())
	require.ErrorIs(t, err, ErrInvalid)
	require.Equal(t, Incomplete, r.Verdict)

	n := 0
	for _, err := range EntriesOf(t.Context(), nil, 0, 1, 1) {
		require.ErrorIs(t, err, ErrInvalid)
		n++
	}
	require.Equal(t, 1, n)
	_, err = SealBody(nil, nil, [16]byte{}, [16]byte{}, nil)
	require.ErrorIs(t, err, ErrInvalid)
	_, err = OpenBody(nil, [16]byte{}, [16]byte{}, make([]byte, bodyOver+bodyBlock))
	require.ErrorIs(t, err, ErrInvalid)
	_, err = AppendLeaf(nil, nil)
	require.ErrorIs(t, err, ErrInvalid)
}

// A walk that has found no checkpoint has no root, and nothing to add to.
func TestAWalkWithoutACheckpointHasNoRoot(t *testing.T) {
	_, public := aSigner(t)
	w := Walk{Trust: Trust{Key: public}, Read: func(context.Context, string) ([]byte, error) { return nil, fs.ErrNotExist }}
	for range 2 {
		w.Push(tlog.Hash{})
		_, ok := w.Root()
		require.False(t, ok)
		_, err := w.Verify(t.Context())
		require.NoError(t, err)
		require.False(t, w.Opened())
	}
}

// Cosignatures of others accuse nobody: more of them than are looked at are too
// many.
func TestCosignaturesOfOthers(t *testing.T) {
	signer, public := aSigner(t)
	root, err := tlog.TreeHash(0, nil)
	require.NoError(t, err)
	signed, err := note.Sign(&note.Note{Text: c2sp.FormatCheckpoint("crm.example/audit/0", tlog.Tree{Hash: root})}, signer)
	require.NoError(t, err)
	other := []byte("\u2014 other AAAAAAAAAAAA\n")
	for more, want := range map[int]Verdict{0: Unanchored, 99: Unanchored, 100: Incomplete, 10_000: Incomplete} {
		data := append(bytes.Clone(signed), bytes.Repeat(other, more)...)
		r, err := VerifyLog(t.Context(), fstest.MapFS{CheckpointFile: {Data: data}}, Trust{Key: public})
		require.NoError(t, err)
		require.Equal(t, want, r.Verdict, more)
		_, err = Trust{Key: public}.Checkpoint(data)
		if want == Incomplete {
			require.Contains(t, r.Faults[0].What, "more signatures than are looked at")
			require.ErrorIs(t, err, ErrMalformed)
			require.NotErrorIs(t, err, ErrTampered)
		} else {
			require.NoError(t, err)
		}
	}
}

// What is no proof or checkpoint is refused before it is taken apart.
func TestProofsAndCheckpointsThatAreTooLarge(t *testing.T) {
	signer, public := aSigner(t)
	signed, err := note.Sign(&note.Note{Text: c2sp.FormatCheckpoint("crm.example/audit/0", tlog.Tree{N: c2sp.MaxSize})}, signer)
	require.NoError(t, err)
	line := tlog.Hash{}.String() + "\n"
	for hashes, want := range map[int]error{62: ErrTampered, 63: ErrMalformed, 1 << 20: ErrMalformed} {
		proof := "c2sp.org/tlog-proof@v1\nindex 0\n" + strings.Repeat(line, hashes) + "\n" + string(signed)
		_, err := Verify(Trust{Key: public}, []byte("{}"), []byte(proof))
		require.ErrorIs(t, err, want, hashes)
	}
	files := fstest.MapFS{CheckpointFile: {Data: append(bytes.Repeat([]byte("a\n"), 8<<20), "\n\u2014 x y\n"...)}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, err := range Entries(t.Context(), files) {
		require.ErrorIs(t, err, ErrMalformed)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20), "16 MB are read, and not taken apart into lines")
}

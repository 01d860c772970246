package main

import (
	"io/fs"
	"os"
	"testing"

	"filippo.io/torchwood"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Torchwood reads what is there of a log from which retention took entries, and
// verifies proofs of what is not.
func TestTorchwoodReadsAPrunedLog(t *testing.T) {
	ctx, l := t.Context(), newKeptLog(t)
	id := l.fill(300)
	l.fill(300)
	l.keep()
	leaf, err := l.trail.Leaf(ctx, id)
	require.NoError(t, err)
	proof, err := l.trail.Proof(ctx, id)
	require.NoError(t, err)
	l.prune()
	policy := torchwoodPolicy(t, l.readers[0])
	tiles, err := torchwood.NewTileFS(os.DirFS(l.dir))
	require.NoError(t, err)
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	require.NoError(t, err)
	checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy)
	require.NoError(t, err)
	client, err := torchwood.NewClient(tiles)
	require.NoError(t, err)
	n := int64(512)
	for i, raw := range client.AllEntries(ctx, checkpoint.Tree, n) {
		require.Equal(t, n, i)
		parsed, err := auditlog.ParseLeaf(raw)
		require.NoError(t, err)
		fresh, err := l.trail.Proof(ctx, parsed.ID)
		require.NoError(t, err)
		_, hashes, err := client.Entry(ctx, checkpoint.Tree, i)
		require.NoError(t, err)
		require.Equal(t, string(torchwood.FormatProof(i, hashes, signed)), string(fresh), "byte for byte")
		n++
	}
	require.NoError(t, client.Err())
	require.Equal(t, checkpoint.N, n, "every entry that is there")

	fresh, err := l.trail.Proof(ctx, id) // of an entry that is gone, by its hash
	require.NoError(t, err)
	for _, p := range [][]byte{proof, fresh} {
		require.NoError(t, torchwood.VerifyProof(policy, tlog.RecordHash(leaf), p))
		require.Error(t, torchwood.VerifyProof(policy, tlog.RecordHash([]byte("x")), p))
	}
	for range client.AllEntries(ctx, checkpoint.Tree, 0) {
		t.Fatal("an entry that is gone")
	}
	require.ErrorIs(t, client.Err(), fs.ErrNotExist, "a bundle that is not there is one to it")
}

// Tessera's fsck knows no retention: to it a bundle that is gone is missing, and it
// says so. What it reads of the rest agrees: with the bundles back it is content.
func TestTesseraMissesPrunedEntries(t *testing.T) {
	l := grown(t, 600)
	names := []string{"tile/entries/000", "tile/entries/001"}
	bundles := make(map[string][]byte)
	for _, name := range names {
		bundles[name] = l.file(name)
	}
	l.prune()
	require.ErrorContains(t, fsckVerdict(t, l.dir, l.readers[0]), "entries")
	_, err := l.trail.Published(t.Context(), names[0])
	require.ErrorIs(t, err, fs.ErrNotExist)
	for name, data := range bundles {
		l.write(name, data)
	}
	require.NoError(t, fsckVerdict(t, l.dir, l.readers[0]))
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/fstest"

	"filippo.io/torchwood"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// Torchwood is a second opinion on the published formats: its client reads
// our log, and we read the log that it writes.

func torchwoodPolicy(t *testing.T, key string) torchwood.Policy {
	t.Helper()
	policy, err := torchwood.ParsePolicy([]byte("log " + key + "\nquorum none\n"))
	require.NoError(t, err)
	return policy
}

func TestTorchwoodReadsOurLog(t *testing.T) {
	for _, size := range []int{2, 255, 256, 257, 600} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			ctx := t.Context()
			dir, key, trail := record(t, size/2)
			_, err := trail.RunOnce(ctx)
			require.NoError(t, err)
			for range size - size/2 - 1 { // the log grows; the first beat is an entry too
				_, err := trail.Note(ctx, audit.Event{Tenant: tenant, Actor: "u7", Action: "report.read"})
				require.NoError(t, err)
			}
			_, err = trail.RunOnce(ctx)
			require.NoError(t, err)

			policy := torchwoodPolicy(t, key)
			tiles, err := torchwood.NewTileFS(os.DirFS(dir))
			require.NoError(t, err)
			signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
			require.NoError(t, err)
			checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy)
			require.NoError(t, err)
			require.Equal(t, logName+"/0", checkpoint.Origin)
			require.EqualValues(t, size, checkpoint.N)
			client, err := torchwood.NewClient(tiles)
			require.NoError(t, err)
			n := int64(0)
			for i, raw := range client.AllEntries(ctx, checkpoint.Tree, 0) {
				require.Equal(t, n, i)
				leaf, err := auditlog.ParseLeaf(raw)
				require.NoError(t, err)
				proof, err := trail.Proof(ctx, leaf.ID)
				require.NoError(t, err)
				require.NoError(t, torchwood.VerifyProof(policy, tlog.RecordHash(raw), proof))
				require.Error(t, torchwood.VerifyProof(policy, tlog.RecordHash([]byte("x")), proof))
				_, hashes, err := client.Entry(ctx, checkpoint.Tree, i)
				require.NoError(t, err)
				require.Equal(t, string(torchwood.FormatProof(i, hashes, signed)), string(proof), "byte for byte")
				n++
			}
			require.NoError(t, client.Err())
			require.Equal(t, checkpoint.N, n, "every entry")
		})
	}
}

// theirLog is a log of frozen leaves that torchwood and package tlog wrote.
func theirLog(t *testing.T, copies int) (files fstest.MapFS, trust auditlog.Trust, leaves, proofs [][]byte) {
	t.Helper()
	sample := filepath.Join("..", "..", "audit", "auditlog", "testdata", "v1", "log")
	for e, err := range auditlog.Entries(t.Context(), os.DirFS(sample)) {
		require.NoError(t, err)
		if leaf, err := auditlog.ParseLeaf(e.Leaf); err != nil || leaf.Kind != auditlog.KindBeat { // a beat says where it stands
			leaves = append(leaves, e.Leaf)
		}
	}
	require.NotEmpty(t, leaves)
	for first := leaves; len(leaves) < copies; {
		leaves = append(leaves, first...)
	}
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, index := range indexes {
			out = append(out, stored[index])
		}
		return out, nil
	})
	bundles := map[int64][]byte{}
	for i, leaf := range leaves {
		more, err := tlog.StoredHashes(int64(i), leaf, reader)
		require.NoError(t, err)
		stored = append(stored, more...)
		n := int64(i) / torchwood.TileWidth
		bundles[n], err = torchwood.AppendTileEntry(bundles[n], leaf)
		require.NoError(t, err)
	}
	size := int64(len(leaves))
	files = fstest.MapFS{}
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, size) {
		data, err := tlog.ReadTileData(tile, reader)
		require.NoError(t, err)
		files[torchwood.TilePath(tile)] = &fstest.MapFile{Data: data}
		if tile.L == 0 {
			tile.L = -1
			files[torchwood.TilePath(tile)] = &fstest.MapFile{Data: bundles[tile.N]}
		}
	}
	secret, key, err := audit.GenerateKey("torchwood.example/audit", 0)
	require.NoError(t, err)
	signer, err := note.NewSigner(secret)
	require.NoError(t, err)
	root, err := tlog.TreeHash(size, reader)
	require.NoError(t, err)
	text := torchwood.Checkpoint{Origin: signer.Name(), Tree: tlog.Tree{N: size, Hash: root}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	require.NoError(t, err)
	files["checkpoint"] = &fstest.MapFile{Data: signed}
	for i := range leaves {
		hashes, err := tlog.ProveRecord(size, int64(i), reader)
		require.NoError(t, err)
		proof := torchwood.FormatProof(int64(i), hashes, signed)
		if i%2 == 1 {
			proof = torchwood.FormatProofWithExtraData(int64(i), []byte("extra"), hashes, signed)
		}
		proofs = append(proofs, proof)
	}
	return files, auditlog.Trust{Key: key, Kept: signed}, leaves, proofs
}

func TestWeReadTheLogThatTorchwoodWrites(t *testing.T) {
	for _, copies := range []int{1, 300} {
		files, trust, leaves, proofs := theirLog(t, copies)
		report, err := auditlog.VerifyLog(t.Context(), files, trust)
		require.NoError(t, err)
		require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
		require.EqualValues(t, len(leaves), report.Verified)
		n := 0
		for e, err := range auditlog.Entries(t.Context(), files) {
			require.NoError(t, err)
			require.Equal(t, leaves[n], e.Leaf)
			n++
		}
		require.Len(t, leaves, n)
		for i, proof := range proofs {
			_, err := auditlog.Verify(trust, leaves[i], proof)
			require.NoError(t, err)
		}
	}
}

// Neither of the two takes a proof that the other refuses; where the text is
// not the usual one for its meaning, ours refuses alone.
func TestTorchwoodAndWeRefuseTheSameProofs(t *testing.T) {
	_, trust, leaves, proofs := theirLog(t, 1)
	policy := torchwoodPolicy(t, trust.Key)
	refused := 0
	for i := range proofs[0] {
		for _, b := range []byte{0, '\n', '0', '9', 'A', '=', proofs[0][i] ^ 1} {
			changed := bytes.Clone(proofs[0])
			changed[i] = b
			_, err := auditlog.Verify(trust, leaves[0], changed)
			theirs := torchwood.VerifyProof(policy, tlog.RecordHash(leaves[0]), changed)
			what := fmt.Sprintf("byte %d is %q", i, b)
			switch {
			case bytes.Equal(changed, proofs[0]):
				require.NoError(t, err, what)
				require.NoError(t, theirs, what)
			case theirs != nil:
				require.Error(t, err, what)
				refused++
			}
		}
	}
	require.Greater(t, refused, 500)
}

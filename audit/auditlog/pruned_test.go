package auditlog

import (
	"context"
	"io/fs"
	"maps"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"
)

// pruneLeaf is an entry that says up to where retention went.
func pruneLeaf(t testing.TB, i int, what string, to int64) []byte {
	t.Helper()
	l, err := ParseLeaf(madeLeaf(t, i))
	require.NoError(t, err)
	l.Kind, l.Action, l.Object, l.Persons, l.Changes, l.Reason = KindPrune, "audit.prune", PruneObject(what, to), nil, nil, "retention"
	data, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	return data
}

// prunedLog is a log of 1,100 entries of which entry 1050 says something about
// retention, and without some bundles.
func prunedLog(t testing.TB, m *madeLog, kept int, leaf []byte, gone ...string) (fstest.MapFS, []byte) {
	t.Helper()
	leaves := madeLeaves(t, 1100)
	if leaf != nil {
		leaves[1050] = leaf
	}
	files, checkpoint := m.files(t, leaves, kept)
	for _, name := range gone {
		require.Contains(t, files, "tile/entries/"+name)
		delete(files, "tile/entries/"+name)
	}
	return files, checkpoint
}

func TestWhatWentWithRetentionIsToldFromLoss(t *testing.T) {
	m := newMadeLog(t)
	for name, c := range map[string]struct {
		leaf   []byte
		kept   int // entries of the kept checkpoint, 0: none
		gone   []string
		want   Verdict
		pruned int64
		faults int
	}{
		"two bundles under a kept checkpoint":   {pruneLeaf(t, 1050, PruneEntries, 512), 1060, []string{"000", "001"}, OK, 512, 0},
		"a kept checkpoint of just as many":     {pruneLeaf(t, 1050, PruneEntries, 512), 512, []string{"000", "001"}, OK, 512, 0},
		"a removal that was stopped":            {pruneLeaf(t, 1050, PruneEntries, 512), 1060, []string{"000"}, OK, 256, 0},
		"nothing was removed yet":               {pruneLeaf(t, 1050, PruneEntries, 512), 1060, nil, OK, 0, 0},
		"without a kept checkpoint":             {pruneLeaf(t, 1050, PruneEntries, 512), 0, []string{"000", "001"}, Unanchored, 512, 0},
		"a kept checkpoint that does not cover": {pruneLeaf(t, 1050, PruneEntries, 512), 511, []string{"000", "001"}, Unanchored, 512, 0},
		"one bundle more than was told":         {pruneLeaf(t, 1050, PruneEntries, 512), 1060, []string{"000", "001", "002"}, Incomplete, 512, 1},
		"another bundle than was told":          {pruneLeaf(t, 1050, PruneEntries, 512), 1060, []string{"002"}, Incomplete, 0, 1},
		"nothing was told":                      {nil, 1060, []string{"000", "001"}, Incomplete, 0, 2},
		"openings were told, not entries":       {pruneLeaf(t, 1050, PruneOpenings, 512), 1060, []string{"000", "001"}, Incomplete, 0, 2},
		"more than was there when it was told":  {pruneLeaf(t, 1050, PruneEntries, 1280), 1060, []string{"000", "001"}, Incomplete, 0, 2},
		"half a bundle is no end":               {pruneLeaf(t, 1050, PruneEntries, 300), 1060, []string{"000", "001"}, Incomplete, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			files, kept := prunedLog(t, m, c.kept, c.leaf, c.gone...)
			trust := Trust{Key: m.key, Kept: kept}
			for _, verify := range []func(context.Context, fs.FS, Trust) (Report, error){VerifyLog, VerifyHashes} {
				r, err := verify(t.Context(), files, trust)
				require.NoError(t, err)
				require.Equal(t, c.want, r.Verdict, "%+v", r.Faults)
				require.Equal(t, c.pruned, r.Pruned)
				require.Len(t, r.Faults, c.faults)
				require.Equal(t, int64(1100-256*len(c.gone)), r.Verified, "what is there is read")
			}
		})
	}
}

// The newest of several is what counts: one that was told and not done is taken
// back by one that says less.
func TestTheNewestWordAboutRetentionCounts(t *testing.T) {
	m := newMadeLog(t)
	leaves := madeLeaves(t, 1100)
	leaves[1040], leaves[1050] = pruneLeaf(t, 1040, PruneEntries, 768), pruneLeaf(t, 1050, PruneEntries, 256)
	files, kept := m.files(t, leaves, 1060)
	delete(files, "tile/entries/000")
	r, err := VerifyLog(t.Context(), files, Trust{Key: m.key, Kept: kept})
	require.NoError(t, err)
	require.Equal(t, OK, r.Verdict)
	delete(files, "tile/entries/001")
	r, err = VerifyLog(t.Context(), files, Trust{Key: m.key, Kept: kept})
	require.NoError(t, err)
	require.Equal(t, Incomplete, r.Verdict)
}

// Hashes stand for entries that are gone, and are proved: whoever changes one is
// found, and whoever takes one away.
func TestTheHashesOfPrunedEntriesAreVerified(t *testing.T) {
	m := newMadeLog(t)
	sound, kept := prunedLog(t, m, 1060, pruneLeaf(t, 1050, PruneEntries, 512), "000", "001")
	for i := range sound["tile/0/001"].Data {
		if i%97 != 0 {
			continue
		}
		files := maps.Clone(sound)
		data := append([]byte(nil), sound["tile/0/001"].Data...)
		data[i] ^= 1
		files["tile/0/001"] = &fstest.MapFile{Data: data}
		r, err := VerifyLog(t.Context(), files, Trust{Key: m.key, Kept: kept})
		require.NoError(t, err)
		require.Equal(t, Tampered, r.Verdict)
	}
	files := maps.Clone(sound)
	delete(files, "tile/0/001")
	r, err := VerifyLog(t.Context(), files, Trust{Key: m.key, Kept: kept})
	require.NoError(t, err)
	require.Equal(t, Incomplete, r.Verdict)
}

// A walk hears of the hashes in the place of entries that are gone, in their order.
func TestAWalkHearsOfWhatIsSkipped(t *testing.T) {
	m := newMadeLog(t)
	files, kept := prunedLog(t, m, 1060, pruneLeaf(t, 1050, PruneEntries, 512), "000", "001")
	var next int64
	w := Walk{Read: func(_ context.Context, name string) ([]byte, error) { return fs.ReadFile(files, name) }, Trust: Trust{Key: m.key, Kept: kept}}
	w.Skipped = func(first int64, hashes []byte) error {
		require.Equal(t, next, first)
		require.Equal(t, madeHash(t, int(first)), tlog.Hash(hashes[:tlog.HashSize]))
		next += int64(len(hashes) / tlog.HashSize)
		return nil
	}
	w.Each = func(index int64, _ []byte, _ *Leaf) error {
		require.Equal(t, next, index)
		next++
		return nil
	}
	r, err := w.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, OK, r.Verdict)
	require.Equal(t, int64(1100), next)
	w.Skipped = func(int64, []byte) error { return context.Canceled }
	r, err = w.Verify(t.Context())
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, Incomplete, r.Verdict)
}

func madeHash(t testing.TB, i int) tlog.Hash { return tlog.RecordHash(madeLeaf(t, i)) }

// Whoever takes away every second bundle of a log makes no reader remember them
// all.
func TestManyHolesAreToldAtOnce(t *testing.T) {
	w := &walker{report: &Report{Log: OK}, keys: nil}
	full := hashTile{data: make([]byte, 256*tlog.HashSize)}
	for n := range int64(5000) {
		b := &bundle{n: 2 * n, width: 256, err: fs.ErrNotExist, tile: full}
		require.Equal(t, n < mostAbsences, w.absent(b))
	}
	require.Len(t, w.absences, mostAbsences)
	w.retained()
	require.Equal(t, MaxFaults, len(w.report.Faults))
	require.Equal(t, mostAbsences-MaxFaults, w.report.More)
}

// What retention took is left out, and indexes say so; what is missing elsewhere is
// an error.
func TestEntriesBeginWhereTheLogDoes(t *testing.T) {
	m := newMadeLog(t)
	files, _ := prunedLog(t, m, 0, pruneLeaf(t, 1050, PruneEntries, 512), "000", "001")
	next := int64(512)
	for e, err := range Entries(t.Context(), files) {
		require.NoError(t, err)
		require.Equal(t, next, e.Index)
		next++
	}
	require.Equal(t, int64(1100), next)
	delete(files, "tile/entries/003")
	var failed error
	for _, err := range Entries(t.Context(), files) {
		failed = err
	}
	require.ErrorIs(t, failed, fs.ErrNotExist)
	for name := range files {
		if name != CheckpointFile {
			delete(files, name)
		}
	}
	failed = nil
	for _, err := range Entries(t.Context(), files) {
		failed = err
	}
	require.ErrorIs(t, failed, fs.ErrNotExist, "a folder without any is none that was pruned")
}

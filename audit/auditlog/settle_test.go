package auditlog

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// Forged hash tiles have no sound entry accused: the one that was changed is named
// beside them, and where the tiles above were forged, too, a bundle is told of once.
func TestForgedHashesAccuseNoEntry(t *testing.T) {
	m := newMadeLog(t)
	files, kept := m.files(t, madeLeaves(t, 700), 600)
	trust := Trust{Key: m.key, Kept: kept}
	require.Equal(t, OK, sameJudgement(t, files, trust).Verdict)
	flip := func(name string, at ...int) []byte {
		data := slices.Clone(files[name].Data)
		for _, i := range at {
			data[i] ^= 1
		}
		return data
	}
	forged := make([]byte, 256*32)
	accused := func(r Report) (out []int64) {
		require.Equal(t, Tampered, r.Verdict)
		for _, f := range r.Faults {
			if f.Index >= 0 {
				out = append(out, f.Index)
			}
		}
		require.Zero(t, r.More)
		return out
	}
	whole := withFile(files, "tile/0/000", forged)
	r := sameJudgement(t, whole, trust)
	sameByHashes(t, whole, trust, r)
	require.Empty(t, accused(r))
	require.Equal(t, int64(700), r.Verified)
	require.Equal(t, "tile/0/000", r.Faults[0].File)

	end := withFile(files, "tile/0/002.p/188", bytes.Repeat([]byte{1}, 188*32)) // the last bundle, which is not full
	require.Empty(t, accused(sameJudgement(t, end, trust)))

	both := withFile(whole, "tile/entries/001", flip("tile/entries/001", 2+10))
	require.Equal(t, []int64{256}, accused(sameJudgement(t, both, trust)), "the one that was changed, and no other")

	above := withFile(both, "tile/1/000.p/2", make([]byte, 2*32))
	r = sameJudgement(t, above, trust)
	require.Empty(t, accused(r))
	told := 0
	for _, f := range r.Faults {
		if f.What == undecided {
			told++
		}
	}
	require.Equal(t, 2, told, "one a bundle")

	pair := withFile(withFile(files, "tile/entries/001", flip("tile/entries/001", 2+10)), "tile/0/001", flip("tile/0/001", 0))
	missing := maps.Clone(both)
	delete(missing, "tile/1/000.p/2")
	for name, files := range map[string]fstest.MapFS{"both of one bundle": pair, "nothing above": missing} {
		r = sameJudgement(t, files, trust)
		require.Empty(t, accused(r), name)
		require.True(t, slices.ContainsFunc(r.Faults, func(f Fault) bool { return f.What == undecided }), name)
	}
}

package auditlog

import (
	"fmt"
	"maps"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Of no verdict, and of what is none, nobody may read that all is well.
func TestWorstIsOKOnlyWhereEachIs(t *testing.T) {
	all := []Verdict{OK, Unanchored, Incomplete, RolledBack, Forked, Tampered} // from good to bad
	for i, a := range all {
		for j, b := range all {
			require.Equal(t, all[max(i, j)], Worst(a, b))
		}
		require.Equal(t, a, Worst(a))
		for _, none := range []Verdict{"", "truncated", "OK"} {
			require.Equal(t, all[max(i, 2)], Worst(a, none), "%q", none)
			require.Equal(t, all[max(i, 2)], Worst(none, a), "%q", none)
		}
	}
	require.Equal(t, Incomplete, Worst())
	require.Equal(t, Incomplete, Worst(""))
}

// The report of a verification that was not made is not ok in any part.
func TestAVerificationThatWasNotMadeIsIncomplete(t *testing.T) {
	m := newMadeLog(t)
	_, noFiles := VerifyLog(t.Context(), nil, Trust{Key: m.key})
	require.ErrorIs(t, noFiles, ErrInvalid)
	for name, verify := range map[string]func() (Report, error){
		"no files":         func() (Report, error) { return VerifyLog(t.Context(), nil, Trust{Key: m.key}) },
		"no files, hashes": func() (Report, error) { return VerifyHashes(t.Context(), nil, Trust{Key: m.key}) },
		"no key":           func() (Report, error) { return VerifyLog(t.Context(), fstest.MapFS{}, Trust{Key: "no key"}) },
		"no checkpoint kept": func() (Report, error) {
			return VerifyLog(t.Context(), fstest.MapFS{}, Trust{Key: m.key, Kept: []byte("torn")})
		},
	} {
		r, err := verify()
		require.ErrorIs(t, err, ErrInvalid, name)
		require.Equal(t, []Verdict{Incomplete, Incomplete, Incomplete}, []Verdict{r.Verdict, r.Log, r.Kept}, name)
	}
}

// Whoever changed an entry does not hide which one behind a hundred files that
// they deleted, nor behind as many that they spoilt.
func TestLesserFaultsHideNoWorseOne(t *testing.T) {
	const bundles = MaxFaults + 2
	m := newMadeLog(t)
	sound, _ := m.files(t, madeLeaves(t, bundles*c2sp.TileWidth), 0)
	for name, spoil := range map[string]func(files fstest.MapFS, tile string){
		"deleted": func(files fstest.MapFS, tile string) { delete(files, tile) },
		"longer": func(files fstest.MapFS, tile string) {
			files[tile] = &fstest.MapFile{Data: append(append([]byte{}, files[tile].Data...), 0)}
		},
	} {
		files := make(fstest.MapFS)
		maps.Copy(files, sound)
		for n := range int64(bundles - 1) {
			spoil(files, c2sp.TilePath(c2sp.Tile(0, n, c2sp.TileWidth)))
		}
		last := c2sp.TilePath(c2sp.Tile(-1, bundles-1, c2sp.TileWidth))
		changed := append([]byte{}, files[last].Data...)
		changed[30] ^= 1
		files[last] = &fstest.MapFile{Data: changed}
		r, err := VerifyLog(t.Context(), files, Trust{Key: m.key})
		require.NoError(t, err)
		require.Equal(t, Tampered, r.Verdict)
		require.Len(t, r.Faults, MaxFaults, name)
		require.Positive(t, r.More, name)
		require.Contains(t, r.Faults, Fault{Verdict: Tampered, Index: (bundles - 1) * c2sp.TileWidth, File: last, What: "the entry does not match its hash"}, name)
	}
}

// A report holds the worst faults, in the order in which they came.
func TestAReportHoldsTheWorstFaults(t *testing.T) {
	var r Report
	for i := range int64(2 * MaxFaults) {
		r.add(Fault{Verdict: Incomplete, Index: i})
	}
	require.Equal(t, int64(MaxFaults-1), r.Faults[MaxFaults-1].Index, "those that came first")
	r.add(Fault{Verdict: Forked, Index: -1})
	r.add(Fault{Verdict: Tampered, Index: -1})
	r.add(Fault{Verdict: Tampered, Index: -1, Event: "e"})
	r.add(Fault{Verdict: Incomplete, Index: 7})
	require.Equal(t, MaxFaults+4, r.More)
	want := make([]string, 0, MaxFaults)
	for i := range MaxFaults - 3 {
		want = append(want, fmt.Sprint(Incomplete, i, ""))
	}
	want = append(want, fmt.Sprint(Forked, -1, ""), fmt.Sprint(Tampered, -1, ""), fmt.Sprint(Tampered, -1, "e"))
	var got []string
	for _, f := range r.Faults {
		got = append(got, fmt.Sprint(f.Verdict, f.Index, f.Event))
	}
	require.Equal(t, want, got)
	for range MaxFaults {
		r.add(Fault{Verdict: Tampered, Index: -1, Event: "e"})
	}
	require.NotContains(t, r.Faults, Fault{Verdict: Tampered, Index: -1}, "what names nothing gives way to what does")
	require.Equal(t, 2*MaxFaults+4, r.More)
}

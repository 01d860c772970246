package auditlog

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// watched reads files and is told of each read.
func watched(files fstest.MapFS, told func(name string) error) func(context.Context, string) ([]byte, error) {
	plain := (&folder{fsys: files}).read
	return func(ctx context.Context, name string) ([]byte, error) {
		if err := told(name); err != nil {
			return nil, err
		}
		return plain(ctx, name)
	}
}

var errTold = errors.New("told so")

// Whichever way a verification ends, its goroutines have ended with it. A bubble
// does not end before they do.
func TestNoGoroutineIsLeftBehind(t *testing.T) {
	m := newMadeLog(t)
	files, _ := m.files(t, madeLeaves(t, 20*c2sp.TileWidth+5), 0)
	damaged := withFile(files, "tile/entries/003", nil)
	delete(damaged, "tile/0/003")
	nothing := func(string) error { return nil }
	for name, end := range map[string]func(t *testing.T){
		"at the end": func(t *testing.T) {
			r, err := (&Walk{Read: watched(files, nothing), Trust: Trust{Key: m.key}}).Verify(t.Context())
			require.NoError(t, err)
			require.Equal(t, Unanchored, r.Verdict)
		},
		"where nothing is known any more": func(t *testing.T) {
			r, err := (&Walk{Read: watched(damaged, nothing), Trust: Trust{Key: m.key}}).Verify(t.Context())
			require.NoError(t, err)
			require.Equal(t, Tampered, r.Verdict)
			require.EqualValues(t, 3*c2sp.TileWidth, r.Verified)
		},
		"who listens has enough": func(t *testing.T) {
			r, err := (&Walk{Read: watched(files, nothing), Trust: Trust{Key: m.key}, Each: func(index int64, _ []byte, _ *Leaf) error {
				if index == 700 {
					return errTold
				}
				return nil
			}}).Verify(t.Context())
			require.ErrorIs(t, err, errTold)
			require.Equal(t, Incomplete, r.Verdict)
			require.EqualValues(t, 701, r.Verified)
		},
		"who listens panics": func(t *testing.T) {
			require.PanicsWithValue(t, "enough", func() {
				_, _ = (&Walk{Read: watched(files, nothing), Trust: Trust{Key: m.key}, Each: func(int64, []byte, *Leaf) error { panic("enough") }}).Verify(t.Context())
			})
		},
		"who reads panics": func(t *testing.T) {
			require.PanicsWithValue(t, "enough", func() {
				_, _ = (&Walk{Trust: Trust{Key: m.key}, Read: watched(files, func(name string) error {
					if name == "tile/entries/007" {
						panic("enough")
					}
					return nil
				})}).Verify(t.Context())
			})
		},
		"every file cannot be read": func(t *testing.T) {
			r, err := (&Walk{Trust: Trust{Key: m.key}, Read: watched(files, func(name string) error {
				if name != CheckpointFile {
					return errTold
				}
				return nil
			})}).Verify(t.Context())
			require.NoError(t, err)
			require.Equal(t, Incomplete, r.Verdict)
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, end) })
	}
}

// A context that ends while any of the files is read ends the verification, and
// the report says so.
func TestAVerificationEndsWithItsContext(t *testing.T) {
	m := newMadeLog(t)
	files, _ := m.files(t, madeLeaves(t, 5*c2sp.TileWidth+5), 0)
	reads := 0
	_, err := (&Walk{Read: watched(files, func(string) error { reads++; return nil }), Trust: Trust{Key: m.key}}).Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1+6+6+1, reads, "the checkpoint, bundles, hashes and one tile above: each once")
	for at := 2; at <= reads; at++ {
		for _, told := range []error{nil, context.Canceled, errTold} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				n := 0
				w := Walk{Trust: Trust{Key: m.key}, Read: watched(files, func(string) error {
					if n++; n == at {
						cancel()
						return told
					}
					return nil
				})}
				r, err := w.Verify(ctx)
				require.ErrorIs(t, err, context.Canceled)
				require.Equal(t, Incomplete, r.Verdict, "%+v", r.Faults)
				require.Equal(t, "the verification was interrupted", r.Faults[len(r.Faults)-1].What)
				require.LessOrEqual(t, r.Verified, r.Size)
			})
		}
	}
}

func goroutine() string {
	var buf [64]byte
	text, _, _ := strings.Cut(string(buf[:runtime.Stack(buf[:], false)]), " [")
	return text
}

// What the caller hands in is called where the caller is, in order, and a bounded
// number of bundles ahead, also where bundles are as large as they can be.
func TestReadingAheadIsBoundedAndTheCallersOwn(t *testing.T) {
	before := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	m := newMadeLog(t)
	l := aLeaf(KindEvent)
	l.Reason = strings.Repeat("x", MaxLeaf-2000)
	largest, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		leaf    []byte
		bundles int
		most    int // in hand at one time
	}{
		"small":   {madeLeaf(t, 0), 40, 8},
		"largest": {largest, 5, 1},
	} {
		t.Run(name, func(t *testing.T) {
			leaves := make([][]byte, c.bundles*c2sp.TileWidth)
			for i := range leaves {
				leaves[i] = c.leaf
			}
			files, _ := m.files(t, leaves, 0)
			mine, read, most, next := goroutine(), 0, 0, int64(0)
			w := Walk{
				Trust: Trust{Key: m.key},
				Read: watched(files, func(name string) error {
					require.Equal(t, mine, goroutine())
					if strings.HasPrefix(name, "tile/entries/") {
						read++
					}
					return nil
				}),
				Each: func(index int64, raw []byte, _ *Leaf) error {
					if index%c2sp.TileWidth == 0 { // it saves time
						require.Equal(t, mine, goroutine())
						require.True(t, bytes.Equal(c.leaf, raw))
					}
					if index != next {
						return errTold
					}
					next++
					most = max(most, read-int(index/c2sp.TileWidth))
					return nil
				},
			}
			r, err := w.Verify(t.Context())
			require.NoError(t, err)
			require.Equal(t, Unanchored, r.Verdict, "%+v", r.Faults)
			require.Equal(t, c.most, most)
		})
	}
}

// What VerifyHashes does not find is said: entries that were signed and are no
// leaves. All else it finds, what the log says of itself too.
func TestWhatHashesAloneDoNotFind(t *testing.T) {
	m := newMadeLog(t)
	signed := func(leaves ...string) fs.FS {
		raw := [][]byte{madeLeaf(t, 0)}
		for _, l := range leaves {
			raw = append(raw, []byte(l))
		}
		files, _ := m.files(t, raw, 0)
		return files
	}
	key := aLeaf(KindKey)
	key.Object, key.Reason = Object{Kind: "key", ID: m.short}, ReasonRevoked
	revoked, err := AppendLeaf(nil, &key)
	require.NoError(t, err)
	beat := aLeaf(KindBeat)
	stray, err := AppendLeaf(nil, &beat)
	require.NoError(t, err)
	beat.Size = 1
	placed, err := AppendLeaf(nil, &beat)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		files             fs.FS
		entries, byHashes Verdict
		parsed            int64
	}{
		"a sound log":                          {signed(), Unanchored, Unanchored, 0},
		"no JSON":                              {signed("hello"), Tampered, Unanchored, 0},
		"nothing":                              {signed(""), Tampered, Unanchored, 0},
		"a member missing":                     {signed(`{"kind":"event","v":1}`), Tampered, Unanchored, 0},
		"a beat":                               {signed(string(placed)), Unanchored, Unanchored, 1},
		"a beat out of its place":              {signed(string(stray)), Tampered, Tampered, 1},
		"a key that is revoked":                {signed(string(revoked)), Tampered, Tampered, 1},
		"a key, and no leaf":                   {signed(`{"kind":"key","v":1}`), Tampered, Tampered, 1},
		"a key in another spelling is no leaf": {signed(`{"kind":"\u006bey","v":1}`), Tampered, Unanchored, 0},
		"words of another member":              {signed(`{"action":"a","actor":"u","at":"2026-11-22T08:30:00.000001Z","id":"` + anID + `","inner":{"kind":"key"},"kind":"event","outcome":"ok","tenant":"main","v":1}`), Unanchored, Unanchored, 1},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := VerifyLog(t.Context(), c.files, Trust{Key: m.key})
			require.NoError(t, err)
			require.Equal(t, c.entries, want.Verdict, "%+v", want.Faults)
			got, err := VerifyHashes(t.Context(), c.files, Trust{Key: m.key})
			require.NoError(t, err)
			require.Equal(t, c.byHashes, got.Verdict, "%+v", got.Faults)
			require.Equal(t, want.Verified, got.Verified)
			require.Equal(t, want.Verified, want.Parsed)
			require.Equal(t, c.parsed, got.Parsed)
			if want.Verdict == got.Verdict {
				got.Parsed = want.Parsed
				require.Equal(t, want, got)
			}
		})
	}
	_, err = VerifyHashes(t.Context(), nil, Trust{Key: m.key})
	require.ErrorIs(t, err, ErrInvalid)

	files, _ := m.files(t, madeLeaves(t, 300), 0)
	heard := 0
	w := Walk{Read: (&folder{fsys: files}).read, Trust: Trust{Key: m.key}, HashesOnly: true, Each: func(index int64, raw []byte, leaf *Leaf) error {
		require.Nil(t, leaf)
		require.Equal(t, string(madeLeaf(t, heard)), string(raw))
		require.EqualValues(t, heard, index)
		heard++
		return nil
	}}
	_, err = w.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, 300, heard)
}

// An entry of a kind that is looked for is never passed over.
func TestNoLeafOfTheLogItselfIsPassedOver(t *testing.T) {
	for _, raw := range leafSeeds(t) {
		leaf, err := ParseLeaf(raw)
		if err == nil && (leaf.Kind == KindKey || leaf.Kind == KindBeat || leaf.Kind == KindPrune) {
			require.True(t, tells(raw), "%s", raw)
		}
	}
	for _, kind := range kinds() {
		l := aLeaf(kind)
		raw, err := AppendLeaf(nil, &l)
		require.NoError(t, err)
		require.Equal(t, kind == KindKey || kind == KindBeat || kind == KindPrune, tells(raw), kind)
	}
}

func FuzzTells(f *testing.F) {
	for _, raw := range leafSeeds(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if leaf, err := ParseLeaf(raw); err == nil && (leaf.Kind == KindKey || leaf.Kind == KindBeat || leaf.Kind == KindPrune) && !tells(raw) {
			t.Fatalf("passed over: %s", raw)
		}
	})
}

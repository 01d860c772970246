package auditlog

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// toldLeaves are entries with something to tell: keys that come and go, and beats,
// one of which is out of its place. Signed they are all the same.
func toldLeaves(t testing.TB, m *madeLog, n int) [][]byte {
	t.Helper()
	out := madeLeaves(t, n)
	put := func(i int, l Leaf) {
		if i >= n {
			return
		}
		l.ID = fmt.Sprintf("0196b3a0-2222-7222-8333-%012x", i)
		data, err := AppendLeaf(nil, &l)
		require.NoError(t, err)
		out[i] = data
	}
	key := aLeaf(KindKey)
	key.Object, key.Reason = Object{Kind: "key", ID: m.short}, ReasonRotated
	put(1, key)
	beat := aLeaf(KindBeat)
	beat.Size = 2
	put(2, beat)
	put(3, aLeaf(KindGap))
	if n > 300 {
		beat.Size = 256
		put(256, beat)
		put(299, beat) // signed, and out of its place
		key.Object.ID, key.Reason = "00000000+AAAA", ReasonRevoked
		put(298, key)
		prune := aLeaf(KindPrune)
		prune.Object = PruneObject(PruneEntries, 256)
		put(295, prune)
		out[297] = []byte("no leaf")
		out[296] = []byte(`{"kind":"key"}`)
	}
	return out
}

// sameJudgement verifies files in each way there is, and requires one report.
func sameJudgement(t require.TestingT, files fs.FS, trust Trust) Report {
	ctx := context.Background()
	slow, err := slowVerify(ctx, &Walk{Read: (&folder{fsys: files}).read, Trust: trust})
	require.NoError(t, err)
	fast, err := VerifyLog(ctx, files, trust)
	require.NoError(t, err)
	require.Equal(t, slow, fast)

	// What is handed back is used no more, and what somebody listens to is not
	// handed back.
	spoiled := &Walk{Read: (&folder{fsys: files}).read, Trust: trust, release: func(data []byte) { clear(data) }}
	again, err := spoiled.Verify(ctx)
	require.NoError(t, err)
	require.Equal(t, slow, again)
	type entry struct {
		index int64
		raw   []byte // kept, as whoever listens may
		leaf  *Leaf
	}
	var heard, wanted []entry
	listen := func(to *[]entry) func(int64, []byte, *Leaf) error {
		return func(index int64, raw []byte, leaf *Leaf) error {
			*to = append(*to, entry{index, raw, leaf})
			return nil
		}
	}
	spoiled.Each = listen(&heard)
	again, err = spoiled.Verify(ctx)
	require.NoError(t, err)
	require.Equal(t, slow, again)
	_, err = slowVerify(ctx, &Walk{Read: spoiled.Read, Trust: trust, Each: listen(&wanted)})
	require.NoError(t, err)
	require.True(t, reflect.DeepEqual(wanted, heard), "what is heard of the entries")
	return slow
}

// sameByHashes requires that the hashes alone lead to the same report.
func sameByHashes(t require.TestingT, files fs.FS, trust Trust, want Report) {
	got, err := VerifyHashes(context.Background(), files, trust)
	require.NoError(t, err)
	require.LessOrEqual(t, got.Parsed, want.Parsed)
	got.Parsed = want.Parsed
	require.Equal(t, want, got)
}

func withFile(files fstest.MapFS, name string, data []byte) fstest.MapFS {
	out := maps.Clone(files)
	out[name] = &fstest.MapFile{Data: data}
	return out
}

func names(files fstest.MapFS) []string { return slices.Sorted(maps.Keys(files)) }

// Every byte of a small log is changed, taken out and doubled, and every file
// cut off there.
func TestEachByteOfASmallLog(t *testing.T) {
	m := newMadeLog(t)
	files, kept := m.files(t, toldLeaves(t, m, 4), 3)
	trust := Trust{Key: m.key, Kept: kept}
	require.Equal(t, OK, sameJudgement(t, files, trust).Verdict)
	for _, name := range names(files) {
		data := files[name].Data
		for i := range data {
			changes := [][]byte{data[:i], slices.Insert(bytes.Clone(data), i, data[i]), slices.Delete(bytes.Clone(data), i, i+1)}
			for _, c := range []byte{data[i] ^ 1, data[i] ^ 0x80, 0} {
				changed := bytes.Clone(data)
				changed[i] = c
				changes = append(changes, changed)
			}
			for _, changed := range changes {
				if bytes.Equal(changed, data) {
					continue
				}
				damaged := withFile(files, name, changed)
				slow, err := slowVerify(t.Context(), &Walk{Read: (&folder{fsys: damaged}).read, Trust: trust})
				require.NoError(t, err)
				fast, err := VerifyLog(t.Context(), damaged, trust)
				require.NoError(t, err)
				require.Equal(t, slow, fast, "%s, byte %d", name, i)
				sameByHashes(t, damaged, trust, slow)
				if name != CheckpointFile { // a signature has more than one spelling
					require.NotEqual(t, OK, fast.Verdict, "%s, byte %d", name, i)
				}
			}
		}
	}
}

// Logs of many sizes, damaged in many ways at once, are judged as one entry
// after another is.
func TestADamagedLogIsJudgedAsOneEntryAfterAnotherIs(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	m := newMadeLog(t)
	other := newMadeLog(t)
	type log struct {
		files fstest.MapFS
		kept  []byte
	}
	var logs []log
	for _, size := range []int{1, 2, 255, 256, 257, 511, 512, 600, 1500} {
		for _, kept := range []int{1, size / 2, 256, size - 1, size} {
			files, checkpoint := m.files(t, toldLeaves(t, m, size), kept)
			if kept == 256 && size > 512 {
				_, checkpoint = m.files(t, madeLeaves(t, size), kept) // of another history
			}
			logs = append(logs, log{files, checkpoint})
		}
	}
	strange, _ := other.files(t, madeLeaves(t, 300), 0)
	rapid.Check(t, func(t *rapid.T) {
		runtime.GOMAXPROCS(rapid.IntRange(1, 4).Draw(t, "processors"))
		one := logs[rapid.IntRange(0, len(logs)-1).Draw(t, "log")]
		files := maps.Clone(one.files)
		for range rapid.IntRange(0, 4).Draw(t, "damages") {
			damage(t, files, strange)
		}
		trust := Trust{Key: m.key}
		if rapid.Bool().Draw(t, "anchored") {
			trust.Kept = one.kept
		}
		sameJudgement(t, files, trust)
	})
}

func damage(t *rapid.T, files, strange fstest.MapFS) {
	all := names(files)
	if len(all) == 0 {
		return
	}
	name := rapid.SampledFrom(all).Draw(t, "file")
	data := bytes.Clone(files[name].Data)
	place := 0
	if len(data) > 0 {
		place = rapid.IntRange(0, len(data)-1).Draw(t, "place")
	}
	put := func(data []byte) { files[name] = &fstest.MapFile{Data: data} }
	switch rapid.SampledFrom([]string{"change", "cut", "longer", "delete", "exchange", "strange", "full", "folder", "out", "bundle and hashes"}).Draw(t, "kind") {
	case "change":
		if len(data) > 0 {
			data[place] ^= rapid.ByteRange(1, 255).Draw(t, "bits")
			put(data)
		}
	case "cut":
		put(data[:place])
	case "out":
		if len(data) > 0 {
			put(slices.Delete(data, place, place+1))
		}
	case "longer":
		put(append(data, rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "more")...))
	case "delete":
		delete(files, name)
	case "exchange":
		with := rapid.SampledFrom(all).Draw(t, "with")
		files[name], files[with] = files[with], files[name]
	case "strange":
		if f := strange[name]; f != nil {
			files[name] = f
		}
	case "full": // the full tile stands for the one that is not
		if at := bytes.Index([]byte(name), []byte(".p/")); at > 0 {
			delete(files, name)
			files[name[:at]] = &fstest.MapFile{Data: data}
		}
	case "folder":
		files[name] = &fstest.MapFile{Mode: fs.ModeDir | 0o700}
	case "bundle and hashes":
		delete(files, c2sp.TilePath(c2sp.Tile(-1, 0, c2sp.TileWidth)))
		delete(files, c2sp.TilePath(c2sp.Tile(0, 0, c2sp.TileWidth)))
	}
}

// More levels of tiles than two, and a kept checkpoint in each of the places where
// tiles end.
func TestALogOfThreeLevels(t *testing.T) {
	const size = 256*256 + 3
	m := newMadeLog(t)
	leaf := madeLeaf(t, 0)
	leaves := slices.Repeat([][]byte{leaf}, size)
	for _, n := range []int{1, 255, 256, 257, 256 * 256, size - 1, size} {
		files, kept := m.files(t, leaves, n)
		got, err := VerifyLog(t.Context(), files, Trust{Key: m.key, Kept: kept})
		require.NoError(t, err)
		require.Equal(t, OK, got.Verdict, "%+v", got.Faults)
		require.EqualValues(t, size, got.Verified)
		require.Equal(t, got.Verified, got.Parsed)
	}
	files, kept := m.files(t, leaves, 256*256)
	for _, name := range []string{"tile/1/000", "tile/2/000.p/1", "tile/0/255", "tile/0/256.p/3"} {
		data := bytes.Clone(files[name].Data)
		data[len(data)-1] ^= 1
		damaged := withFile(files, name, data)
		trust := Trust{Key: m.key, Kept: kept}
		want, err := slowVerify(t.Context(), &Walk{Read: (&folder{fsys: damaged}).read, Trust: trust})
		require.NoError(t, err)
		require.Equal(t, Tampered, want.Verdict)
		got, err := VerifyLog(t.Context(), damaged, trust)
		require.NoError(t, err)
		require.Equal(t, want, got)
		sameByHashes(t, damaged, trust, want)
	}
}

// FuzzDamage changes a log byte by byte.
func FuzzDamage(f *testing.F) {
	m := newMadeLog(f)
	files, kept := m.files(f, toldLeaves(f, m, 310), 256)
	all := names(files)
	f.Add([]byte{0, 0, 1, 5}, true)
	f.Add([]byte{1, 1, 44, 0x20, 3, 0, 0, 1}, false)
	f.Fuzz(func(t *testing.T, in []byte, anchored bool) {
		damaged := maps.Clone(files)
		for ; len(in) >= 4; in = in[4:] { // file, place, what
			name := all[int(in[0])%len(all)]
			data := bytes.Clone(damaged[name].Data)
			place := (int(in[1])<<8 | int(in[2])) % len(data)
			if in[3] == 0 {
				data = data[:max(1, place)]
			} else {
				data[place] ^= in[3]
			}
			damaged[name] = &fstest.MapFile{Data: data}
		}
		trust := Trust{Key: m.key}
		if anchored {
			trust.Kept = kept
		}
		sameJudgement(t, damaged, trust)
	})
}

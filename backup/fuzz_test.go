package backup

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzPackHeader(f *testing.F) {
	key := testKey(f)
	id := hashOf([]byte("a"))
	blobs := []packedBlob{{blobKey: blobKey{id: id}, length: 40}, {blobKey: blobKey{id: id, tree: true}, offset: 40, length: 50, plain: 100, packed: true}}
	pack := appendPackHeader(make([]byte, 90), blobs, key)
	header, err := key.open(bytes.Clone(pack[90 : len(pack)-4]))
	require.NoError(f, err)
	f.Add(header, int64(90))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, header []byte, size int64) {
		blobs, err := decodePackHeader(header, size)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		var end int64
		for _, b := range blobs {
			require.EqualValues(t, end, b.offset)
			end += int64(b.length)
		}
		require.Equal(t, size, end)
		again := appendPackHeader(nil, blobs, key)
		plain, err := key.open(again[:len(again)-4])
		require.NoError(t, err)
		require.Equal(t, header, append([]byte{}, plain...))
	})
}

func FuzzOpenPack(f *testing.F) {
	key := testKey(f)
	f.Add(appendPackHeader(make([]byte, 90), []packedBlob{{length: 90}}, key))
	f.Fuzz(func(t *testing.T, pack []byte) {
		if _, err := openPack(pack, key); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		}
	})
}

func FuzzIndex(f *testing.F) {
	document, err := encodeIndex([]indexedPack{{id: hashOf(nil), blobs: []packedBlob{{length: 90}, {blobKey: blobKey{tree: true}, offset: 90, length: 50, plain: 9, packed: true}}}})
	require.NoError(f, err)
	f.Add(document)
	f.Fuzz(func(t *testing.T, document []byte) {
		packs, err := decodeIndex(document)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		again, err := encodeIndex(packs)
		require.NoError(t, err)
		same, err := decodeIndex(again)
		require.NoError(t, err)
		require.Equal(t, packs, same)
	})
}

func FuzzTree(f *testing.F) {
	n := newNode(nodeFile, 0o600, time.Unix(1, 0))
	n.Content = []blobID{hashOf(nil)}
	document, err := encodeTree(map[string]*node{"a\xff\n": n})
	require.NoError(f, err)
	f.Add(document)
	f.Fuzz(func(t *testing.T, document []byte) {
		nodes, err := decodeTree(document)
		if err != nil {
			return
		}
		for _, n := range nodes {
			require.True(t, safeName(n.Name))
			require.NotContains(t, n.Name, "/")
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	data, err := encodeKeyFile(testKey(f), NewMachineKey(), time.Unix(0, 0))
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := decodeKeyFile(data)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.LessOrEqual(t, k.N*k.R*128, maxKDFMemory)
		if k.N*k.R*k.P <= 1<<14 {
			_, _ = k.open("password")
		}
	})
}

func FuzzSealedFile(f *testing.F) {
	key := testKey(f)
	p, err := newPacker(key)
	require.NoError(f, err)
	u := newUnpacker(key)
	f.Add([]byte(`{"a":1}`))
	f.Add([]byte{compressedFile, 0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(t *testing.T, plain []byte) {
		sealed, err := p.file(plain)
		require.NoError(t, err)
		got, err := u.file(sealed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, got))
		_, _ = u.file(key.seal(nil, plain)) // whatever encoding the bytes claim
		_, _ = u.blob(key.seal(nil, plain), packedBlob{length: uint32(len(plain) + overhead), packed: true, plain: 100})
	})
}

func FuzzSnapshotAndManifest(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-02T03:04:05Z","tree":"` + hashOf(nil).String() + `","paths":["/a"],"tags":["crmguard","job:x"]}`))
	f.Add([]byte(`{"started":"2026-11-22T00:02:03.004005Z","v":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := decodeSnapshot(blobID{}, data); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		}
		if _, err := DecodeManifest(t.Context(), data, nil); err != nil {
			require.ErrorIs(t, err, ErrManifest)
		}
		var c configJSON
		_ = c.decode(data)
	})
}

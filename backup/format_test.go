package backup

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// Vectors of the notes: the first is restic's own test polynomial.
func TestIrreducible(t *testing.T) {
	for text, want := range map[string]bool{
		"3DA3358B4DC173": true, "25b468838dcb75": true, "20000000000001": false, "3da3358b4dc174": false,
		"3": true, "2": true, "7": true, "5": false, "b": true, "9": false, "11b": true, "11a": false, "0": false, "1": false,
		"8000000000000000": false,
	} {
		_, err := parsePolynomial(text)
		require.Equal(t, want, err == nil, text)
	}
	for range 20 {
		p := randomPolynomial()
		require.Equal(t, polynomialDegree, p.degree())
		again, err := parsePolynomial(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
	}
	_, err := parsePolynomial("no number")
	require.ErrorIs(t, err, ErrCorrupt)
}

// Against trial division by every polynomial of up to half the degree.
func TestIrreducibleAgainstTrialDivision(t *testing.T) {
	for p := polynomial(2); p < 1<<11; p++ {
		slow := true
		for d := polynomial(2); 2*d.degree() <= p.degree(); d++ {
			slow = slow && p.mod(d) != 0
		}
		require.Equal(t, slow, p.irreducible(), "%x", uint64(p))
	}
}

func testKey(tb testing.TB) *masterKey {
	tb.Helper()
	raw := make([]byte, 64)
	for i := range raw {
		raw[i] = byte(i)
	}
	key, err := newMasterKey(raw)
	require.NoError(tb, err)
	return key
}

// Computed with Python's hmac: HKDF-SHA256 with empty salt over bytes 00..3f.
func TestChunkerKeyVector(t *testing.T) {
	key, err := testKey(t).chunkerKey()
	require.NoError(t, err)
	require.Equal(t, chunkerVector, hex.EncodeToString(key))
}

// Where the chunker cuts is part of the format: other cuts would store all
// data a second time.
func TestChunksAreFrozen(t *testing.T) {
	key := testKey(t)
	data := make([]byte, 0, 20<<20)
	for i := uint32(0); len(data) < 20<<20; i++ {
		id := hashOf([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		data = append(data, id[:]...)
	}
	pipe, err := newPipeline(t.Context(), &fanout{}, key, nil)
	require.NoError(t, err)
	defer pipe.close()
	var sizes []int
	pipe.source.r = bytes.NewReader(data)
	pipe.chunk.Reset(pipe.source)
	for {
		chunk, err := pipe.chunk.Next()
		if len(chunk) > 0 {
			sizes = append(sizes, len(chunk))
		}
		if err != nil || len(chunk) == 0 {
			break
		}
	}
	require.Equal(t, frozenChunks, sizes)
}

func TestSealOpens(t *testing.T) {
	key := testKey(t)
	for n := range 70 {
		plain := bytes.Repeat([]byte{byte(n)}, n)
		sealed := key.seal([]byte("before"), plain)
		require.Equal(t, "before", string(sealed[:6]))
		got, err := key.open(bytes.Clone(sealed[6:]))
		require.NoError(t, err)
		require.Equal(t, plain, append([]byte{}, got...))
		for i := 6; i < len(sealed); i++ {
			bad := bytes.Clone(sealed[6:])
			bad[i-6] ^= 0x10
			_, err := key.open(bad)
			require.ErrorIs(t, err, ErrCorrupt)
		}
	}
	_, err := key.open(make([]byte, overhead-1))
	require.ErrorIs(t, err, ErrCorrupt)
	_, err = key.open(make([]byte, overhead))
	require.ErrorIs(t, err, ErrCorrupt)
	_, err = newMasterKey(make([]byte, 64))
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestKeyFilesTellNothing(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	master, err := randomMasterKey()
	require.NoError(t, err)
	light, err := encodeKeyFile(master, NewMachineKey(), time.Now())
	require.NoError(t, err)
	require.NotContains(t, string(light), `"`+host+`"`)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(light, &fields))
	require.Equal(t, "crmguard", fields["hostname"])
	require.Equal(t, "crmguard", fields["username"])
	require.True(t, strings.HasSuffix(fields["created"].(string), "T00:00:00Z"))
	require.EqualValues(t, 1024, fields["N"])
	heavy, err := encodeKeyFile(master, NewPassphrase(NewMachineKey().Password()), time.Now())
	require.NoError(t, err)
	f, err := decodeKeyFile(heavy)
	require.NoError(t, err)
	require.Equal(t, []int{32768, 8, 6}, []int{f.N, f.R, f.P}, "a string is never trusted to be random")
	require.Len(t, f.Salt, 64)
	again, err := encodeKeyFile(master, NewMachineKey(), time.Now())
	require.NoError(t, err)
	g, err := decodeKeyFile(again)
	require.NoError(t, err)
	require.NotEqual(t, f.Salt, g.Salt)
	_, err = encodeKeyFile(master, NewPassphrase(""), time.Now())
	require.ErrorIs(t, err, ErrConfig)
}

func TestKeyFileCostsAreBounded(t *testing.T) {
	good := keyFile{KDF: "scrypt", N: 2, R: 1, P: 1, Salt: make([]byte, 64), Data: make([]byte, 100)}
	for name, change := range map[string]func(f *keyFile){
		"kdf": func(f *keyFile) { f.KDF = "argon2" }, "N": func(f *keyFile) { f.N = 3 }, "N of 1": func(f *keyFile) { f.N = 1 }, "N negative": func(f *keyFile) { f.N = -4 },
		"r": func(f *keyFile) { f.R = 0 }, "p": func(f *keyFile) { f.P = 0 }, "memory": func(f *keyFile) { f.N, f.R = 1<<20, 8 },
		"huge": func(f *keyFile) { f.N = 1 << 40 }, "overflow": func(f *keyFile) { f.R = 1 << 60 }, "work": func(f *keyFile) { f.N, f.R, f.P = 1<<18, 8, 1<<10 },
		"passes": func(f *keyFile) { f.P = 1 << 30 }, "salt": func(f *keyFile) { f.Salt = f.Salt[:32] }, "data": func(f *keyFile) { f.Data = nil },
	} {
		f := good
		change(&f)
		raw, err := json.Marshal(f)
		require.NoError(t, err)
		_, err = decodeKeyFile(raw)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	_, err := decodeKeyFile([]byte("{"))
	require.ErrorIs(t, err, ErrCorrupt)
}

// A compressed blob that lies about its size costs at most that size.
func TestBombsAreBounded(t *testing.T) {
	key := testKey(t)
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	bomb := enc.EncodeAll(make([]byte, 100<<20), nil)
	sealed := key.seal(nil, bomb)
	u := newUnpacker(key)
	before := allocated(t)
	_, err = u.blob(bytes.Clone(sealed), packedBlob{length: uint32(len(sealed)), packed: true, plain: 1000})
	require.ErrorIs(t, err, ErrCorrupt)
	_, err = u.file(key.seal(nil, append([]byte{compressedFile}, bomb...)))
	require.ErrorIs(t, err, ErrCorrupt)
	require.Less(t, allocated(t)-before, uint64(64<<20))
	require.ErrorIs(t, packedBlob{length: maxBlobSize + 1}.check(), ErrCorrupt)
	require.ErrorIs(t, packedBlob{length: 100, plain: maxBlobSize + 1}.check(), ErrCorrupt)
}

// Streams without stated size exist: restic's own frames have none.
func TestFilesWithoutStatedSizeOpen(t *testing.T) {
	key := testKey(t)
	var packed bytes.Buffer
	enc, err := zstd.NewWriter(&packed)
	require.NoError(t, err)
	document := append([]byte{'['}, bytes.Repeat([]byte("1,"), 2<<20)...)
	_, err = enc.Write(document)
	require.NoError(t, err)
	require.NoError(t, enc.Close())
	got, err := newUnpacker(key).file(key.seal(nil, append([]byte{compressedFile}, packed.Bytes()...)))
	require.NoError(t, err)
	require.Equal(t, document, got)
	for _, bad := range [][]byte{{}, {7}, {compressedFile}, {compressedFile, 1, 2, 3}} {
		_, err := newUnpacker(key).file(key.seal(nil, bad))
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

func TestPackHeaderRoundTrip(t *testing.T) {
	key := testKey(t)
	p, err := newPacker(key)
	require.NoError(t, err)
	var b packBuilder
	for i, plain := range [][]byte{[]byte("raw"), bytes.Repeat([]byte("packed"), 100), {}} {
		sealed, blob := p.blob(nil, plain, blobKey{id: hashOf(plain), tree: i == 1})
		if i == 0 { // as other programs may, and we do not
			sealed = key.seal(nil, plain)
			blob.packed, blob.plain, blob.length = false, 0, uint32(len(sealed))
		}
		blob.offset = uint32(len(b.buf))
		b.buf, b.blobs = append(b.buf, sealed...), append(b.blobs, blob)
	}
	pack := appendPackHeader(bytes.Clone(b.buf), b.blobs, key)
	got, err := openPack(pack, key)
	require.NoError(t, err)
	require.Equal(t, b.blobs, got)
	require.True(t, got[1].packed)
	require.False(t, got[0].packed)
	require.EqualValues(t, len(pack), indexedPack{blobs: got}.size())
	for i := range pack[len(b.buf):] {
		bad := bytes.Clone(pack)
		bad[len(b.buf)+i] ^= 1
		_, err := openPack(bad, key)
		require.ErrorIs(t, err, ErrCorrupt)
	}
	gap := appendPackHeader(append(bytes.Clone(b.buf), 0), b.blobs, key)
	_, err = openPack(gap, key)
	require.ErrorIs(t, err, ErrCorrupt, "bytes that belong to no blob")
	short := appendPackHeader(bytes.Clone(b.buf[1:]), b.blobs, key)
	_, err = openPack(short, key)
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestTreesAreWrittenAsResticWould(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	mk := func() *node {
		n := newNode(nodeFile, 0o600, at)
		n.UID, n.GID, n.Content = 1, 2, []blobID{}
		return n
	}
	out, err := encodeTree(map[string]*node{"b<\n\xff": mk(), "B": mk()})
	require.NoError(t, err)
	require.Equal(t, `{"nodes":[{"name":"B","type":"file","mode":384,"mtime":"2026-01-02T03:04:05.000000006Z","atime":"2026-01-02T03:04:05.000000006Z","ctime":"2026-01-02T03:04:05.000000006Z","uid":1,"gid":2,"content":[]},`+
		`{"name":"b\u003c\\n\\xff","type":"file","mode":384,"mtime":"2026-01-02T03:04:05.000000006Z","atime":"2026-01-02T03:04:05.000000006Z","ctime":"2026-01-02T03:04:05.000000006Z","uid":1,"gid":2,"content":[]}]}`+"\n", string(out))
	nodes, err := decodeTree(out)
	require.NoError(t, err)
	require.Equal(t, "b<\n\xff", nodes[1].Name)
	empty, err := encodeTree(nil)
	require.NoError(t, err)
	require.Equal(t, "{\"nodes\":[]}\n", string(empty))
}

func TestUnsafeNamesAreRefused(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "/etc", `\x00`, `a\x00b`, "../x"} {
		document, err := json.Marshal(map[string]any{"nodes": []any{map[string]any{"name": name, "type": "file", "content": []string{}}}})
		require.NoError(t, err)
		_, err = decodeTree(document)
		require.ErrorIs(t, err, ErrUnsafeName, name)
	}
	for _, document := range []string{
		`{"nodes":[{"name":"a","type":"file"},{"name":"a","type":"file"}]}`, `{"nodes":[{"name":"a","type":"file"},{"name":"\\x61","type":"file"}]}`,
	} {
		_, err := decodeTree([]byte(document))
		require.ErrorIs(t, err, ErrUnsafeName, document)
	}
	for _, document := range []string{`{"nodes":[null]}`, `{"nodes":[{"name":"\\q"}]}`, `{"nodes":[{"name":"d","type":"dir"}]}`, `[]`, `{"nodes":[{"name":"a","type":"file","size":18446744073709551615}]}`, `{"nodes":[{"name":"a","content":["00"]}]}`} {
		_, err := decodeTree([]byte(document))
		require.ErrorIs(t, err, ErrCorrupt, document)
	}
}

func TestIndexDecoderRefuses(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for _, blob := range []string{
		`{"id":"` + id + `","type":"file","offset":0,"length":100}`, `{"id":"` + id + `","type":"data","offset":4294967295,"length":100}`,
		`{"id":"` + id + `","type":"data","offset":0,"length":3}`, `{"id":"` + id + `","type":"data","offset":0,"length":100,"uncompressed_length":4000000000}`,
		`{"id":"zz","type":"data","offset":0,"length":100}`, `{"id":"` + id + `","type":"data","offset":-1,"length":100}`,
	} {
		_, err := decodeIndex([]byte(`{"packs":[{"id":"` + id + `","blobs":[` + blob + `]}]}`))
		require.ErrorIs(t, err, ErrCorrupt, blob)
	}
	for _, other := range []string{`{}`, `{"packs":null}`, `{"time":"2026-11-22T00:02:03Z","tree":"` + id + `"}`} {
		_, err := decodeIndex([]byte(other))
		require.ErrorIs(t, err, ErrCorrupt, "what is no index is no empty one")
	}
	_, err := decodeIndex([]byte(`{"packs":[]}`))
	require.NoError(t, err)
}

func TestObservation(t *testing.T) {
	var names []string
	c := Config{Observe: func(_ context.Context, name string, _ float64, _ ...slog.Attr) { names = append(names, name) }}
	c.observe(t.Context(), "x", 1)
	Config{}.observe(t.Context(), "x", 1)
	require.Equal(t, []string{"x"}, names)
}

package c2sp

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The examples of c2sp.org/tlog-tiles, and the edges around them.
func TestTilePaths(t *testing.T) {
	for path, tile := range map[string]tlog.Tile{
		"tile/0/x001/x234/067":       Tile(0, 1234067, TileWidth),
		"tile/0/x001/x234/067.p/8":   Tile(0, 1234067, 8),
		"tile/2/000.p/1":             Tile(2, 0, 1),
		"tile/7/000":                 Tile(7, 0, TileWidth),
		"tile/entries/000":           Tile(-1, 0, TileWidth),
		"tile/entries/999.p/255":     Tile(-1, 999, 255),
		"tile/entries/x001/000.p/44": Tile(-1, 1000, 44),
	} {
		require.Equal(t, path, TilePath(tile))
	}
}

func TestBundles(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 65535)
	var bundle []byte
	entries := [][]byte{[]byte("hello"), {}, long}
	for _, entry := range entries {
		var err error
		bundle, err = AppendEntry(bundle, entry)
		require.NoError(t, err)
	}
	require.Equal(t, []byte("\x00\x05hello\x00\x00\xff\xffxxx"), bundle[:14])
	rest := bundle
	for _, want := range entries {
		var got []byte
		var err error
		got, rest, err = ReadEntry(rest)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.Empty(t, rest)
	_, err := AppendEntry(nil, append(long, 'x'))
	require.ErrorContains(t, err, "65536 bytes")
	for _, short := range []string{"", "\x00", "\x00\x01", "\x00\x05hell"} {
		_, _, err := ReadEntry([]byte(short))
		require.ErrorIs(t, err, errShort, "%q", short)
	}
}

// A tree of n entries is made of the hashes on its right edge alone.
func TestRightEdge(t *testing.T) {
	require.Empty(t, RightEdge(0))
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = stored[index]
		}
		return out, nil
	})
	for n := range int64(300) {
		more, err := tlog.StoredHashes(n, []byte{byte(n), byte(n >> 8)}, reader)
		require.NoError(t, err)
		stored = append(stored, more...)
		want, err := tlog.TreeHash(n+1, reader)
		require.NoError(t, err)
		hashes, err := reader.ReadHashes(RightEdge(n + 1))
		require.NoError(t, err)
		got := hashes[len(hashes)-1]
		for i := len(hashes) - 2; i >= 0; i-- {
			got = tlog.NodeHash(hashes[i], got)
		}
		require.Equal(t, want, got, "%d entries", n+1)
	}
}

// The checkpoint of c2sp.org/tlog-checkpoint.
const published = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

func TestCheckpoints(t *testing.T) {
	origin, tree, err := ParseCheckpoint(published)
	require.NoError(t, err)
	require.Equal(t, "example.com/behind-the-sofa", origin)
	require.EqualValues(t, 20852163, tree.N)
	require.Equal(t, published, FormatCheckpoint(origin, tree))
	extended, again, err := ParseCheckpoint(published + "an extension\nanother\n")
	require.NoError(t, err)
	require.Equal(t, origin, extended)
	require.Equal(t, tree, again)

	lines := strings.Split(published, "\n")
	for name, text := range map[string]string{
		"nothing":            "",
		"no root":            lines[0] + "\n" + lines[1] + "\n",
		"no last newline":    strings.TrimSuffix(published, "\n"),
		"no origin":          strings.TrimPrefix(published, lines[0]),
		"empty extension":    published + "\n",
		"open extension":     published + "open",
		"negative size":      strings.Replace(published, lines[1], "-1", 1),
		"leading zero":       strings.Replace(published, lines[1], "01", 1),
		"plus sign":          strings.Replace(published, lines[1], "+1", 1),
		"too large a size":   strings.Replace(published, lines[1], "9223372036854775808", 1),
		"more than tlog can": strings.Replace(published, lines[1], "4611686018427387905", 1),
		"short root":         strings.Replace(published, lines[2], "CsUYag==", 1),
		"no base64":          strings.Replace(published, lines[2], "?", 1),
		"stray bits":         strings.Replace(published, "q2I=", "q2J=", 1),
		"carriage return":    strings.Replace(published, "q2I=", "q2I=\r", 1),
		"base64 for the web": strings.Replace(published, "om/X", "om_X", 1),
	} {
		_, _, err := ParseCheckpoint(text)
		require.ErrorIs(t, err, errCheckpoint, name)
	}
}

// signedTree is a log of five entries under a key that never changes.
func signedTree(t testing.TB, name, text string) (key note.Verifier, signed []byte) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	secret, public, err := note.GenerateKey(bytes.NewReader(seed[:]), name)
	require.NoError(t, err)
	signer, err := note.NewSigner(secret)
	require.NoError(t, err)
	key, err = note.NewVerifier(public)
	require.NoError(t, err)
	signed, err = note.Sign(&note.Note{Text: text}, signer)
	require.NoError(t, err)
	return key, signed
}

func fiveEntries(t testing.TB) (tree tlog.Tree, proofs []tlog.RecordProof) {
	t.Helper()
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, index := range indexes {
			out = append(out, stored[index])
		}
		return out, nil
	})
	for i := range int64(5) {
		more, err := tlog.StoredHashes(i, fmt.Append(nil, "entry ", i), reader)
		require.NoError(t, err)
		stored = append(stored, more...)
	}
	root, err := tlog.TreeHash(5, reader)
	require.NoError(t, err)
	for i := range int64(5) {
		proof, err := tlog.ProveRecord(5, i, reader)
		require.NoError(t, err)
		proofs = append(proofs, proof)
	}
	return tlog.Tree{N: 5, Hash: root}, proofs
}

func TestACheckpointIsOfTheLogThatSignedIt(t *testing.T) {
	tree, _ := fiveEntries(t)
	key, signed := signedTree(t, "log.example/0", FormatCheckpoint("log.example/0", tree))
	got, err := OpenCheckpoint(signed, key)
	require.NoError(t, err)
	require.Equal(t, tree, got)

	var unverified *note.UnverifiedNoteError
	other, _ := signedTree(t, "other.example/0", "x\n")
	_, err = OpenCheckpoint(signed, other)
	require.ErrorAs(t, err, &unverified, "another key")
	_, foreign := signedTree(t, "log.example/0", FormatCheckpoint("other.example/0", tree))
	_, err = OpenCheckpoint(foreign, key)
	require.ErrorAs(t, err, &unverified, "our key under the checkpoint of another log")

	var invalid *note.InvalidSignatureError
	_, err = OpenCheckpoint(bytes.Replace(signed, []byte("\n5\n"), []byte("\n6\n"), 1), key)
	require.ErrorAs(t, err, &invalid)
	_, hello := signedTree(t, "log.example/0", "hello\n")
	_, err = OpenCheckpoint(hello, key)
	require.ErrorIs(t, err, errCheckpoint)
}

func TestProofs(t *testing.T) {
	tree, proofs := fiveEntries(t)
	key, signed := signedTree(t, "log.example/0", FormatCheckpoint("log.example/0", tree))
	for i, hashes := range proofs {
		record := tlog.RecordHash(fmt.Append(nil, "entry ", i))
		proof := FormatProof(int64(i), hashes, signed)
		require.True(t, bytes.HasPrefix(proof, fmt.Appendf(nil, "c2sp.org/tlog-proof@v1\nindex %d\n", i)))
		require.True(t, bytes.HasSuffix(proof, append([]byte("\n\n"), signed...)))
		got, err := VerifyProof([]note.Verifier{key}, record, proof)
		require.NoError(t, err)
		require.Equal(t, tree, got)
		extra := bytes.Replace(proof, []byte("index"), []byte("extra aGVsbG8=\nindex"), 1)
		_, err = VerifyProof([]note.Verifier{key}, record, extra)
		require.NoError(t, err, "the format has a line of extra data")

		_, err = VerifyProof([]note.Verifier{key}, tlog.RecordHash([]byte("another")), proof)
		require.ErrorIs(t, err, ErrRecord)
		_, err = VerifyProof([]note.Verifier{key}, record, FormatProof(int64(i+1)%5, hashes, signed))
		require.ErrorIs(t, err, ErrRecord)
		_, err = VerifyProof([]note.Verifier{key}, record, FormatProof(5, hashes, signed))
		require.ErrorIs(t, err, ErrRecord, "beyond the tree")
	}
}

// A log that signs an impossible size does not hang whoever verifies it, and
// the largest possible one is computed with.
func TestNoSignedSizeKeepsAVerifierBusy(t *testing.T) {
	for size, malformed := range map[int64]bool{1 << 62: false, 1<<62 + 1: true, math.MaxInt64: true} {
		key, signed := signedTree(t, "log", FormatCheckpoint("log", tlog.Tree{N: size}))
		_, err := VerifyProof([]note.Verifier{key}, tlog.Hash{}, FormatProof(0, make(tlog.RecordProof, 62), signed))
		if malformed {
			require.ErrorIs(t, err, errCheckpoint)
		} else {
			require.ErrorIs(t, err, ErrRecord)
		}
	}
}

func TestMalformedProofs(t *testing.T) {
	tree, proofs := fiveEntries(t)
	key, signed := signedTree(t, "log.example/0", FormatCheckpoint("log.example/0", tree))
	sound := string(FormatProof(3, proofs[3], signed))
	first := proofs[3][0].String()
	for name, proof := range map[string]string{
		"nothing":         "",
		"another header":  strings.Replace(sound, "@v1", "@v2", 1),
		"no index":        strings.Replace(sound, "index 3\n", "", 1),
		"empty index":     strings.Replace(sound, "index 3", "index ", 1),
		"negative index":  strings.Replace(sound, "index 3", "index -3", 1),
		"leading zero":    strings.Replace(sound, "index 3", "index 03", 1),
		"no checkpoint":   strings.Replace(sound, "\n\n", "\n", 1)[:len(sound)-len(signed)-1],
		"no base64":       strings.Replace(sound, first, "?", 1),
		"short hash":      strings.Replace(sound, first, "CsUYag==", 1),
		"carriage return": strings.Replace(sound, first, first+"\r", 1),
		"extra no base64": strings.Replace(sound, "index", "extra ?\nindex", 1),
		"extra twice":     strings.Replace(sound, "index", "extra eA==\nextra eA==\nindex", 1),
		"extra afterward": strings.Replace(sound, "index 3", "index 3\nextra eA==", 1),
	} {
		_, err := VerifyProof([]note.Verifier{key}, tlog.RecordHash([]byte("entry 3")), []byte(proof))
		require.ErrorIs(t, err, errProof, name)
	}
	_, err := VerifyProof([]note.Verifier{key}, tlog.RecordHash([]byte("entry 3")), []byte(strings.Replace(sound, first+"\n", "", 1)))
	require.ErrorIs(t, err, ErrRecord, "a hash too few")
}

// What is read is what would be written: one proof has one text.
func FuzzProof(f *testing.F) {
	tree, proofs := fiveEntries(f)
	key, signed := signedTree(f, "log.example/0", FormatCheckpoint("log.example/0", tree))
	f.Add(FormatProof(3, proofs[3], signed))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra eA==\nindex 0\n\n"))
	f.Fuzz(func(t *testing.T, proof []byte) {
		index, hashes, rest, err := parseProof(string(proof))
		if err != nil {
			if !errors.Is(err, errProof) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Contains(proof, []byte("\nextra ")) && !bytes.Equal(proof, FormatProof(index, hashes, []byte(rest))) {
			t.Fatalf("%q is written otherwise", proof)
		}
		_, _ = VerifyProof([]note.Verifier{key}, tlog.Hash{}, proof)
	})
}

package auditlog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// samples are one of each thing that has bytes of its own, frozen beside the
// frozen log. testdata/formats.py reads them too.
type samples struct {
	Leaves  map[string]string `json:"leaves"` // by kind
	Content []string          `json:"content"`
	Event   string            `json:"event"` // the id; what follows is hex
	Owners  []string          `json:"owners"`
	Plains  []string          `json:"plains"`
	Frames  string            `json:"frames"`
	Tag     string            `json:"tag"`
	Row     string            `json:"row"`
}

const samplesFile = "testdata/v1/samples.json"

func readSamples(t *testing.T) (s samples) {
	t.Helper()
	data, err := os.ReadFile(samplesFile)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &s))
	require.Len(t, s.Leaves, len(kinds()))
	return s
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	require.NoError(t, err)
	return data
}

func TestFrozenLeavesOfEachKind(t *testing.T) {
	s := readSamples(t)
	for _, kind := range kinds() {
		l, err := ParseLeaf([]byte(s.Leaves[kind]))
		require.NoError(t, err, kind)
		require.Equal(t, aLeaf(kind), l)
		data, err := AppendLeaf(nil, &l)
		require.NoError(t, err)
		require.Equal(t, s.Leaves[kind], string(data))
	}
}

// The frozen row comes apart, its openings open and match its leaf; with one bit
// turned anywhere in what is sealed, nothing opens.
func TestFrozenRowAndOpenings(t *testing.T) {
	s := readSamples(t)
	row := unhex(t, s.Row)
	b, err := ParseRowBody(row)
	require.NoError(t, err)
	again, err := AppendRowBody(nil, b)
	require.NoError(t, err)
	require.Equal(t, row, again)
	require.Equal(t, s.Tag, hex.EncodeToString(b.Tag))
	require.Equal(t, s.Frames, hex.EncodeToString(b.Sealed))
	l, err := ParseLeaf(b.Leaf)
	require.NoError(t, err)
	require.Equal(t, s.Event, l.ID)
	event, err := ParseID(l.ID)
	require.NoError(t, err)
	parsed, err := ParseFrames(b.Sealed)
	require.NoError(t, err)
	require.Equal(t, b.Sealed, AppendFrames(nil, parsed))
	require.Len(t, parsed, len(s.Owners))
	for i, f := range parsed {
		content := [32]byte(unhex(t, s.Content[i]))
		require.Equal(t, s.Owners[i], hex.EncodeToString(f.Owner[:]))
		plain, err := OpenBody(&content, event, f.Owner, f.Body)
		require.NoError(t, err)
		require.Equal(t, s.Plains[i], hex.EncodeToString(plain))
		o, err := ParseBody(plain)
		require.NoError(t, err)
		require.Equal(t, plain, body(t, o))
		require.NoError(t, o.Matches(&l, f.OwnerName()))
		for at := range f.Body {
			turned := bytes.Clone(f.Body)
			turned[at] ^= 1
			_, err := OpenBody(&content, event, f.Owner, turned)
			require.ErrorIs(t, err, ErrTampered)
		}
	}
}

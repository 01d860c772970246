//go:build freeze

package auditlog

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
)

// TestFreezeSamples writes testdata/v1/samples.json anew: go test -tags freeze
// -run TestFreezeSamples. Never again once it has been released.
func TestFreezeSamples(t *testing.T) {
	s := samples{Leaves: make(map[string]string), Event: anID}
	for _, kind := range kinds() {
		l := aLeaf(kind)
		data, err := AppendLeaf(nil, &l)
		require.NoError(t, err)
		s.Leaves[kind] = string(data)
	}
	l := aLeaf(KindEvent)
	l.Changes, l.Persons = nil, []string{surrogate(1), surrogate(2)}
	event, err := ParseID(l.ID)
	require.NoError(t, err)
	var sealed []Frame
	for i := range byte(3) {
		o, owner, who := anOpening(), [16]byte{}, ""
		if i > 0 {
			owner, who = [16]byte(bytes.Repeat([]byte{i}, 16)), surrogate(i)
		}
		o.Seed[0], o.Fields[0].Value = i, frame.Value{Type: frame.Text, Data: []byte{'a' + i}}
		plain := body(t, o)
		changes, _ := o.spread(event, who)
		l.Changes = append(l.Changes, changes...)
		content := counted(16 * i)
		f, err := SealBody(nil, &content, event, owner, plain)
		require.NoError(t, err)
		sealed = append(sealed, Frame{owner, f})
		s.Content, s.Owners, s.Plains = append(s.Content, hex.EncodeToString(content[:])), append(s.Owners, hex.EncodeToString(owner[:])), append(s.Plains, hex.EncodeToString(plain))
	}
	slices.SortFunc(l.Changes, func(a, b LeafChange) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Who, b.Who)) })
	tag := bytes.Repeat([]byte{7}, TagSize)
	leaf, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	frames := AppendFrames(nil, sealed)
	row, err := AppendRowBody(nil, RowBody{tag, leaf, frames})
	require.NoError(t, err)
	s.Frames, s.Tag, s.Row = hex.EncodeToString(frames), hex.EncodeToString(tag), hex.EncodeToString(row)
	data, err := json.MarshalIndent(s, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(samplesFile, append(data, '\n'), 0o644))
}

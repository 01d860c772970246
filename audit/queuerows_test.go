package audit

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// tagged is a row that waits as a process with the keys of the log would write it.
func (s *till) tagged(t *testing.T, id [16]byte, l *auditlog.Leaf, frames []auditlog.Frame) waiting {
	t.Helper()
	leaf, err := auditlog.AppendLeaf(nil, l)
	require.NoError(t, err)
	sealed, err := auditlog.AppendFrames(nil, frames)
	require.NoError(t, err)
	if len(frames) == 0 {
		sealed = nil
	}
	keys, err := s.macKeys(t.Context(), "main", queueKeyLabel)
	require.NoError(t, err)
	body, err := auditlog.AppendRowBody(nil, auditlog.RowBody{Tag: queueTag(nil, &keys[0], s.config.Name, "main", sealed, leaf), Leaf: leaf, Sealed: sealed})
	require.NoError(t, err)
	return waiting{seq: 1, id: id[:], body: body}
}

func (s *till) refused(t *testing.T, w waiting) (why string, definite bool) {
	t.Helper()
	keys := newPassKeys()
	defer keys.wipe()
	good, refused, err := s.verify(t.Context(), []waiting{w}, keys)
	require.NoError(t, err)
	if len(good) == 1 {
		return "", false
	}
	return refused[0].why, refused[0].definite
}

// A row holds the openings of those whom its leaf commits to, each of whom an erasure
// finds by the leaf, and the leaf of its own id: also where its tag is right.
func TestARowHoldsWhatItsLeafSays(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared("p1", "p2")
	e := sold(t, "p1")
	e.Persons = []string{"p2"}
	e.Changes = append(e.Changes, Change{Path: "stage", New: "won"})
	r, err := s.check(t.Context(), e)
	require.NoError(t, err)
	require.NoError(t, s.take(r))
	require.NoError(t, s.build(r))
	body, err := auditlog.ParseRowBody(r.row.body)
	require.NoError(t, err)
	frames, err := auditlog.ParseFrames(body.Sealed)
	require.NoError(t, err)
	require.Len(t, frames, 2)
	other := s.tickets.find(s.config.Now(), ticketID{"main", "p2"})
	renamed := append([]auditlog.Frame(nil), frames...)
	renamed[1].Owner = other.surrogate
	unnamed := r.leaf
	unnamed.Persons = []string{other.text}
	var foreign [16]byte
	foreign[0] = 1
	for name, c := range map[string]struct {
		w    waiting
		want string
	}{
		"as it is":               {s.tagged(t, r.id, &r.leaf, frames), ""},
		"one opening less":       {s.tagged(t, r.id, &r.leaf, frames[:1]), refusedOwners},
		"none":                   {s.tagged(t, r.id, &r.leaf, nil), refusedOwners},
		"one more":               {s.tagged(t, r.id, &r.leaf, append(frames[:2:2], auditlog.Frame{Owner: [16]byte(bytes.Repeat([]byte{0xff}, 16)), Body: frames[1].Body})), refusedOwners},
		"another's":              {s.tagged(t, r.id, &r.leaf, renamed), refusedOwners},
		"an owner who is no one": {s.tagged(t, r.id, &unnamed, frames), refusedOwners},
		"under another id":       {s.tagged(t, foreign, &r.leaf, frames), refusedRow},
	} {
		why, _ := s.refused(t, c.w)
		require.Equal(t, c.want, why, name)
	}
}

// A row that is longer than any can be never becomes right, whatever key it names:
// it does not go on waiting, to be read again in each pass.
func TestARowThatIsTooLongWaitsForNoKey(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared("p1")
	r, err := s.check(t.Context(), sold(t, "p1"))
	require.NoError(t, err)
	require.NoError(t, s.take(r))
	require.NoError(t, s.build(r))
	body := bytes.Clone(r.row.body)
	binary.BigEndian.PutUint32(body[2:], binary.BigEndian.Uint32(body[2:])+1)
	why, definite := s.refused(t, waiting{seq: 1, id: r.id[:], body: body})
	require.Equal(t, refusedNoKey, why)
	require.False(t, definite)
	_, definite = s.refused(t, waiting{seq: 1, id: r.id[:], body: append(body, make([]byte, mostBody)...)})
	require.True(t, definite)
}

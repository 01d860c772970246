package audit

import (
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whose an open erasure is a process knows until it ends, whoever asks meanwhile.
func TestAnOpenErasureIsKnownUntilItEnds(t *testing.T) {
	var e erasedPeople
	one, two := surrogateID{"main", [16]byte{1}}, surrogateID{"main", [16]byte{2}}
	erase := func(person string, s surrogateID) {
		t.Helper()
		require.NoError(t, e.remember("main", person, []surrogateID{s}, func(b []byte) error { _, err := rand.Read(b); return err }))
	}
	erase("p", one)
	before := e.openOf("main")
	erase("q", two) // between the two
	require.Empty(t, e.maybe("main", "q", []surrogateID{one}, before), "it is p's")
	require.Equal(t, []surrogateID{two}, e.maybe("main", "q", []surrogateID{one, two}, e.openOf("main")))
	require.Empty(t, e.maybe("main", "r", []surrogateID{one, two}, e.openOf("main")), "of nobody else")

	before = e.openOf("main")
	e.ended(one)
	require.Empty(t, e.maybe("main", "r", []surrogateID{one, two}, before), "nor while it ends")
	require.Empty(t, e.maybe("main", "r", nil, e.openOf("main")), "another process ended it")
	require.Empty(t, e.openOf("main"))
	require.Empty(t, e.openOf("other"))
}

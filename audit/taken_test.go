package audit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The keys that an event took are gone when its row is made, and when it finds that
// one of its persons has none.
func TestTakenKeysAreWiped(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared("p1")
	wiped := func(r *recording) {
		t.Helper()
		require.Zero(t, r.tenant.own.content)
		require.NotZero(t, cap(r.tickets))
		for _, one := range r.tickets[:cap(r.tickets)] {
			require.Zero(t, one)
		}
	}
	r, err := s.check(t.Context(), sold(t, "p1"))
	require.NoError(t, err)
	require.NoError(t, s.take(r))
	require.NotZero(t, r.tenant.own.content)
	require.NotZero(t, r.tickets[0].content)
	require.NoError(t, s.build(r))
	wiped(r)

	two := sold(t, "p1")
	two.Persons = []string{"p2"}
	r, err = s.check(t.Context(), two)
	require.NoError(t, err)
	require.ErrorIs(t, s.take(r), ErrNotPrepared)
	wiped(r)
}

// What a person who is only the owner of a value needs is taken, too, and each
// person once.
func TestOwnersOfValuesArePersonsOfTheEvent(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared("p1", "p2")
	e := sold(t, "p1")
	e.Persons = []string{"p1", "p1"}
	e.Changes = append(e.Changes, Change{Path: "email", Who: "p2", New: "x"}, Change{Path: "phone", Who: "p2", New: "y"})
	_, err := s.in(e)
	require.NoError(t, err)
	leaf := s.waitingLeaves(t)[0]
	require.Len(t, leaf.Persons, 2)
	require.Len(t, leaf.Changes, 3)
	owners := map[string]int{}
	for _, c := range leaf.Changes {
		owners[c.Who]++
	}
	require.Len(t, owners, 2)
	require.Equal(t, 2, owners[s.tickets.find(s.config.Now(), ticketID{"main", "p2"}).text])
}

// Memory that held values of persons is cleared before it is used again, and none
// is kept that a large event needed.
func TestScratchIsClearedAndBounded(t *testing.T) {
	s := &scratch{data: append(make([]byte, 0, 64), "ann@canary.example"...)}
	was := s.data[:cap(s.data)]
	s.free()
	require.Equal(t, make([]byte, len(was)), was)
	large := &scratch{data: append(make([]byte, 0, keepScratch+1), 'x')}
	large.free()
	require.Len(t, large.data, 1, "left to the garbage collector as it is")
}

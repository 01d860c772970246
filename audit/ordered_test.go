package audit

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The order of the changes says nothing: a retry may give them in another one, and
// two of one field are found wherever they stand.
func TestTheOrderOfChangesSaysNothing(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared("p1")
	e := sold(t, "p1")
	e.Changes = []Change{{Path: "b", New: 1}, {Path: "a", Who: "p1", New: 2}, {Path: "a", New: 3}, {Path: "c", New: 4}}
	_, err := s.in(e)
	require.NoError(t, err)
	again := e
	again.Changes = []Change{e.Changes[3], e.Changes[2], e.Changes[1], e.Changes[0]}
	_, err = s.in(again)
	require.NoError(t, err, "the same event")
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`))
	again.Changes[0].New = 5
	_, err = s.in(again)
	require.ErrorIs(t, err, ErrConflict)
	twice := sold(t, "p1")
	twice.Changes = []Change{{Path: "a", New: 1}, {Path: "b", New: 2}, {Path: "a", New: 3}}
	_, err = s.in(twice)
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "two changes")
}

// Of tickets that are too many, those go that were used longest ago, not those that
// were made first.
func TestAUsedTicketStays(t *testing.T) {
	var s tickets
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	until := grantFrom(now, time.Minute)
	for _, person := range []string{"used", "idle"} {
		s.put(&held{id: ticketID{"main", person}, until: until})
	}
	require.NotNil(t, s.find(now, ticketID{"main", "used"}))
	for i := range maxTickets - 1 {
		s.put(&held{id: ticketID{"main", fmt.Sprint("n", i)}, until: until})
	}
	require.NotNil(t, s.find(now, ticketID{"main", "used"}))
	require.Nil(t, s.find(now, ticketID{"main", "idle"}))
}

package audit

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Each clock alone ends a ticket: the monotonic one, which a sleep stops, the wall
// clock, which somebody may set, and one that went behind the beginning.
func TestEachClockEndsATicket(t *testing.T) {
	now := time.Now()
	within := grant{start: now.Add(-time.Minute), until: now.Add(time.Minute), wall: now.Add(time.Minute).Round(0)}
	require.False(t, within.over(now))
	slept := within
	slept.wall = now.Add(-time.Second).Round(0) // the monotonic clock stood still
	require.True(t, slept.over(now))
	set := within
	set.until, set.wall = now.Add(-time.Second), now.Add(time.Hour).Round(0) // the wall clock was set back
	require.True(t, set.over(now))
	back := within
	back.start = now.Add(time.Second)
	require.True(t, back.over(now))
}

// slowKeys take their time, by the clock of the till.
type slowKeys struct {
	Keys
	s     *till
	takes time.Duration
}

func (k *slowKeys) MACKeys(ctx context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	k.s.advance(k.takes)
	return k.Keys.MACKeys(ctx, tenant, info)
}

// The time of a ticket begins before anything is read, not when the last key has
// come: what was read is then as old as the ticket says.
func TestTheTimeOfATicketBeginsFirst(t *testing.T) {
	s := newSQLiteTill(t)
	keys := &slowKeys{s.config.Keys, s, 40 * time.Second}
	s.config.Keys = keys
	s.prepared("p1")
	_, err := s.in(sold(t, "p1"))
	require.ErrorIs(t, err, ErrNotPrepared, "it was in preparation for longer than it holds")
	keys.takes = 0
	s.prepared("p1")
	_, err = s.in(sold(t, "p1"))
	require.NoError(t, err)
}

// What has ended leaves memory with the next preparation, whoever it is for, also
// when the clock was set back; and when it is asked for.
func TestEndedTicketsLeaveMemory(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared("p1")
	p1 := ticketID{"main", "p1"}
	require.Contains(t, s.tickets.by, p1)
	s.advance(time.Hour)
	s.prepared("p2")
	require.NotContains(t, s.tickets.by, p1)
	s.advance(-time.Hour)
	s.prepared("p3")
	require.NotContains(t, s.tickets.by, ticketID{"main", "p2"}, "of a time that is yet to come")

	content := &s.tickets.find(s.config.Now(), ticketID{"main", "p3"}).content
	require.NotZero(t, *content)
	s.advance(time.Hour)
	require.Nil(t, s.tickets.find(s.config.Now(), ticketID{"main", "p3"}))
	require.NotContains(t, s.tickets.by, ticketID{"main", "p3"})
	require.Zero(t, *content)
}

// A ticket that is renewed takes the place of the old one, whose key goes.
func TestARenewedTicketReplacesTheOldOne(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared("p1")
	old := s.tickets.find(s.config.Now(), ticketID{"main", "p1"})
	s.advance(40 * time.Second)
	s.prepared("p1")
	require.NotSame(t, old, s.tickets.find(s.config.Now(), ticketID{"main", "p1"}))
	require.Zero(t, old.content)
	require.Equal(t, 2, s.tickets.order.Len(), "the person's and the tenant's")
}

// One person is one, however often a call names them; and the tenant's own data
// has no surrogate.
func TestAPersonIsPreparedOnce(t *testing.T) {
	s := newSQLiteTill(t)
	same := make([]string, maxPrepared+1)
	for i := range same {
		same[i] = "p1"
	}
	require.NoError(t, s.prepare(t.Context(), "main", same))
	require.Zero(t, s.tickets.find(s.config.Now(), ticketID{"main", ""}).surrogate)
	require.NotZero(t, s.tickets.find(s.config.Now(), ticketID{"main", "p1"}).surrogate)
}

// Surrogates that are gone as soon as they were made are somebody's doing.
func TestSurrogatesThatVanish(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared()
	s.exec(`CREATE TRIGGER gone AFTER INSERT ON crmguard_audit_surrogates BEGIN DELETE FROM crmguard_audit_surrogates WHERE person = NEW.person; END`)
	err := s.prepare(t.Context(), "main", []string{"p1", "p2"})
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.ErrorContains(t, err, "2 persons")
}

// The error says who has no ticket, by number and never by name.
func TestWhatIsNotPreparedIsSaid(t *testing.T) {
	for want, e := range map[string]NotPreparedError{
		": one person had no ticket":                {Persons: 1},
		": 3 persons had no ticket":                 {Persons: 3},
		": the tenant had no ticket":                {Tenant: true},
		": the tenant and 2 persons had no ticket":  {Tenant: true, Persons: 2},
		": the tenant and one person had no ticket": {Tenant: true, Persons: 1},
	} {
		require.ErrorContains(t, &e, want)
		require.ErrorContains(t, &e, "Config.Prepared")
		require.ErrorIs(t, &e, ErrNotPrepared)
	}
}

// keptKeys keep what they are given and what they give, as a service's client might.
type keptKeys struct {
	Keys
	seen [][]byte
}

func (k *keptKeys) Seal(ctx context.Context, tenant, person string, plaintext, ad []byte) ([]byte, error) {
	sealed, err := k.Keys.Seal(ctx, tenant, person, plaintext, ad)
	k.seen = append(k.seen, plaintext)
	return sealed, err
}

func (k *keptKeys) Open(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	plain, err := k.Keys.Open(ctx, tenant, person, sealed, ad)
	k.seen = append(k.seen, plain)
	return plain, err
}

func (k *keptKeys) MACKeys(ctx context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	ids, keys, err := k.Keys.MACKeys(ctx, tenant, info)
	k.seen = append(k.seen, keys...)
	return ids, keys, err
}

// Keys in the clear do not stay in the buffers in which they came and went.
func TestKeysInTheClearAreOverwritten(t *testing.T) {
	s := newSQLiteTill(t)
	keys := &keptKeys{Keys: s.config.Keys}
	s.config.Keys = keys
	s.prepared("p1")
	require.GreaterOrEqual(t, len(keys.seen), 6)
	for _, one := range keys.seen {
		require.NotEmpty(t, one)
		require.Equal(t, make([]byte, len(one)), one)
	}
}

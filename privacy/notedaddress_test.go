package privacy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// waitsForTheBook is a system with an erasure that waits for a store which knows the
// person by an address alone.
func waitsForTheBook(s *system) (l *leads, x *mailer, plan string) {
	l, x = knownOn(s)
	plan = l.plan("lead-one")
	x.down = true
	l.isPartial(plan)
	x.down = false
	l.now = l.now.Add(time.Hour)
	return l, x, plan
}

// Somebody else has the address by now, or the person has signed up anew: what was
// noted before leads to nobody. The erasure says so, and is done when that is put right.
func TestANotedAddressThatSomebodyElseHasByNow(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		l, x, plan := waitsForTheBook(s)
		l.exec(`INSERT INTO leads VALUES (2, 'lead-two', '1@lead.example', ?)`, l.now.UnixMicro())
		for range 2 {
			o, err := l.desk.Execute(t.Context(), plan)
			require.NoError(t, err)
			require.Equal(t, privacy.Partial, o.State)
			require.ErrorIs(t, o.Stores[0].Err, datastore.ErrShared)
			require.Contains(t, o.Stores[0].Err.Error(), "another one, too")
			require.True(t, x.holds["1@lead.example"], "it may be theirs")
		}
		r, err := l.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, r.Shared)
		require.True(t, x.holds["1@lead.example"], "it may be theirs")
		l.exec(`UPDATE leads SET email = 'two@lead.example'`)
		l.done(plan)
		require.Empty(t, x.holds)
		require.NoError(t, l.desk.Ready(t.Context()))
	})
}

// Where that is to be left alone it is, and does not keep the erasure from its end.
func TestANotedAddressThatIsLeftShared(t *testing.T) {
	l, x, plan := waitsForTheBook(newSystem(t))
	l.exec(`INSERT INTO leads VALUES (2, 'lead-two', '1@lead.example', ?)`, l.now.UnixMicro())
	store, err := sqlstore.Open(t.Context(), sqlstore.Config{Name: "crm", DB: l.db, Map: l.cfg.Map, Redact: l.redact, EraseOwner: l.keys.erase, LeaveShared: true})
	require.NoError(t, err)
	l.cfg.Database = store
	l.reopen()
	l.done(plan)
	require.True(t, x.holds["1@lead.example"])
}

// By what the other stores find the person is gone from beside the ledger: nobody
// certifies that they have erased, nor does a replay open the gate.
func TestANoteThatIsGone(t *testing.T) {
	l, x, plan := waitsForTheBook(newSystem(t))
	require.NoError(t, l.ledger.Forget(t.Context(), "plan-"+plan))
	_, err := l.desk.Execute(t.Context(), plan)
	require.ErrorIs(t, err, privacy.ErrNoteGone)
	_, err = l.desk.Replay(t.Context())
	require.ErrorIs(t, err, privacy.ErrNoteGone)
	require.ErrorIs(t, l.desk.Ready(t.Context()), privacy.ErrBehind)
	require.NotEmpty(t, x.holds)
	require.NoError(t, l.desk.Void(t.Context(), privacy.Voiding{Plan: plan, By: "user/1", Approved: "user/2", Because: "note-lost"}))
	_, err = l.desk.Replay(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.desk.Ready(t.Context()))
}

// One that another process has forgotten, because it has ended the erasure meanwhile,
// is not gone.
func TestANoteThatIsForgottenMeanwhile(t *testing.T) {
	l, x, plan := waitsForTheBook(newSystem(t))
	l.whenAsked("privacy.execute", func(other *privacy.Desk) {
		o, err := other.Execute(t.Context(), plan)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
	})
	l.done(plan)
	require.Empty(t, x.holds)
}

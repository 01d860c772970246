package privacy_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

// A person's address changes between plan and execution. What other stores held
// under the old one is erased by its keys; a row of the database that only the old
// one leads to keeps the outcome Partial until somebody has seen to it.
func TestWhatAnAddressLedToWhenItWasPlanned(t *testing.T) {
	for _, inDatabase := range []bool{false, true} {
		l, x := subscribed(t)
		l.add(1, "lead-one", longAgo)
		l.add(2, "lead-two", longAgo)
		x.holds["1@lead.example"], x.holds["2@lead.example"] = true, true
		if inDatabase {
			l.exec(`INSERT INTO signups VALUES (1, '1@lead.example', ?)`, longAgo)
		}
		p := l.approved("lead-one")
		l.exec(`UPDATE leads SET email = 'new@lead.example' WHERE id = 1`)
		o, err := l.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, map[string]bool{"2@lead.example": true}, x.holds)
		if inDatabase {
			require.Equal(t, privacy.Partial, o.State)
			require.Equal(t, 1, o.Stores[0].Remaining)
			l.exec(`DELETE FROM signups`)
			o = l.done(p.ID)
		}
		require.Equal(t, privacy.Done, o.State, "%+v", o.Stores)
		require.NoError(t, l.desk.Ready(t.Context()))
		require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM leads`))
	}
}

// Another store does not erase what is left under an old address: that is not
// certified.
func TestAStoreThatKeepsWhatWasPlannedIsPartial(t *testing.T) {
	l, x := subscribed(t)
	l.add(1, "lead-one", longAgo)
	x.holds["1@lead.example"] = true
	p := l.approved("lead-one")
	l.exec(`UPDATE leads SET email = 'new@lead.example' WHERE id = 1`)
	x.deaf = true
	o, err := l.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State, "%+v", o.Stores)
	x.deaf = false
	l.done(p.ID)
	require.Empty(t, x.holds)
}

// What was the person's when the erasure was planned, and is somebody else's now,
// is neither erased nor left.
func TestWhatIsSomebodyElsesSinceThePlan(t *testing.T) {
	s := quick(t)
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	s.contactOf(ann, newID(), "ann.two@a.example")
	s.exec(`UPDATE contacts SET country = 'AT' WHERE rowid = (SELECT MAX(rowid) FROM contacts)`)
	p := s.approved(ann)
	s.exec(`UPDATE notes SET contact_id = (SELECT id FROM contacts WHERE person = ?)`, bob)
	s.exec(`UPDATE contacts SET person = ? WHERE country = 'AT'`, bob)
	s.done(p.ID)
	require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM notes`))
	require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, bob))
	require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
}

// A replay that ends the plan of somebody who was erased leaves nothing of the
// person in the database's file.
func TestAReplayLeavesNoPersonInTheFile(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	backup := s.snapshot()
	s.done(p.ID)
	s.restore(backup)
	s.exec(`DELETE FROM notes`) // somebody has deleted them again: the stores have nothing to erase
	s.exec(`DELETE FROM contacts`)
	file := func() (text string) {
		for _, suffix := range []string{"", "-wal"} {
			data, err := os.ReadFile(s.dbPath() + suffix)
			require.NoError(t, err)
			text += string(data)
		}
		return text
	}
	require.Contains(t, file(), ann)
	_, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.NotContains(t, file(), ann)
}

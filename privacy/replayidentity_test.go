package privacy_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// mailer is a store that knows people by their address alone.
type mailer struct {
	holds map[string]bool
	down  bool
	deaf  bool // it erases what it finds, and nothing by its keys
	blind bool // it knows nothing but keys
	mute  bool // its search fails
}

func (m *mailer) Name() string { return "mailer" }

func (m *mailer) Find(_ context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	if m.mute {
		return nil, errors.New("down")
	}
	var rows []datastore.Row
	for _, address := range scope.Identities["email"] {
		if m.holds[address] && !m.blind {
			rows = append(rows, datastore.Row{Table: "subscribers", Key: address, Class: datastore.Deleted, Created: time.UnixMicro(longAgo)})
		}
	}
	return rows, nil
}

func (m *mailer) Export(context.Context, datastore.Scope) iter.Seq2[datastore.Record, error] {
	return func(func(datastore.Record, error) bool) {}
}

func (m *mailer) Erase(ctx context.Context, scope datastore.Scope, found []datastore.Row) error {
	if m.down {
		return errors.New("down")
	}
	rows, err := m.Find(ctx, scope)
	if m.deaf {
		found = nil
	}
	for _, row := range slices.Concat(rows, found) {
		delete(m.holds, row.Key)
	}
	return err
}

func (m *mailer) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	rows, err := m.Find(ctx, scope)
	for _, row := range found {
		if m.holds[row.Key] && !slices.ContainsFunc(rows, func(r datastore.Row) bool { return r.Key == row.Key }) {
			rows = append(rows, row)
		}
	}
	return len(rows), err
}

// subscribed makes a system whose leads are known by their address, with a
// mailer that knows nothing else.
func subscribed(t *testing.T) (*leads, *mailer) { return subscribedOn(newSystem(t)) }

func subscribedOn(s *system) (*leads, *mailer) {
	l := leadsOf(s, "VARCHAR(64)", true)
	m := s.cfg.Map
	m.Tables[len(m.Tables)-1].Columns[0].Identity = "email"
	s.exec(`CREATE TABLE signups (id INTEGER PRIMARY KEY, email VARCHAR(99), created BIGINT)`)
	m.Tables = append(m.Tables, datamap.Table{
		Name: "signups", Key: []string{"id"}, Created: "created", Erase: datamap.Delete,
		Edges:   []datamap.Edge{{Columns: []string{"email"}, Identity: "email"}},
		Columns: []datamap.Column{{Name: "email", Category: "contact.email", Purpose: "dpv:Marketing", Basis: "dpv:Consent"}},
	})
	s.openWith(m)
	x := &mailer{holds: map[string]bool{}}
	s.cfg.Delay, s.cfg.Lease, s.cfg.Stores = -1, -1, append(s.cfg.Stores, x)
	s.reopen()
	return l, x
}

// What the other stores find a person by is read before the database forgets
// it, and kept beside the ledger while one of them is down: for another
// process, and behind another restore.
func TestAReplayKeepsWhatOtherStoresFindByUntilTheyAreDone(t *testing.T) {
	l, x := subscribed(t)
	l.add(1, "lead-one", longAgo)
	l.exec(`INSERT INTO signups VALUES (1, '1@lead.example', ?)`, longAgo)
	l.backup()
	x.holds["1@lead.example"], x.holds["2@lead.example"] = true, true
	l.erases("lead-one")
	require.Equal(t, map[string]bool{"2@lead.example": true}, x.holds)
	require.Zero(t, l.count(`SELECT COUNT(*) FROM signups`))

	l.restore()
	l.exec(`INSERT INTO signups VALUES (1, '1@lead.example', ?)`, longAgo)
	x.holds["1@lead.example"], x.down = true, true
	for range 2 {
		_, err := l.desk.Replay(t.Context())
		require.Error(t, err)
		require.ErrorIs(t, l.desk.Ready(t.Context()), privacy.ErrBehind)
		require.Zero(t, l.count(`SELECT COUNT(*) FROM leads`), "the database has forgotten the address")
		l.reopen() // another process
	}
	x.down = false
	_, err := l.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"2@lead.example": true}, x.holds)
	require.Zero(t, l.count(`SELECT COUNT(*) FROM signups`))
	require.NoError(t, l.desk.Ready(t.Context()))
	require.Zero(t, l.notes("replay-"))
}

// An address that a new sign-up has, too, leads to nobody: what is theirs stays.
func TestAnAddressOfTwoLeadsAReplayToNobody(t *testing.T) {
	l, x := subscribed(t)
	l.add(1, "lead-one", longAgo)
	l.backup()
	l.erases("lead-one")
	l.restore()
	l.exec(`INSERT INTO leads VALUES (2, 'lead-two', '1@lead.example', ?)`, l.now.UnixMicro())
	l.exec(`INSERT INTO signups VALUES (1, '1@lead.example', ?)`, l.now.UnixMicro())
	x.holds["1@lead.example"] = true
	r, err := l.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Equal(t, 1, r.Shared)
	require.True(t, x.holds["1@lead.example"])
	require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM leads WHERE person = 'lead-two'`))
	require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM signups`))
	require.NoError(t, l.desk.Ready(t.Context()))
}

package privacy_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

type digests = func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error)

// secretDigests are stand-alone keys of a fresh secret.
func secretDigests(t *testing.T) digests {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crm.secret")
	require.NoError(t, erasurelog.NewKeysFile(path))
	keys, err := erasurelog.KeysFile(path)
	require.NoError(t, err)
	return keys
}

// openLedger opens the desk over a ledger in dir that these keys authenticate.
func (s *system) openLedger(dir string, keys digests) {
	s.t.Helper()
	ledger, err := erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(dir), Digests: keys, Now: func() time.Time { return s.now }})
	require.NoError(s.t, err)
	s.ledger, s.cfg.Ledger = ledger, ledger
	s.reopen()
}

// TestALedgerNeedsNoVault erases under one secret, moves on to other keys, and
// replays what stands under the first.
func TestALedgerNeedsNoVault(t *testing.T) {
	s := newSystem(t)
	before, after := secretDigests(t), secretDigests(t)
	dir := filepath.Join(t.TempDir(), "ledger")
	s.openLedger(dir, before)
	require.NoError(t, s.ledger.Create(t.Context()))
	ann := s.contact("ann@a.example")
	old := s.snapshot()
	require.Equal(t, privacy.Done, s.erase(ann).State)
	require.NoError(t, s.verify())

	s.openLedger(dir, after)
	require.ErrorIs(t, s.verify(), erasurelog.ErrForeign)
	both := func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		roots, all, err := after(ctx, label, data)
		if err != nil {
			return nil, nil, err
		}
		older, rest, err := before(ctx, label, data)
		return append(roots, older...), append(all, rest...), err
	}
	s.openLedger(dir, both)
	require.NoError(t, s.verify())
	require.Equal(t, privacy.Done, s.erase(s.contact("bob@b.example")).State)
	require.NoError(t, s.verify())
	s.openLedger(dir, after)
	require.ErrorIs(t, s.verify(), erasurelog.ErrForeign, "the older entries need the older root")

	s.restore(old)
	s.openLedger(dir, both)
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
	replayed, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, replayed.Erased)
	require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts`))
	require.NoError(t, s.desk.Ready(t.Context()))
}

const olderBackups = "backups from before the erasure, until they are deleted: "

func (s *system) verify() error {
	_, err := s.ledger.Verify(s.t.Context())
	return err
}

// A certificate never lets older backups look erased: it names what they keep.
func TestTheCertificateNamesWhatOlderBackupsKeep(t *testing.T) {
	nothing := func(context.Context, string, string) error { return nil }
	none := func(context.Context, string, string) (int, error) { return 0, nil }
	keys := datastore.Func{Name: "person keys", Class: datastore.Shredded, Erase: nothing, Remaining: none}
	openings := datastore.Func{Name: "audit openings", Class: datastore.Deleted, Erase: nothing, Remaining: none}
	sealed := openings
	sealed.Sealed = true
	archive := datastore.Func{Name: "archive", Class: datastore.Kept, Erase: nothing, Remaining: none}
	for name, want := range map[string]struct {
		stores []datastore.Store
		lines  []string
	}{
		"no keys at all":          {[]datastore.Store{openings.Store()}, []string{"all they hold, for no key of the person was destroyed"}},
		"sealed, keys stay":       {[]datastore.Store{sealed.Store()}, []string{"all they hold, for no key of the person was destroyed"}},
		"openings under a secret": {[]datastore.Store{openings.Store(), keys.Store()}, []string{"what store audit openings held", "clear columns of table contacts"}},
		"openings under keys":     {[]datastore.Store{sealed.Store(), keys.Store()}, []string{"clear columns of table contacts"}},
		"kept by law":             {[]datastore.Store{archive.Store(), keys.Store()}, []string{"clear columns of table contacts"}},
		"a store of one's own":    {[]datastore.Store{shredder{keys.Store()}}, []string{"clear columns of table contacts"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t)
			s.cfg.Stores = want.stores
			s.cfg.NotCovered = nil
			s.reopen()
			ann := s.contact("ann@a.example")
			s.invoice(ann, s.now) // is kept, and its class says so
			o := s.erase(ann)
			var lines []string
			for _, line := range want.lines {
				lines = append(lines, olderBackups+line)
			}
			require.Equal(t, lines, s.verified(o).Statement.NotCovered)
			again, err := s.desk.Execute(t.Context(), o.Plan)
			require.NoError(t, err)
			require.Equal(t, lines, again.NotCovered, "as on the certificate")
		})
	}
}

// shredder is a store that was not made from a Func and finds keys.
type shredder struct{ datastore.Store }

func (shredder) Find(context.Context, datastore.Scope) ([]datastore.Row, error) {
	return []datastore.Row{{Table: "keys", Class: datastore.Shredded, Count: 1}}, nil
}

// shredding is the data map with contacts whose bytes stay.
func shredding() *datamap.Map {
	m := dataMap()
	for i := range m.Tables {
		t := &m.Tables[i]
		if t.Name != "contacts" {
			continue
		}
		t.Erase = datamap.Null
		for j := range t.Columns {
			if t.Columns[j].Personal() {
				t.Columns[j].Sealed, t.Columns[j].Erase = true, datamap.Shred
			}
		}
		t.Columns = append(t.Columns, datamap.Column{Name: t.Person, Category: "id", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Erase: datamap.Retain})
	}
	return m
}

// opaque is a store that was not made from a Func, as the one of the rows.
type opaque struct{ datastore.Store }

// A row is certified as shredded where a key was destroyed, and not because the
// map says so.
func TestNothingIsShreddedWithoutAStoreThatDestroysKeys(t *testing.T) {
	nothing := func(context.Context, string, string) error { return nil }
	none := func(context.Context, string, string) (int, error) { return 0, nil }
	keys := datastore.Func{Name: "person keys", Class: datastore.Shredded, Erase: nothing, Remaining: none}.Store()
	openings := datastore.Func{Name: "audit openings", Class: datastore.Deleted, Erase: nothing, Remaining: none}.Store()
	s := newSystem(t)
	s.openWith(shredding())
	for _, stores := range [][]datastore.Store{nil, {openings}} {
		s.cfg.Stores = stores
		_, err := privacy.Open(t.Context(), s.cfg)
		require.ErrorIs(t, err, privacy.ErrConfig)
		require.ErrorContains(t, err, "no store destroys the key")
	}
	for _, stores := range [][]datastore.Store{{keys}, {openings, keys}, {shredder{keys}}} {
		s.cfg.Stores = stores
		s.reopen()
	}

	s.cfg.Stores, s.cfg.NotCovered = []datastore.Store{opaque{openings}}, nil
	s.reopen() // it may destroy keys, and says of none that it did
	c := s.verified(s.erase(s.contact("ann@a.example"))).Statement
	require.Equal(t, []string{olderBackups + "all they hold, for no key of the person was destroyed"}, c.NotCovered)
}

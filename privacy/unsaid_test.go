package privacy_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// uncalled is a database that says it has erased, and lets nobody write.
type uncalled struct{ datastore.Transactional }

func (uncalled) EraseIn(context.Context, []datastore.Scope, func(context.Context, datastore.Tx, []datastore.Row) error) error {
	return nil
}

// Without an intent no other store is asked to erase.
func TestADatabaseThatNeverEndsItsTransaction(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	database := s.cfg.Database
	s.cfg.Database = uncalled{database}
	s.reopen()
	_, err := s.desk.Execute(t.Context(), p.ID)
	var failed *privacy.StoreError
	require.ErrorAs(t, err, &failed)
	require.ErrorContains(t, errors.Unwrap(failed), "did not end its transaction")
	require.Empty(t, ops(t, s))
	require.NotNil(t, s.keys.keys[ann], "a key was destroyed that no entry of the ledger answers for")
	s.cfg.Database = database
	s.reopen()
	s.done(p.ID)
}

// unmoved is a database that says it has moved its counters on.
type unmoved struct{ fused }

func (unmoved) Tops(context.Context) (map[string]int64, error) {
	return map[string]int64{"contacts.id": 1}, nil
}

func (unmoved) Advance(context.Context, map[string]int64) error { return nil }

// A replay that could not move the counters erases nobody and says so.
func TestNumbersThatDoNotMove(t *testing.T) {
	s := quick(t)
	s.cfg.Database = unmoved{s.cfg.Database.(fused)}
	s.cfg.Highest = func(context.Context) (map[string]int64, error) { return map[string]int64{"contacts.id": 9}, nil }
	s.reopen()
	_, err := s.desk.Replay(t.Context())
	require.ErrorIs(t, err, privacy.ErrNumbers)
}

// Nor does the mark go by what is taken back behind the answers of the stores.
func TestNobodyRemembersATakenBackHeadWhenStoresHaveAnswered(t *testing.T) {
	s := newSystem(t)
	place := &flushedPlace{Medium: erasurelog.Folder(s.ledgerDir())}
	var err error
	s.cfg.Ledger, err = erasurelog.Open(erasurelog.Config{Medium: place, Digests: digestsOf(s.roots...), Now: func() time.Time { return s.now }})
	require.NoError(t, err)
	var before []byte
	s.cfg.Stores = append(s.cfg.Stores, datastore.Func{Name: "outside", Class: datastore.Deleted, Remaining: s.keys.left, Erase: func(ctx context.Context, _, _ string) error {
		before, err = os.ReadFile(s.ledgerPath())
		require.NoError(t, err)
		_, err = s.ledger.Append(ctx, nil, func(*erasurelog.State) (*erasurelog.Entry, error) { return holdOf(t, s), nil })
		require.NoError(t, err)
		place.flushed = false
		return nil
	}}.Store())
	s.reopen()
	s.waits(s.approved(s.contact("ann@a.example")).ID)
	require.NotEmpty(t, before)
	if !place.flushed {
		require.NoError(t, os.WriteFile(s.ledgerPath(), before, 0o600))
	}
	s.open() // another process
	require.NoError(t, s.desk.Ready(t.Context()))
}

// beforeNotes is a ledger's place that tells before notes are written, once.
type beforeNotes struct {
	erasurelog.Medium
	tell func()
}

func (b *beforeNotes) PutNotes(ctx context.Context, notes ...erasurelog.SealedNote) error {
	if tell := b.tell; tell != nil {
		b.tell = nil
		tell()
	}
	return b.Medium.PutNotes(ctx, notes...)
}

// A gate that opens before a replay has noted anybody does not have its grace
// behind a replay that did not get through.
func TestAGateThatOpensBeforeAReplayHasNotedAnybody(t *testing.T) {
	l, x := known(t)
	l.erases("lead-one")
	require.NoError(t, l.desk.Ready(t.Context()))
	l.add(1, "lead-one", longAgo) // a table was brought back
	x.holds["1@lead.example"], x.down = true, true
	other, opened := l.desk, errors.New("nobody asked")
	medium := &beforeNotes{Medium: erasurelog.Folder(l.ledgerDir()), tell: func() { opened = other.Ready(t.Context()) }}
	var err error
	l.cfg.Ledger, err = erasurelog.Open(erasurelog.Config{Medium: medium, Digests: digestsOf(l.roots...), Now: func() time.Time { return l.now }})
	require.NoError(t, err)
	l.reopen()
	_, err = l.desk.Replay(t.Context())
	require.Error(t, err)
	require.NoError(t, opened)
	require.NoError(t, os.Rename(l.ledgerDir(), l.ledgerDir()+".away"))
	require.ErrorIs(t, other.Ready(t.Context()), erasurelog.ErrUnreachable)
}

// Rows that wait for somebody take the grace away, too.
func TestNoGraceWhileRowsWaitForADecision(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	s.done(s.approved(ann).ID)
	require.NoError(t, s.desk.Ready(t.Context()))
	s.exec(`INSERT INTO contacts VALUES (?, ?, 'CH', NULL, NULL, 7, NULL)`, newID(), ann) // a table was brought back
	_, err := s.desk.Replay(t.Context())
	require.ErrorIs(t, err, privacy.ErrUndecided)
	require.NoError(t, os.Rename(s.ledgerDir(), s.ledgerDir()+".away"))
	require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable)
}

// All persons of an erasure that is under way are asked for in stores that list
// nobody: by its plan, also in a store that came since, and by its note where a
// restore took the plan away.
func TestAReplayAsksForAllPersonsOfWhatIsUnderWay(t *testing.T) {
	for _, by := range []string{"plan", "note"} {
		s := quick(t)
		s.cfg.Lease = time.Hour
		ann, old, stores := s.contact("ann@a.example"), newID(), s.cfg.Stores
		s.keys.keys[old] = seqKey(3)
		s.cfg.Aliases = func(context.Context, string, string) ([]string, error) { return []string{old}, nil }
		if by == "plan" {
			s.cfg.Stores = nil
		}
		s.reopen()
		p := s.approved(ann)
		if by == "plan" {
			s.waits(p.ID)
		} else {
			s.keys.broken = true
			s.isPartial(p.ID)
			s.keys.broken = false
			s.exec(`DELETE FROM crmguard_privacy_plan`)
		}
		s.cfg.Stores, s.cfg.Aliases = stores, nil
		s.reopen()
		_, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Nil(t, s.keys.keys[ann], by)
		require.Nil(t, s.keys.keys[old], by)
	}
}

// concealing is a database whose next search for persons finds nobody.
type concealing struct {
	fused
	next *bool
}

func (c concealing) FindAll(ctx context.Context, scopes []datastore.Scope) ([]datastore.Row, error) {
	if *c.next {
		*c.next = false
		return nil, nil
	}
	return c.fused.FindAll(ctx, scopes)
}

// What one search of a replay conceals is found when it is read back, also where
// only the intent says that a row is older.
func TestWhatASearchConcealsIsReadBack(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	s.exec(`UPDATE contacts SET created = NULL`)
	backup := s.snapshot()
	s.done(s.approved(ann).ID)
	s.restore(backup)
	next := true
	s.cfg.Database = concealing{s.cfg.Database.(fused), &next}
	s.reopen()
	_, err := s.desk.Replay(t.Context())
	require.False(t, next)
	require.ErrorIs(t, err, privacy.ErrReplayLeft)
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	_, err = s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts`))
}

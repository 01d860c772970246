package privacy_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// An order for a ledger that cannot be read does not cover what a head kept
// elsewhere shows besides: that this database lacks an erasure.
func TestAnOrderDoesNotCoverWhatAnAnchorShows(t *testing.T) {
	s := quick(t)
	s.cfg.Grace = privacy.None
	s.reopen()
	s.done(s.approved(s.contact("ann@a.example")).ID)
	require.NoError(t, os.Rename(s.ledgerDir(), s.ledgerDir()+".away"))
	require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable)
	order := privacy.Opening{By: "user/1", Approved: "user/2", Because: "incident", Until: s.now.Add(time.Hour)}
	require.NoError(t, s.desk.OpenAnyway(t.Context(), order))
	require.NoError(t, s.desk.Ready(t.Context()))
	s.anchor = []byte(`{"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","n":9}`)
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	require.NoError(t, s.desk.OpenAnyway(t.Context(), order))
	require.NoError(t, s.desk.Ready(t.Context()))
}

// flushedPlace is a ledger's place that knows whether its end was made durable.
type flushedPlace struct {
	erasurelog.Medium
	flushed bool
}

func (f *flushedPlace) Append(ctx context.Context, at erasurelog.Position, last, line []byte) error {
	err := f.Medium.Append(ctx, at, last, line)
	f.flushed = f.flushed || err == nil
	return err
}

// holdOf is an entry about nobody who is here.
func holdOf(t *testing.T, s *system) *erasurelog.Entry {
	e := &erasurelog.Entry{Op: erasurelog.Hold, Plan: newID(), Because: "litigation"}
	for _, d := range []struct {
		to       *string
		kind, id string
	}{{&e.Tenant, erasurelog.KindTenant, "main"}, {&e.Person, erasurelog.KindPerson, "p1"}, {&e.By, erasurelog.KindPrincipal, "user/1"}} {
		var err error
		_, *d.to, err = s.ledger.Digest(t.Context(), d.kind, "main", []byte(d.id))
		require.NoError(t, err)
	}
	return e
}

// What another process has written and takes back, because its disk fails, is no
// head that the mark, or whoever keeps one, remembers.
func TestNoHeadOfWhatIsTakenBack(t *testing.T) {
	for _, of := range []string{"mark", "head"} {
		s := quick(t)
		s.done(s.approved(s.contact("ann@a.example")).ID)
		before, err := os.ReadFile(s.ledgerPath())
		require.NoError(t, err)
		written := holdOf(t, s)
		place := &flushedPlace{Medium: erasurelog.Folder(s.ledgerDir())}
		s.cfg.Ledger, err = erasurelog.Open(erasurelog.Config{Medium: place, Digests: digestsOf(s.roots...), Now: func() time.Time { return s.now }})
		require.NoError(t, err)
		takenBack := func() {
			if !place.flushed {
				require.NoError(t, os.WriteFile(s.ledgerPath(), before, 0o600))
			}
		}
		s.cfg.Highest = func(context.Context) (map[string]int64, error) { takenBack(); return nil, nil }
		s.reopen()
		_, err = s.ledger.Append(t.Context(), nil, func(*erasurelog.State) (*erasurelog.Entry, error) { return written, nil })
		require.NoError(t, err)
		if of == "mark" {
			_, err = s.desk.Replay(t.Context())
			require.NoError(t, err)
		} else {
			s.anchor, err = s.desk.LedgerHead(t.Context())
			require.NoError(t, err)
			takenBack()
		}
		s.open() // another process
		if err := s.desk.Ready(t.Context()); err != nil {
			require.ErrorIs(t, err, privacy.ErrBehind, of)
		}
	}
}

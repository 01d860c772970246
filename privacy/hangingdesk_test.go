package privacy_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// halting is a ledger's place that does not write until it is let go, and whose
// caller goes meanwhile.
type halting struct {
	erasurelog.Medium
	gone func() // runs when a write waits; nil lets it through
	free chan struct{}
}

func (h *halting) Append(ctx context.Context, at erasurelog.Position, last, line []byte) error {
	gone := h.gone
	if gone == nil {
		return h.Medium.Append(ctx, at, last, line)
	}
	h.gone = nil
	gone()
	select {
	case <-h.free:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// What writes to the ledger and changes nothing else comes back with its context from a
// place that hangs, or from whoever is asked for aliases and hangs; it leaves no lock,
// and the next call does it. So with a clock ten years and an hour behind, which is
// refused, and put right.
func TestCallsThatHangAndClocksThatAreOff(t *testing.T) {
	eachQuick(t, func(t *testing.T, s *system) {
		place := &halting{Medium: erasurelog.Folder(s.ledgerDir()), free: make(chan struct{})}
		var err error
		s.cfg.Ledger, err = erasurelog.Open(erasurelog.Config{Medium: place, Digests: digestsOf(s.roots...), Now: func() time.Time { return s.now }})
		require.NoError(t, err)
		stop, hang := func() {}, false
		s.cfg.Aliases = func(context.Context, string, string) ([]string, error) {
			if hang { // and heeds nothing
				hang = false
				stop()
				<-place.free
			}
			return nil, nil
		}
		s.reopen()
		defer close(place.free)
		ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
		cancelled, begun := s.approved(ann), s.approved(bob)
		s.keys.broken = true
		s.isPartial(begun.ID)
		held, err := s.desk.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: ann, Because: "litigation", By: "user/1"})
		require.NoError(t, err)
		calls := []struct {
			op string
			do func(ctx context.Context) error
		}{
			{"hold", func(ctx context.Context) error {
				_, err := s.desk.Hold(ctx, privacy.LegalHold{Tenant: "main", Person: ann, Because: "litigation", By: "user/1"})
				return err
			}},
			{"lift", func(ctx context.Context) error { return s.desk.Lift(ctx, "main", held, "user/1") }},
			{"cancel", func(ctx context.Context) error { return s.desk.Cancel(ctx, cancelled.ID) }},
			{"void", func(ctx context.Context) error {
				return s.desk.Void(ctx, privacy.Voiding{Plan: begun.ID, By: "user/1", Approved: "user/2", Because: "lost"})
			}},
		}
		right := s.now
		for _, c := range calls {
			entries := len(ops(t, s))
			for _, behind := range []time.Duration{time.Hour, 10 * 365 * 24 * time.Hour} {
				s.now = right.Add(-behind)
				require.ErrorIs(t, c.do(t.Context()), erasurelog.ErrClock, c.op)
			}
			s.now = right
			ctx, cancel := context.WithCancel(t.Context())
			place.gone = cancel
			require.ErrorIs(t, c.do(ctx), context.Canceled, c.op)
			require.Len(t, ops(t, s), entries, c.op)
			if c.op == "hold" {
				ctx, cancel := context.WithCancel(t.Context())
				stop, hang = cancel, true
				require.ErrorIs(t, c.do(ctx), context.Canceled, "aliases")
				require.ErrorIs(t, c.do(t.Context()), privacy.ErrHangs)
				s.reopen() // whoever hangs is remembered by its process
			}
			require.NoError(t, c.do(t.Context()), c.op)
			require.Len(t, ops(t, s), entries+1, c.op)
		}
		require.NoError(t, s.desk.Ready(t.Context()), "voided")
	})
}

package privacy_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// A trail is prepared before each transaction that records in it, and within none:
// what prepares may need a connection of its own.
func TestTheTrailIsPreparedBeforeEachTransaction(t *testing.T) {
	s := newSystem(t)
	var (
		ready  bool
		within datastore.Tx // the transaction that was prepared for
		seen   []string
	)
	hooks := func() {
		s.cfg.Prepare = func(ctx context.Context, tenant string, persons ...string) error {
			require.Equal(t, "main", tenant)
			require.Empty(t, persons)
			_, err := s.db.ExecContext(ctx, `UPDATE contacts SET person = person WHERE 0`) // nobody else writes meanwhile
			ready = true
			return err
		}
		s.cfg.Record = func(ctx context.Context, tx datastore.Tx, tenant, action string, attrs ...slog.Attr) error {
			if tx != within {
				require.True(t, ready, "%s is recorded in a transaction that nothing was prepared for", action)
				ready, within = false, tx
			}
			seen = append(seen, action)
			return s.record(ctx, tx, tenant, action, attrs...)
		}
		s.reopen()
	}
	hooks()
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	backup := s.snapshot()
	request := privacy.Request{Tenant: "main", Person: bob, Reason: "gdpr-17", By: "user/1"}
	plan, err := s.desk.PlanErasure(t.Context(), request)
	require.NoError(t, err)
	require.NoError(t, s.desk.Cancel(t.Context(), plan.ID))
	plan = s.approved(ann)
	s.keys.broken = true
	for _, want := range []privacy.State{privacy.Partial, privacy.Waiting, privacy.Done} {
		o, err := s.desk.Execute(t.Context(), plan.ID)
		require.NoError(t, err)
		require.Equal(t, want, o.State)
		s.keys.broken, s.now = false, s.now.Add(time.Hour)
	}
	s.restore(backup)
	hooks()
	_, err = s.desk.Replay(t.Context())
	require.NoError(t, err)
	for _, action := range []string{"privacy.plan", "privacy.approve", "privacy.cancel", "privacy.erase.begin", "privacy.erase.partial", "privacy.erase.done", "privacy.ledger", "privacy.replay"} {
		require.Contains(t, seen, action)
	}

	down := errors.New("no keys")
	s.cfg.Prepare = func(context.Context, string, ...string) error { return down }
	s.reopen()
	plans := s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan`)
	_, err = s.desk.PlanErasure(t.Context(), request)
	require.ErrorIs(t, err, down)
	require.Equal(t, plans, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan`))
}

package privacy_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// flushing counts the checkpoints of a database.
type flushing struct {
	*sqlstore.Store
	n *int
}

func (f flushing) Flush(ctx context.Context) error {
	*f.n++
	return f.Store.Flush(ctx)
}

// An erasure on SQLite waits for the disk eight times: once a commit and once an
// entry of the ledger, twice for the checkpoint (the log, the database), and
// once more for the head of the log that begins behind it.
func TestHowOftenAnErasureWaitsForTheDisk(t *testing.T) {
	d := testdb.New(t, testdb.SQLite)
	s := newSystemOn(t, t.TempDir(), d.Open(t))
	medium := &broken{Medium: erasurelog.Folder(s.ledgerDir())}
	ledger, err := erasurelog.Open(erasurelog.Config{Medium: medium, Digests: digestsOf(s.roots...), Now: func() time.Time { return s.now }})
	require.NoError(t, err)
	most := 0
	for n := 1; ; n++ {
		s.now = s.now.Add(time.Second)
		ann := s.contact("ann@a.example")
		db, cutter := d.Cutting(t, "sqlite")
		db.SetMaxOpenConns(1)
		store, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: s.cfg.Map, Redact: s.redact, EraseOwner: s.keys.erase})
		require.NoError(t, err)
		checkpoints := 0
		desk, err := privacy.Open(t.Context(), privacy.Config{
			Map: s.cfg.Map, DB: db, Ledger: ledger, Sign: s.key, Database: flushing{store, &checkpoints}, Open: s.cfg.Open,
			Delay: privacy.None, Lease: privacy.None, Now: func() time.Time { return s.now },
		})
		require.NoError(t, err)
		p, err := desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1"})
		require.NoError(t, err)
		require.NoError(t, desk.Approve(t.Context(), p.ID, "user/2"))
		hit := false
		cutter.Hold(n, true, func() error { hit = true; return nil })
		medium.calls = 0
		o, err := desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
		if !hit {
			require.Positive(t, most)
			return
		}
		most = n + medium.calls + 3*checkpoints
		t.Logf("%d commits, %d ledger entries, %d checkpoint: %d flushes", n, medium.calls, checkpoints, most)
		require.LessOrEqual(t, most, 8)
	}
}

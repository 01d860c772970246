package sqltrail_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Behind a pooler that gives each transaction another connection.
func TestATrailDoesItsWholeWorkBehindAPooler(t *testing.T) {
	testdb.Variants(t, func(t *testing.T, open func(tb testing.TB) *sql.DB) {
		if !strings.Contains(t.Name(), "pgbouncer") {
			return // where all is serializable, transactions of the judge end that must not: its main job is below
		}
		judge(t, open)
	})
}

func installed(t *testing.T, db *sql.DB) *sqltrail.Store {
	t.Helper()
	require.NoError(t, sqltrail.Install(t.Context(), db))
	store, err := sqltrail.Open(t.Context(), db)
	require.NoError(t, err)
	return store
}

// Where an administrator has made transactions serializable, those of the
// application are ended and tried again; those of the trail are not, nor is
// what it asks outside of any.
func TestATrailDoesItsMainJobWhereTransactionsAreSerializable(t *testing.T) {
	const writers, each = 4, 10
	testdb.Variants(t, func(t *testing.T, open func(tb testing.TB) *sql.DB) {
		db := open(t)
		store := installed(t, db)
		signer, verifier, err := audit.GenerateKey("crm.example/audit", 0)
		require.NoError(t, err)
		sign, err := note.NewSigner(signer)
		require.NoError(t, err)
		keys := audittest.NewKeys()
		trail, err := audit.Open(t.Context(), store, audit.Config{
			Name: "crm.example/audit", Tenant: "main", Signer: sign, Verifier: verifier, Sink: &audittest.Sink{}, Keys: keys,
			Fields: map[string][]string{"contact": {"email"}},
		})
		require.NoError(t, err)
		var recording sync.WaitGroup
		faults := make(chan error, writers)
		for w := range writers {
			recording.Go(func() {
				for i := range each {
					person := fmt.Sprintf("p%d", (w+i)%3)
					if err := trail.Prepare(t.Context(), "main", person); err != nil {
						faults <- err
						return
					}
					if err := tried(t.Context(), db, func(tx *sql.Tx) error {
						return only(trail.Record(t.Context(), tx, audit.Event{
							Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", person), Persons: []string{person},
							Changes: audit.Diff(person, map[string]any{"email": "old"}, map[string]any{"email": fmt.Sprint(w, i)}),
						}))
					}); err != nil {
						faults <- err
						return
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { recording.Wait(); close(done) }()
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			_, err := trail.RunOnce(t.Context())
			require.NoError(t, err, "the sequencer beside the writers")
			for _, err := range trail.History(t.Context(), "main", audit.About("p1"), audit.Page{}) {
				require.NoError(t, err, "a reader beside the writers")
			}
			_, err = trail.Status(t.Context())
			require.NoError(t, err)
		}
		close(faults)
		for err := range faults {
			require.NoError(t, err)
		}
		progress, err := trail.Progress(t.Context())
		require.NoError(t, err)
		require.Zero(t, progress.Queued)
		require.GreaterOrEqual(t, progress.Published, int64(writers*each))
		require.NoError(t, trail.Erase(t.Context(), "main", "p1"))
		_, err = trail.RunOnce(t.Context())
		require.NoError(t, err)
		report, err := trail.VerifyStore(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, auditlog.Unanchored, report.Verdict, "%+v", report.Faults)
	})
}

// tried is what an application does with a transaction that the database ended
// in favour of another one.
func tried(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) (err error) {
	for range 200 {
		var tx *sql.Tx
		if tx, err = db.BeginTx(ctx, nil); err != nil {
			return err
		}
		if err = f(tx); err == nil {
			err = tx.Commit()
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		_ = tx.Rollback() // it has ended already, or ends now
	}
	return err
}

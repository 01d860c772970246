package sqltrail_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// verbs are what a trail does outside of a sale.
func (w *works) verbs(person string) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Prepare": func(ctx context.Context) error { return w.trail.Prepare(ctx, "main", "new-"+person) },
		"Note": func(ctx context.Context) error {
			return only(w.trail.Note(ctx, audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"}))
		},
		"RunOnce": func(ctx context.Context) error { _, err := w.trail.RunOnce(ctx); return err },
		"Beat":    func(ctx context.Context) error { return w.trail.Beat(ctx) },
		"Find": func(ctx context.Context) error {
			_, err := w.trail.Find(ctx, audit.Filter{Tenant: "main", Actor: "u-1"}, audit.Page{Size: 20})
			return err
		},
		"Status":      func(ctx context.Context) error { _, err := w.trail.Status(ctx); return err },
		"Progress":    func(ctx context.Context) error { _, err := w.trail.Progress(ctx); return err },
		"VerifyStore": func(ctx context.Context) error { _, err := w.trail.VerifyStore(ctx, nil); return err },
		"CatchUp":     func(ctx context.Context) error { return w.trail.CatchUp(ctx) },
		"Erase": func(ctx context.Context) error {
			if err := w.trail.Erase(ctx, "main", person); !errors.Is(err, audit.ErrWaiting) {
				return err
			}
			return nil
		},
	}
}

// A pool of one connection, which a sale holds: everything else that a trail does waits
// for it at the same time, the sale records without waiting, and all come to their
// end. Who stops waiting leaves no connection behind.
func TestEverythingWorksOverAPoolOfOne(t *testing.T) {
	eachWorks(t, func(t *testing.T, w *works) {
		w = join(t, w.dir, withMirror)
		w.db.SetMaxOpenConns(1)
		for round := range 3 {
			person := fmt.Sprintf("left-%d", round)
			require.NoError(t, w.trail.Prepare(t.Context(), "main", person, "p1"))
			tx, err := w.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			insert := func(e audit.Event) {
				_, err := tx.ExecContext(t.Context(), w.db.Bind(`INSERT INTO sales (id) VALUES (?)`), e.ID)
				require.NoError(t, err)
				require.NoError(t, only(w.trail.Record(t.Context(), tx, e)))
			}
			insert(sale(t, person))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			gone, leave := context.WithCancel(t.Context())
			var all, left sync.WaitGroup
			for name, do := range w.verbs(person) {
				all.Go(func() {
					if err := do(ctx); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
				left.Go(func() {
					if err := do(gone); err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("%s, of one who stops waiting: %v", name, err)
					}
				})
			}
			waiting := w.db.Stats().WaitCount
			time.Sleep(20 * time.Millisecond) // whether all wait by now does not matter
			require.LessOrEqual(t, waiting, w.db.Stats().WaitCount)
			leave()
			left.Wait()
			insert(sale(t, "p1"))
			require.NoError(t, tx.Commit())
			all.Wait()
			cancel()
			require.Zero(t, w.db.Stats().InUse)
			require.NoError(t, w.trail.Erase(t.Context(), "main", person))
			w.run()
		}
		w.settle()
		w.verified(w.checkpoint())
		got := w.tally()
		for _, id := range w.ids(`SELECT id FROM sales`) {
			require.Equal(t, 1, got.events[id])
		}
		require.Equal(t, 6, w.count(`SELECT COUNT(*) FROM sales`))
	})
}

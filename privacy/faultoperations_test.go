package privacy_test

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

// errFalse is of an answer that is not true.
var errFalse = errors.New("it says that all is gone")

// An operation is what is tried under a fault.
type operation struct {
	name    string
	prepare func(w *faultWalk)
	do      func(ctx context.Context, w *faultWalk) error
	finish  func(w *faultWalk, at string) // by honest stores
	reads   bool                          // it changes nothing of anybody
	gates   bool                          // the gate stays shut until all is done
	trusts  string                        // a method whose lies nobody can find
	tells   bool                          // of each method that fails somebody is told
	honest  bool                          // nobody lies: what it calls is tried for itself
	stores  map[string][]string           // the methods that it calls
}

func operations() []operation {
	again := func(w *faultWalk, at string) {
		_, err := w.desk.Replay(w.t.Context())
		require.NoError(w.t, err, at)
	}
	execute := func(ctx context.Context, w *faultWalk) error {
		o, err := w.desk.Execute(ctx, w.plan)
		if err == nil && o.State == privacy.Done && !w.gone("ann", w.ann) {
			return errFalse
		}
		return err
	}
	// stores are those that are tried: the database, and some of the others, which
	// are all called in the same way.
	stores := func(others []string, methods []string, database ...string) map[string][]string {
		all := map[string][]string{"crm": database}
		for _, store := range others {
			all[store] = methods
		}
		return all
	}
	every, erases := []string{"mailer", "index", "person keys"}, []string{"Find", "Erase", "Remaining"}
	return []operation{
		{
			name: "plan", reads: true, tells: true, prepare: func(*faultWalk) {},
			do: func(ctx context.Context, w *faultWalk) error {
				p, err := w.desk.PlanErasure(ctx, privacy.Request{Tenant: "main", Person: w.ann, Reason: "gdpr-17", By: "user/1"})
				if err == nil {
					w.plan = p.ID
				}
				return err
			},
			finish: func(w *faultWalk, at string) {
				if w.plan == "" {
					w.planned()
				} else {
					require.NoError(w.t, w.desk.Approve(w.t.Context(), w.plan, "user/2"))
				}
				w.executed(at)
			},
			stores: stores(every[:2], erases[:1], "Aliases", "Identities", "Rehearse"),
		},
		{
			name: "execute", prepare: (*faultWalk).planned, do: execute, finish: (*faultWalk).executed,
			stores: stores(every, erases, "Aliases", "EraseIn", "Identities", "Missing", "Remaining", "Tops"),
		},
		{
			name: "execute again", prepare: func(w *faultWalk) {
				w.planned()
				o, err := w.desk.Execute(w.t.Context(), w.plan)
				require.NoError(w.t, err)
				require.Equal(w.t, privacy.Waiting, o.State)
				w.now = w.now.Add(6 * time.Second)
			},
			do: execute, finish: (*faultWalk).executed,
			stores: stores(every, erases[1:], "Erase", "EraseIn", "Flush", "Missing", "Remaining", "Tops"),
		},
		{
			name: "export", reads: true, tells: true, prepare: (*faultWalk).planned,
			do: func(ctx context.Context, w *faultWalk) error {
				_, err := w.desk.Export(ctx, "main", w.ann, identity(w.t).Recipient().String(), io.Discard)
				return err
			},
			finish: (*faultWalk).executed,
			stores: stores(every[:1], []string{"Export"}, "Aliases", "Export", "Identities"),
		},
		{
			name: "replay", gates: true, tells: true, trusts: "Identities", prepare: (*faultWalk).comesBack,
			do: func(ctx context.Context, w *faultWalk) error {
				_, err := w.desk.Replay(ctx)
				if err == nil && !w.gone("ann", w.ann) {
					return errFalse
				}
				return err
			},
			finish: again,
			stores: stores(every, erases, "Advance", "Aliases", "EraseIn", "FindAll", "Flush", "Identities", "People", "Tops", "Undecided"),
		},
		{
			name: "replay plan", reads: true, gates: true, tells: true, prepare: (*faultWalk).comesBack,
			do: func(ctx context.Context, w *faultWalk) error {
				_, err := w.desk.ReplayPlan(ctx)
				return err
			},
			finish: again,
			stores: stores(every[1:2], erases[:1], "Aliases", "FindAll", "Identities", "People", "Tops", "Undecided"),
		},
		{
			name: "run", gates: true, honest: true, prepare: (*faultWalk).comesBack,
			do: func(ctx context.Context, w *faultWalk) error {
				_, err := w.desk.RunOnce(ctx)
				return err
			},
			finish: func(w *faultWalk, at string) {
				again(w, at)
				for range 3 {
					_, err := w.desk.RunOnce(w.t.Context())
					require.NoError(w.t, err, at)
					w.now = w.now.Add(6 * time.Second)
				}
				require.True(w.t, w.gone("dan", w.dan), "%s: left in %v", at, w.has("dan", w.dan))
			},
			stores: stores(every[:1], erases, "Advance", "Aliases", "EraseIn", "FindAll", "Flush", "Identities", "Missing", "People", "Remaining", "Tops", "Undecided"),
		},
		{
			name: "ready", reads: true, gates: true, prepare: func(w *faultWalk) {
				w.comesBack()
				again(w, "")
			},
			do:     func(ctx context.Context, w *faultWalk) error { return w.desk.Ready(ctx) },
			finish: again,
			stores: stores(nil, nil, "Tops"),
		},
	}
}

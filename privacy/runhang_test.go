package privacy_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// stuck is a store that hangs for one person, whatever its context says.
type stuck struct {
	datastore.Store
	person string
	hung   func()
	free   chan struct{}
}

func (h stuck) Erase(ctx context.Context, scope datastore.Scope, found []datastore.Row) error {
	if scope.Person == h.person {
		h.hung()
		<-h.free
	}
	return h.Store.Erase(ctx, scope, found)
}

// A store that hangs over one person does not keep a pass from the others.
func TestAStoreThatHangsHoldsUpItsOwnPlanOnly(t *testing.T) {
	s := quick(t)
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	var stop context.CancelFunc
	free := make(chan struct{})
	defer close(free)
	s.cfg.Stores[0] = stuck{s.cfg.Stores[0], ann, func() { stop() }, free}
	s.reopen()
	s.desk.BoundPasses(func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
		ctx, stop = context.WithCancel(ctx)
		return ctx, stop
	})
	hangs, due := s.approved(ann), s.approved(bob)
	require.Equal(t, privacy.HealthAlarm, s.passes(hangs.ID).Level)
	require.Equal(t, "done", s.state(due.ID))
}

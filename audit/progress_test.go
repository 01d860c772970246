package audit_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
)

// readSink calls a func behind each file that is read.
type readSink struct {
	*audittest.Sink
	behind func()
}

func (s *readSink) ReadFile(ctx context.Context, name string) ([]byte, error) {
	data, err := s.Sink.ReadFile(ctx, name)
	if then := s.behind; then != nil {
		s.behind = nil
		then()
	}
	return data, err
}

// What waits is counted on one side or on the other while a pass files it, and a
// queue is called empty only when all of it is published.
func TestProgressIsOfOneMoment(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		sink := &readSink{Sink: &audittest.Sink{}}
		a.config.Sink = sink
		a.open()
		done := func(p audit.Progress) bool { return p.Queued == 0 && p.Published == p.Size }
		a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
		a.run()
		p, err := a.trail.Progress(t.Context())
		require.NoError(t, err)
		require.True(t, done(p))
		for range 3 {
			a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
			before, err := a.trail.Progress(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 1, before.Queued)
			require.Equal(t, may.UTC(), before.Oldest)
			sink.behind = func() { // a pass, and the next sale
				a.run()
				a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
			}
			during, err := a.trail.Progress(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, during.Size+during.Queued, before.Size+before.Queued)
			require.False(t, done(during), "one waits: %+v", during)
			sink.behind = func() { a.run() }
			during, err = a.trail.Progress(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, during.Size+during.Queued, before.Size+before.Queued+1, "%+v", during)
		}
	})
}

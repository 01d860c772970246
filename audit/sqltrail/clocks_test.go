package sqltrail_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

const years = 10 * 365 * 24 * time.Hour

// again records an event that was recorded, as a client does that had no answer.
func (w *works) again(e audit.Event) error {
	w.t.Helper()
	require.NoError(w.t, w.trail.Prepare(w.t.Context(), e.Tenant, people(e)...))
	return w.within(w.t.Context(), func(tx *sql.Tx) error { return only(w.trail.Record(w.t.Context(), tx, e)) })
}

// Of two processes one has a clock that is an hour or ten years off: both record and
// publish as if it were right, a retry is one, and everybody is found. A clock that is
// ten years ahead ends the time of all retries: then they are conflicts, and never
// a second event.
func TestAClockThatIsOffLosesAndDoublesNothing(t *testing.T) {
	eachWorks(t, func(t *testing.T, w *works) {
		for _, off := range []time.Duration{time.Hour, -time.Hour, -years, years} { // what is ahead last: it ends retries
			other := join(t, w.dir, func(w *works) {
				withMirror(w)
				w.config.RetryFor, w.config.BeatEvery = 0, 0
				w.config.Now = func() time.Time { return time.Now().Add(off) }
			})
			for range 3 {
				for _, one := range []*works{w, other} {
					e := sale(t, "p1")
					_, err := one.db.ExecContext(t.Context(), one.db.Bind(`INSERT INTO sales (id) VALUES (?)`), e.ID)
					require.NoError(t, err)
					require.NoError(t, one.again(e), "%v", off)
					first, second := w, other
					if one == w {
						first, second = other, w
					}
					r := first.run()
					require.Equal(t, 1, r.Sequenced)
					require.Equal(t, r.Size, r.Published)
					for _, retrying := range []*works{w, other} {
						if err := retrying.again(e); off != years {
							require.NoError(t, err, "%v", off)
						} else if err != nil {
							require.ErrorIs(t, err, audit.ErrConflict)
						}
					}
					require.Zero(t, second.run().Sequenced)
					_, err = second.trail.Event(t.Context(), e.ID)
					require.NoError(t, err)
				}
				_, err := other.trail.Status(t.Context())
				require.NoError(t, err)
			}
			w.verified(w.checkpoint())
			other.verified(other.checkpoint())
		}
		got := w.agrees()
		require.Len(t, got.events, 24)
		found := 0
		for _, err := range w.trail.History(t.Context(), "main", audit.About("p1"), audit.Page{Size: 50}) {
			require.NoError(t, err)
			found++
		}
		require.Equal(t, 24, found)
		require.LessOrEqual(t, got.leaves, 24+2*24, "a beat a pass at most")
	})
}

// The clock of a process is set while it works, forwards and back, between any two of
// its calls.
func TestAClockThatIsSetWhileAProcessWorks(t *testing.T) {
	eachWorks(t, func(t *testing.T, w *works) {
		var off time.Duration
		set := join(t, w.dir, func(w *works) { w.config.Now = func() time.Time { return time.Now().Add(off) } })
		for _, to := range []time.Duration{time.Hour, 0, years, -years, -time.Hour, 0, years, 0} {
			e := sale(t, "p1")
			require.NoError(t, set.trail.Prepare(t.Context(), e.Tenant, people(e)...))
			off = to
			err := set.within(t.Context(), func(tx *sql.Tx) error { return only(set.trail.Record(t.Context(), tx, e)) })
			if errors.Is(err, audit.ErrNotPrepared) { // what was prepared has served its time
				err = set.again(e)
			}
			require.NoError(t, err, "%v", to)
			_, err = set.db.ExecContext(t.Context(), set.db.Bind(`INSERT INTO sales (id) VALUES (?)`), e.ID)
			require.NoError(t, err)
			r := set.run()
			require.Equal(t, 1, r.Sequenced)
			require.Equal(t, r.Size, r.Published)
		}
		w.verified(w.checkpoint())
		require.Len(t, w.agrees().events, 8)
	})
}

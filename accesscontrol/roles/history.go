package roles

import (
	"context"
	"sync"
	"time"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/health"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// past is how far the changes had come that Status has seen.
type past struct {
	mu      sync.Mutex
	changes int64
	back    time.Time // when they were found to be fewer
}

// seen is how many changes there are at least. It is asked before the tables are.
func (p *past) seen() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changes
}

// finding compares what is counted with what was seen before it was counted: of two
// reports at once, the one that counted first may come here last. Counts only rise,
// so where they are fewer, the tables are those of an earlier day; that stays said,
// since the changes that follow hide it.
func (p *past) finding(seen, changes int64, last time.Time) accesscontrol.Finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	if changes < seen && p.back.IsZero() {
		p.back = time.Now()
	}
	p.changes = max(p.changes, changes)
	f := accesscontrol.Finding{Name: "accesscontrol.roles.changes", Value: float64(changes), Unit: "changes", Since: last}
	if !p.back.IsZero() {
		f.Level, f.Since = health.Alarm, p.back
		f.Remedy = "the tables were put back to an older state, and what was taken away since is held again: go through the audit trail of assignments, revoke, and open the store anew"
	}
	return f
}

// clockApart is how far two clocks may be apart before Status says so.
const clockApart = 5 * time.Minute

// clockFinding asks the clock that says what is held.
func (s *Store) clockFinding(ctx context.Context, changed int64) (accesscontrol.Finding, error) {
	var server int64
	before := time.Now()
	err := sqldb.One(ctx, s.db, []any{&server}, `SELECT `+clock(s.db.Kind))
	return apart(before, time.Now(), server, changed), err
}

// apart compares the clock of the database with that of the process, before and
// after the question, and with the last change, which is never ahead of it.
func apart(before, after time.Time, server, changed int64) accesscontrol.Finding {
	f := accesscontrol.Finding{Name: "accesscontrol.roles.clock", Unit: "s"}
	at := time.UnixMicro(server)
	far := max(before.Sub(at), at.Sub(after), 0)
	if far > clockApart {
		f.Level, f.Remedy = health.Alarm, "the clocks of this process and of the database are apart, and roles begin and end by the database's: set the one that is wrong"
	}
	if back := time.UnixMicro(changed).Sub(at); back > clockApart {
		far = max(far, back)
		f.Level, f.Remedy = health.Alarm, "the clock of the database was set back behind the last change, and roles that had ended are held again: set it, or revoke them"
	}
	f.Value = far.Seconds()
	return f
}

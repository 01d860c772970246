package audit

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// mirrorFinding says how many entries have no openings in the mirror. The mirror
// itself is not asked: what is in it stands in the state row, and this process knows
// of its own calls.
func (t *Trail) mirrorFinding(ctx context.Context, s state, head tlog.Tree, now time.Time) (f Finding, has bool, err error) {
	f = Finding{Name: "audit.mirror", Value: float64(max(s.N-s.mirrored, 0)), Unit: "entries"}
	if t.config.Mirror == nil {
		return f, false, nil
	}
	m := &t.mirrored
	m.mu.Lock()
	failing, filling := m.failing, m.busy
	silent := m.busy && (m.vain || away(now, m.moved) > t.late())
	m.mu.Unlock()
	behind := s.mirrored < min(head.N, s.N) // what the database does not have, after a restore, is no fault of the mirror
	switch {
	case silent:
		f.Remedy = "the mirror does not answer, and erasures are not at their end without it: bring its store back, and it is filled by itself"
	case !failing.IsZero():
		f.Since = failing
		f.Remedy = "the mirror cannot be read or written: openings would be lost with the database, and erasures are not at their end: bring its store back, and it is filled by itself"
	case behind:
		if f.Since, err = t.sequencedAt(ctx, s.mirrored); err != nil {
			return f, true, err
		}
		switch late := f.Since.IsZero() || away(now, f.Since) > t.late(); {
		case late && filling:
			f.Level, f.Remedy = HealthNotice, "the mirror is far behind, and is being filled"
			return f, true, nil
		case late:
			f.Remedy = "openings of published entries are not in the mirror, and would be lost with the database: is Run running, and is its store there?"
		}
	}
	if f.Remedy != "" {
		f.Level = HealthAlarm
	}
	return f, true, nil
}

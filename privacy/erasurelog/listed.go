package erasurelog

import (
	"slices"
	"time"
)

// Suppressed says whether somebody who was known by a value, of which keys are
// those under every root ([Log.Keys]), was erased, and since when: an intent that
// is in force names it in Known, and no later entry takes it back.
func (s *State) Suppressed(keys ...string) (since time.Time, ok bool) {
	for _, i := range s.about(keys) {
		switch e := s.index.entry(i); {
		case e.Op == Unsuppress:
			since, ok = time.Time{}, false
		case !ok && s.InForce(e.Plan):
			since, ok = e.At, true
		}
	}
	return since, ok
}

// Decided is what somebody has said last of a row whose keys are those under
// every root ([Log.Keys]): whether it is older than the erasure of its person.
func (s *State) Decided(keys ...string) (older, ok bool) {
	for _, i := range s.about(keys) {
		older, ok = s.records[i].op() == Older, true
	}
	return older, ok
}

// HoldEnded says whether a hold has ended behind since and not behind now: it was
// lifted, or was over by itself. Whom it kept is to be looked for again.
func (s *State) HoldEnded(since, now time.Time) bool {
	s.index.mu.RLock()
	holds := slices.Clone(s.index.holds)
	s.index.mu.RUnlock()
	ended := func(at time.Time) bool { return !at.IsZero() && at.After(since) && !at.After(now) }
	return slices.ContainsFunc(holds, func(i uint32) bool {
		if int(i) >= s.n() {
			return false
		}
		h := s.index.entry(int(i))
		for _, e := range s.Plan(h.Plan) {
			if e.Op == Lift && !e.Ignored && (h.Until.IsZero() || e.At.Before(h.Until)) {
				return ended(e.At)
			}
		}
		return ended(h.Until)
	})
}

package audit

import (
	"errors"
	"time"
)

// lateFor is how long a sink may answer with what was true before, as a cache or
// the names of a network mount do, until Run believes it.
const lateFor = time.Minute

// lateError is a contradiction that a sink alone explains which answers with an
// older state: what is kept or was published is ahead of it. Nothing is signed
// while it lasts, so that Run can wait for it to pass.
type lateError struct{ error }

func late(err error) error { return lateError{err} }

func (e lateError) Unwrap() error { return e.error }

// patience says for how long passes have ended in a contradiction that may pass.
type patience struct{ since time.Time }

// ends says whether Run ends with the error of a pass.
func (p *patience) ends(err error, limit time.Duration) bool {
	if !permanent(err) {
		p.since = time.Time{}
		return false
	}
	if _, ok := errors.AsType[lateError](err); !ok {
		return true
	}
	if p.since.IsZero() {
		p.since = time.Now()
	}
	return time.Since(p.since) >= limit // as this machine counts it: Config.Now may jump
}

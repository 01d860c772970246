package erasurelog

import (
	"fmt"
	"slices"
)

// A standing is what the entries of one plan, or of one hold, come to: the whole
// of "is this erasure in force, is this hold".
type standing struct {
	intent, partial, done, void, cancel bool
	hold, lift                          bool
	alone                               Op // an operation that stands alone

	first  int // the record of the intent or the hold
	root   uint32
	person uint32
	digest func(text string) uint32
}

// standing looks at the entries of a plan among the first n. Those that are
// ignored do not count. The caller holds the index.
func (x *index) standing(id string, n int) standing {
	s := standing{first: -1, digest: func(text string) uint32 {
		key, _ := digestKey(text)
		return x.digestOf[key]
	}}
	for i := range x.chain(id, n) {
		r := x.records[i]
		if r.ignored {
			continue
		}
		switch r.op() {
		case Intent:
			s.intent, s.first = true, i
		case Partial:
			s.partial = true
		case Done:
			s.done = true
		case Void:
			s.void = true
		case Cancel:
			s.cancel, s.first = true, i
		case Hold:
			s.hold, s.first = true, i
		case Lift:
			s.lift = true
		default:
			s.alone = r.op()
		}
	}
	if s.first >= 0 {
		s.root, s.person = x.records[s.first].root, x.records[s.first].person
	}
	return s
}

// chain yields the records of a plan among the first n, the newest first.
func (x *index) chain(id string, n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		number, ok := x.planOf[planKey(id)]
		if !ok {
			return
		}
		for at := x.plans[number-1].last; at > 0; at = x.records[at-1].before {
			if int(at) <= n && !yield(int(at)-1) {
				return
			}
		}
	}
}

// refuse says why an entry may not follow: what nobody appends, and what has no
// effect where somebody has.
func (s standing) refuse(e Entry) error {
	switch e.Op {
	case Intent, Cancel, Hold, Older, Newer, Unsuppress, Clock:
		switch earlier := s.opened(); {
		case s.cancel && e.Op == Intent:
			return fmt.Errorf("%w: the plan was cancelled", ErrEnded)
		case earlier != "":
			return fmt.Errorf("%w: its Plan names an earlier %s", ErrTwice, earlier)
		}
	case Partial, Done, Void:
		switch {
		case !s.intent:
			return fmt.Errorf("%w: no intent has this Plan", ErrAbsent)
		case s.done && e.Op == Done:
			return fmt.Errorf("%w: the plan is done", ErrTwice)
		case s.done:
			return fmt.Errorf("%w: the plan is done", ErrEnded)
		case s.void && e.Op == Void:
			return fmt.Errorf("%w: the plan is voided", ErrTwice)
		case s.void:
			return fmt.Errorf("%w: the plan is voided", ErrEnded)
		}
	case Lift:
		switch {
		case !s.hold:
			return fmt.Errorf("%w: no hold has this Plan", ErrAbsent)
		case s.lift:
			return fmt.Errorf("%w: the hold is lifted", ErrTwice)
		}
	}
	if s.first >= 0 && e.Root == s.root && s.digest(e.Person) != s.person {
		return fmt.Errorf("%w: another person than the intent or hold names", ErrEntry)
	}
	return e.answered()
}

func (s standing) opened() Op {
	switch {
	case s.intent:
		return Intent
	case s.cancel:
		return Cancel
	case s.hold:
		return Hold
	}
	return s.alone
}

// answered says whether those who must answer for an entry do, and differ.
func (e Entry) answered() error {
	if slices.Contains([]Op{Hold, Lift, Older, Newer, Void, Clock}, e.Op) && e.By == "" {
		return fmt.Errorf("%w: By is needed", ErrEntry)
	}
	if slices.Contains([]Op{Hold, Older, Newer, Void}, e.Op) && e.Because == "" {
		return fmt.Errorf("%w: Because is needed", ErrEntry)
	}
	if slices.Contains([]Op{Void, Clock}, e.Op) && (e.Approved == "" || e.Approved == e.By) {
		return fmt.Errorf("%w: Approved is needed, and is somebody else than By", ErrEntry)
	}
	return nil
}

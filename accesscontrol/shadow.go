package accesscontrol

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// Shadow runs a policy beside the code that decides today. [Shadow.Check]
// answers what that code answers, always; the policy is asked as well, and where
// it says something else, Report hears of it. Set the fields before the first
// call; it is safe for concurrent use then, and must not be copied.
type Shadow struct {
	// Policy is what shall decide one day.
	Policy *Policy
	// Old decides today. Nil answers no.
	Old func(ctx context.Context, principal Principal, action string, record Resource) bool
	// Report gets each difference, from several goroutines at once. Nil leaves
	// them to the counters of [Shadow.Count].
	Report func(ctx context.Context, d Difference)
	// Every says that one question in so many is compared; 0 and 1 are all.
	Every int
	// Wait is the longest time that a call waits for the policy and for Report,
	// behind Old; 0 is [DefaultWait]. What is slower goes on in its goroutine,
	// of which there are ShadowLimit at most: while there are, nothing is
	// compared.
	Wait time.Duration
	// Verbose lets Principal and Resource of the questions into the differences.
	// They are personal data, and must not be changed after the call, then.
	Verbose bool

	asked, compared, differed, skipped, running atomic.Int64
}

// DefaultWait is [Shadow.Wait] where that is zero; ShadowLimit bounds the
// comparisons that go on behind the calls that asked for them.
const (
	DefaultWait = 5 * time.Millisecond
	ShadowLimit = 8
)

// Difference is a question that the policy answers otherwise than the old code.
// But for Request it holds no personal data.
type Difference struct {
	// Action and Resource (its type) are what was asked.
	Action, Resource string
	// Old is the answer that holds.
	Old bool
	// New is what the policy answers; it means nothing where Err is set.
	New Decision
	// Err says that the policy could not answer. It is a difference whatever
	// Old says: an error is a no, and one that nobody meant.
	Err error
	// Request is the question where [Shadow.Verbose] asks for it.
	Request Request
}

// ShadowCount is what a [Shadow] has done since it was made.
type ShadowCount struct {
	// Asked are the calls, Compared those where both sides have answered, and
	// Differed those of them with a Difference. Skipped were to be compared, and
	// were not because too many others still ran.
	Asked, Compared, Differed, Skipped int64
}

// Count says how much stands behind the silence of Report.
func (s *Shadow) Count() ShadowCount {
	return ShadowCount{Asked: s.asked.Load(), Compared: s.compared.Load(), Differed: s.differed.Load(), Skipped: s.skipped.Load()}
}

// errShadow stands for a panic, whose value may be about a person.
var errShadow = errors.New("accesscontrol: the policy panicked beside the old code")

// Check answers what Old answers. Principal and record are read before it
// returns, and may be changed after that.
func (s *Shadow) Check(ctx context.Context, principal Principal, action string, record Resource) bool {
	old := s.Old != nil && s.Old(ctx, principal, action, record)
	if asked := s.asked.Add(1); s.Every > 1 && (asked-1)%int64(s.Every) != 0 {
		return old
	}
	if s.running.Add(1) > ShadowLimit {
		s.running.Add(-1)
		s.skipped.Add(1)
		return old
	}
	d := Difference{Action: action, Resource: record.Type, Old: old}
	if s.Verbose {
		d.Request = Request{principal, action, record}
	}
	answer := s.prepared(&principal, action, &record)
	behind := context.WithoutCancel(ctx) // the answer of the policy is wanted when the request is over, too
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.running.Add(-1)
		s.compare(behind, d, answer)
	}()
	wait := s.Wait
	if wait == 0 {
		wait = DefaultWait
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
	return old
}

// compare asks the policy. A panic, of a Report as well, ends here: it must not
// end a process that would have gone on without the shadow.
func (s *Shadow) compare(ctx context.Context, d Difference, answer func() (Decision, error)) {
	defer func() { _ = recover() }()
	d.New, d.Err = guarded(answer)
	s.compared.Add(1)
	if d.Err == nil && d.New.Allowed == d.Old {
		return
	}
	s.differed.Add(1)
	if s.Report != nil {
		s.Report(ctx, d)
	}
}

func guarded(answer func() (Decision, error)) (d Decision, err error) {
	defer func() {
		if recover() != nil {
			d, err = Decision{}, errShadow
		}
	}()
	return answer()
}

// prepared reads the question, and leaves to answer what may take its time.
func (s *Shadow) prepared(principal *Principal, action string, record *Resource) (answer func() (Decision, error)) {
	fails := func(err error) func() (Decision, error) {
		return func() (Decision, error) { return Decision{}, err }
	}
	defer func() {
		if recover() != nil { // a value that the application reads
			answer = fails(errShadow)
		}
	}()
	set, err := s.Policy.snapshot()
	if err != nil {
		return fails(err)
	}
	state, err := s.Policy.memo.standing(set, principal)
	if err != nil {
		return fails(err)
	}
	q, err := set.question(state.facts, action, record.Type)
	if err != nil {
		return fails(err)
	}
	row := new(sqlcond.Row)
	if err := q.table.read(record, row); err != nil {
		return fails(err)
	}
	var entity cedarx.Entity
	if q.table.Name == "" {
		if entity, err = (&residual{question: q}).whole(record); err != nil {
			return fails(err)
		}
	}
	if len(q.table.joins) > 0 { // which related records are read, the policies say
		r, err := state.known(asked{action, q.table.Resource}, q)
		if err == nil {
			err = r.related(record, row)
		}
		if err != nil {
			return fails(err)
		}
	}
	tenant := record.Tenant
	return func() (Decision, error) {
		r, err := state.known(asked{action, q.table.Resource}, q)
		if err != nil {
			return Decision{}, err
		}
		if r.foreign {
			row.Source = entity
		}
		return set.decision(r, row, tenant), nil
	}
}

// known is the residual of a question, kept or worked out.
func (s *standing) known(key asked, q *question) (*residual, error) {
	if r := s.residuals.Load().find(key); r != nil {
		return r, nil
	}
	return s.keep(key, q)
}

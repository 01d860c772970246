package accesscontrol

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
)

// Policy answers from one policy set at a time. It is safe for concurrent use;
// [Policy.Reload] changes the set for all at once.
type Policy struct{ current atomic.Pointer[snapshot] }

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
		return err
	}
	p.current.Store(s)
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

// Check answers nil for yes and an error otherwise: a [*Denied] for no, or
// another error when the question could not be answered, which is a no too.
func (p *Policy) Check(ctx context.Context, principal Principal, action string, record Record) error {
	d, err := p.Decide(ctx, Request{Principal: principal, Action: action, Record: record})
	if err != nil {
		return err
	}
	if !d.Allowed {
		return &Denied{Action: action, Record: record.Type, Decision: d}
	}
	return nil
}

// Decide answers with the determining policies. The error is about the
// question; a denial is not an error here.
func (p *Policy) Decide(ctx context.Context, r Request) (Decision, error) {
	s, err := p.snapshot()
	if err != nil {
		return Decision{}, err
	}
	a, err := s.actor(r.Principal)
	if err != nil {
		return Decision{}, err
	}
	return s.decide(ctx, a, r.Action, r.Record)
}

// Allower binds a principal to Check, in words of the standard library. The
// resource is "type/id"; without an id it is the principal's tenant itself, as
// a record of that type. The record comes from [Config.Find]; without it, a
// record has no attributes.
func (p *Policy) Allower(principal Principal) func(ctx context.Context, action, resource string) error {
	return func(ctx context.Context, action, resource string) error {
		kind, id, _ := strings.Cut(resource, "/")
		if id == "" {
			id = principal.Tenant
		}
		record := Record{Type: kind, ID: id, Tenant: principal.Tenant}
		s, err := p.snapshot()
		if err != nil {
			return err
		}
		if find := s.config.Find; find != nil {
			found, err := find(ctx, principal.Tenant, kind, id)
			if err != nil {
				return err
			}
			record = found
		}
		return p.Check(ctx, principal, action, record)
	}
}

func (s *snapshot) observe(ctx context.Context, name string, value float64, attrs ...slog.Attr) {
	if s.config.Observe != nil {
		s.config.Observe(ctx, name, value, attrs...)
	}
}

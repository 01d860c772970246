package audit

import (
	"context"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
)

// itself is the actor of what the trail does on its own account.
const itself = "crmguard/audit"

// ownLeaf is the leaf of an event of the trail's own: an erasure, a recovery. Who
// called for it stands there as Config.From says, so that the log answers who erased
// whom; about are the persons it is about, whose ids must not come in as those of
// whoever acts: who erases themselves would be named beside the surrogate for ever.
func (t *Trail) ownLeaf(ctx context.Context, kind, tenant, action string, about ...string) (*auditlog.Leaf, error) {
	leaf, err := t.leafOfItself(kind, tenant, action)
	if err != nil {
		return nil, err
	}
	c := t.caller(ctx)
	if ids.CheckGiven("Actor", c.Actor) == nil && checkOpaque("Actor", c.Actor) == nil && !slices.Contains(about, c.Actor) {
		leaf.Actor = c.Actor
	}
	if checkRequest("Request", c.Request) == nil && !slices.Contains(about, c.Request) {
		leaf.Request = c.Request
	}
	return leaf, nil
}

// leafOfItself is the leaf of what nobody has called for.
func (t *Trail) leafOfItself(kind, tenant, action string) (*auditlog.Leaf, error) {
	id, err := NewID()
	return &auditlog.Leaf{ID: id, Kind: kind, At: t.now(), Tenant: tenant, Actor: itself, Action: action, Outcome: OutcomeOK}, err
}

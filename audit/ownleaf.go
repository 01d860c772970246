package audit

import "github.com/crmguard/crmguard/audit/auditlog"

// itself is the actor of what the trail does on its own account.
const itself = "crmguard/audit"

// ownLeaf is the leaf of an event of the trail's own.
func (t *Trail) ownLeaf(kind, tenant, action string) (*auditlog.Leaf, error) {
	id, err := NewID()
	if err != nil {
		return nil, err
	}
	return &auditlog.Leaf{ID: id, Kind: kind, At: t.now(), Tenant: tenant, Actor: itself, Action: action, Outcome: OutcomeOK}, nil
}

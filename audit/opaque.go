package audit

import (
	"github.com/crmguard/crmguard/audit/internal/opaque"
	"github.com/crmguard/crmguard/internal/ids"
)

// checkOpaque refuses an id that says who somebody is. The error does not show
// it.
func checkOpaque(field, id string) error {
	what := opaque.Form(id)
	if what == "" {
		return nil
	}
	return invalid("%s is an opaque id, never a name or an address: it stays in the log for ever; %s", field, what)
}

// checkTenant is the rule for the tenant of whatever enters the log.
func checkTenant(field, tenant string) error {
	if err := ids.Check(field, tenant); err != nil {
		return invalid("%w", err)
	}
	return checkOpaque(field, tenant)
}

// checkRequest is the rule for the id of a request, which may be missing.
func checkRequest(field, id string) error {
	if id == "" {
		return nil
	}
	if err := ids.Check(field, id); err != nil {
		return invalid("%w", err)
	}
	return checkOpaque(field, id)
}

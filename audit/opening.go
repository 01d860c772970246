package audit

import (
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
)

func malformed(what string) error {
	return fmt.Errorf("audit: %w: %s", auditlog.ErrMalformed, what)
}

package audit

import (
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
)

func malformed(what string, args ...any) error {
	return fmt.Errorf("audit: %w: "+what, append([]any{auditlog.ErrMalformed}, args...)...)
}

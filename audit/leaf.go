package audit

import (
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// encodeLeaf returns the bytes that are hashed.
func encodeLeaf(l *auditlog.Leaf) ([]byte, error) {
	data, err := auditlog.AppendLeaf(nil, l)
	if errors.Is(err, auditlog.ErrTooLarge) {
		return nil, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return data, err
}

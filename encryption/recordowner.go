package encryption

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

const maxField = 16 << 20 // bytes of a sealed field

// NewRecordOwner returns the owner of a new record that several persons
// share: r:<uuid>. Store it in the owner column of the row, and of no other row:
// Redact of one of them would make the others unreadable.
func NewRecordOwner() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("encryption: new record owner: %w", err)
	}
	return keyring.RecordPrefix + id.String(), nil
}

package encryption

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

const (
	tenantOwner  = "t:" // the tenant's own data, about nobody
	recordPrefix = "r:" // a record of several persons
	maxID        = 255
	maxField     = 16 << 20
)

// NewRecordOwner returns the owner of a new record that several persons
// share: r:<uuid>. Store it in the owner column of the row.
func NewRecordOwner() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("encryption: new record owner: %w", err)
	}
	return recordPrefix + id.String(), nil
}

// checkID holds the rule for every id: opaque UTF-8 without NUL, 1 to 255 bytes.
func checkID(id string) error {
	if id == "" || len(id) > maxID || !utf8.ValidString(id) || strings.IndexByte(id, 0) >= 0 {
		return ErrID
	}
	return nil
}

func checkTenant(tenant string) error {
	if tenant == "" {
		return fmt.Errorf("%w: the empty string names no tenant", ErrTenant)
	}
	return checkID(tenant)
}

// checkPerson refuses, besides what no id may be, the reserved ids.
func checkPerson(person string) error {
	if err := checkID(person); err != nil {
		return err
	}
	if len(person) > 1 && person[1] == ':' {
		return fmt.Errorf("%w: a colon in second place is reserved", ErrID)
	}
	return nil
}

func checkRecordOwner(owner string) error {
	rest, ok := strings.CutPrefix(owner, recordPrefix)
	if id, err := uuid.Parse(rest); !ok || err != nil || id.String() != rest {
		return fmt.Errorf("%w: not r:<uuid>", ErrID)
	}
	return nil
}

// checkOwner allows all three kinds: ids that come from an owner column.
func checkOwner(owner string) error {
	if owner == tenantOwner {
		return nil
	}
	if strings.HasPrefix(owner, recordPrefix) {
		return checkRecordOwner(owner)
	}
	return checkPerson(owner)
}

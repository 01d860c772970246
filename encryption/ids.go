package encryption

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/ids"
)

const (
	tenantOwner  = "t:" // the tenant's own data, about nobody
	recordPrefix = "r:" // a record of several persons
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
func checkID(field, id string) error { return refusedID(ids.Check(field, id)) }

func refusedID(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrID, err)
	}
	return nil
}

func checkTenant(tenant string) error {
	if tenant == "" {
		return fmt.Errorf("%w: the empty string names no tenant", ErrTenant)
	}
	return checkID("tenant", tenant)
}

// checkPerson refuses, besides what no id may be, the reserved ids.
func checkPerson(person string) error { return refusedID(ids.CheckGiven("person", person)) }

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

package encryption

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/ids"
)

const (
	tenantOwner  = "t:" // the tenant's own data, about nobody
	recordPrefix = "r:" // a record of several persons
	maxField     = 16 << 20
)

// NewRecordOwner returns the owner of a new record that several persons
// share: r:<uuid>. Store it in the owner column of the row, and of no other row:
// Redact of one of them would make the others unreadable.
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

// checkPerson refuses, besides what no id may be, the reserved ids and e-mail
// addresses: an id stands in clear in rows, backups and logs, and is for ever.
func checkPerson(person string) error {
	if err := checkNamed(person); err != nil {
		return err
	}
	if isAddress(person) {
		return fmt.Errorf("%w: person has the form of an e-mail address, which tells who it is and changes: take a random id, and seal the address in a column", ErrID)
	}
	return nil
}

// checkNamed is checkPerson for calls that make nothing for the person: an
// erasure is not refused because of the form of an id.
func checkNamed(person string) error { return refusedID(ids.CheckGiven("person", person)) }

// isAddress: an at-sign with something before it, and behind it a dot with
// something on both sides, in the characters of IDNA and percent-encoded, too.
// So "4711@crm" is none.
func isAddress(id string) bool {
	if !strings.ContainsFunc(id, func(r rune) bool { return r == '@' || r == '%' || r >= utf8.RuneSelf }) {
		return false // as nearly all are, at each Writer
	}
	id = strings.NewReplacer("＠", "@", "﹫", "@", "%40", "@", "。", ".", "．", ".", "｡", ".", "%2e", ".", "%2E", ".").Replace(id)
	at := strings.LastIndexByte(id, '@')
	if at <= 0 {
		return false
	}
	dot := strings.IndexByte(id[at+1:], '.')
	return dot > 0 && at+1+dot < len(id)-1
}

func checkRecordOwner(owner string) error {
	rest, ok := strings.CutPrefix(owner, recordPrefix)
	if id, err := uuid.Parse(rest); !ok || err != nil || id.String() != rest {
		return fmt.Errorf("%w: the owner of a record is r:<uuid>, as NewRecordOwner makes them", ErrID)
	}
	return nil
}

// checkOwner allows all three kinds: ids that come from an owner column.
func checkOwner(owner string) error { return checkKinds(owner, checkPerson) }

// checkNamedOwner is to checkOwner what checkNamed is to checkPerson.
func checkNamedOwner(owner string) error { return checkKinds(owner, checkNamed) }

func checkKinds(owner string, person func(string) error) error {
	if owner == tenantOwner {
		return nil
	}
	if strings.HasPrefix(owner, recordPrefix) {
		return checkRecordOwner(owner)
	}
	return person(owner)
}

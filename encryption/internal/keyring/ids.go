package keyring

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/ids"
)

// Owners that are nobody, and how their ids begin.
const (
	TenantOwner  = "t:" // the tenant's own data, about nobody
	RecordPrefix = "r:" // a record of several persons
)

// CheckID holds the rule for every id: opaque UTF-8 without NUL, 1 to 255 bytes.
func CheckID(field, id string) error { return refusedID(ids.Check(field, id)) }

func refusedID(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrID, err)
	}
	return nil
}

// CheckTenant holds the rule for the names of tenants.
func CheckTenant(tenant string) error {
	if tenant == "" {
		return fmt.Errorf("%w: the empty string names no tenant", ErrTenant)
	}
	return CheckID("tenant", tenant)
}

// CheckPerson refuses, besides what no id may be, the reserved ids and e-mail
// addresses: an id stands in clear in rows, backups and logs, and is for ever.
func CheckPerson(person string) error {
	if err := CheckNamed(person); err != nil {
		return err
	}
	if isAddress(person) {
		return fmt.Errorf("%w: person has the form of an e-mail address, which tells who it is and changes: take a random id, and seal the address in a column", ErrID)
	}
	return nil
}

// CheckNamed is checkPerson for calls that make nothing for the person: an
// erasure is not refused because of the form of an id.
func CheckNamed(person string) error { return refusedID(ids.CheckGiven("person", person)) }

// isAddress: an at-sign with something before it, and behind it a dot with
// something on both sides, in the characters of IDNA and percent-encoded, too.
// So "4711@crm" is none.
func isAddress(id string) bool {
	plain := true // as nearly all are, at each Writer and in each row of a page
	for i := range len(id) {
		plain = plain && id[i] != '@' && id[i] != '%' && id[i] < utf8.RuneSelf
	}
	if plain {
		return false
	}
	id = strings.NewReplacer("＠", "@", "﹫", "@", "%40", "@", "。", ".", "．", ".", "｡", ".", "%2e", ".", "%2E", ".").Replace(id)
	at := strings.LastIndexByte(id, '@')
	if at <= 0 {
		return false
	}
	dot := strings.IndexByte(id[at+1:], '.')
	return dot > 0 && at+1+dot < len(id)-1
}

// CheckRecordOwner takes ids of the form r:<uuid>.
func CheckRecordOwner(owner string) error {
	rest, ok := strings.CutPrefix(owner, RecordPrefix)
	if id, err := uuid.Parse(rest); !ok || err != nil || id.String() != rest {
		return fmt.Errorf("%w: the owner of a record is r:<uuid>, as NewRecordOwner makes them", ErrID)
	}
	return nil
}

// CheckOwner allows all three kinds: ids that come from an owner column.
func CheckOwner(owner string) error { return checkKinds(owner, CheckPerson) }

// checkNamedOwner is to checkOwner what checkNamed is to checkPerson.
func checkNamedOwner(owner string) error { return checkKinds(owner, CheckNamed) }

func checkKinds(owner string, person func(string) error) error {
	if owner == TenantOwner {
		return nil
	}
	if strings.HasPrefix(owner, RecordPrefix) {
		return CheckRecordOwner(owner)
	}
	return person(owner)
}

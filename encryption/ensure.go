package encryption

import (
	"cmp"
	"context"
)

// Ensure does what Vault.Ensure promises.
func (v *ring) Ensure(ctx context.Context, tenant string, persons ...string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	if err := eachPosition(persons, func(_ int, person string) error { return checkPerson(person) }); err != nil {
		return err
	}
	return v.ensure(ctx, tenant, persons)
}

// ensure makes the keys of owners and the keysets of the taggers ready.
func (v *ring) ensure(ctx context.Context, tenant string, owners []string) error {
	found, keyVersion, _, err := v.sealKeys(ctx, tenant, owners)
	if err != nil && found == nil {
		return err
	}
	for _, purpose := range []string{purposeSeal, purposeLog} {
		if _, err := v.keyset(ctx, tenant, purpose); err != nil {
			return err
		}
	}
	if err == nil {
		return nil
	}
	return cmp.Or(eachPosition(owners, func(_ int, owner string) error {
		_, refused := lacking(found, []string{owner}, keyVersion, false)
		return refused
	}), err)
}

// eachPosition collects what check says of the persons.
func eachPosition(persons []string, check func(i int, person string) error) error {
	refused := map[int]error{}
	for i, person := range persons {
		if err := check(i, person); err != nil {
			refused[i] = err
		}
	}
	if len(refused) > 0 {
		return &PersonsError{Persons: refused}
	}
	return nil
}

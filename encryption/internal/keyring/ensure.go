package keyring

import (
	"cmp"
	"context"
)

// Ensure does what Vault.Ensure promises.
func (v *Ring) Ensure(ctx context.Context, tenant string, persons ...string) error {
	if err := CheckTenant(tenant); err != nil {
		return err
	}
	if err := EachPosition(persons, func(_ int, person string) error { return CheckPerson(person) }); err != nil {
		return err
	}
	return v.EnsureOwners(ctx, tenant, FoldAll(persons))
}

// EnsureOwners makes the keys of owners and the keysets of the taggers ready.
func (v *Ring) EnsureOwners(ctx context.Context, tenant string, owners []string) error {
	found, keyVersion, _, err := v.SealKeys(ctx, tenant, owners)
	if err != nil && found == nil {
		return err
	}
	for _, purpose := range []string{PurposeSeal, PurposeLog} {
		if _, err := v.Keyset(ctx, tenant, purpose); err != nil {
			return err
		}
	}
	if err == nil {
		return nil
	}
	return cmp.Or(EachPosition(owners, func(_ int, owner string) error {
		_, refused := lacking(found, []string{owner}, keyVersion, false)
		return refused
	}), err)
}

// EachPosition collects what check says of the persons.
func EachPosition(persons []string, check func(i int, person string) error) error {
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

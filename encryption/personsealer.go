package encryption

import (
	"context"
	"fmt"
	"iter"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// PersonSealer seals bytes that other packages hold (audit openings, undo
// pre-images, journals) under the key of the person they are about. It is
// safe for concurrent use.
type PersonSealer struct {
	vault   *Vault
	purpose string
}

// PersonSealer returns the sealer for a purpose, a frozen name that is part
// of every value: "opening", "undo", "journal", ….
func (v *Vault) PersonSealer(purpose string) PersonSealer {
	return PersonSealer{vault: v, purpose: purpose}
}

// Ensure fetches or creates the keys of these persons, and the keysets of the
// taggers, so that Seal, Open and Tag need no connection for half a lease:
// call it before the transaction. The person ""
// stands for the tenant's own data. Persons that get no key are a
// [PersonsError], which names their positions; behind the last stands the key of
// the tenant's own data.
func (s PersonSealer) Ensure(ctx context.Context, tenant string, persons ...string) error {
	if _, err := s.owner(tenant, ""); err != nil {
		return err
	}
	owners := make([]string, len(persons)+1)
	owners[len(persons)] = keyring.TenantOwner // behind the others: an error names positions
	if err := keyring.EachPosition(persons, func(i int, person string) (err error) {
		owners[i], err = s.owner(tenant, person)
		return err
	}); err != nil {
		return err
	}
	return s.vault.ring.EnsureOwners(ctx, tenant, owners)
}

func (s PersonSealer) owner(tenant, person string) (string, error) {
	if err := keyring.CheckID("purpose", s.purpose); err != nil {
		return "", fmt.Errorf("%w: the purpose of a PersonSealer is a name of 1 to 255 bytes that never changes", ErrDefinition)
	}
	if err := keyring.CheckTenant(tenant); err != nil {
		return "", err
	}
	if person == "" {
		return keyring.TenantOwner, nil
	}
	return keyring.Fold(person), keyring.CheckPerson(person)
}

// Seal seals under the person's key of the active key version; the person ""
// is the tenant's own data. ad must be given again to open.
func (s PersonSealer) Seal(ctx context.Context, tenant, person string, plaintext, ad []byte) ([]byte, error) {
	owner, err := s.owner(tenant, person)
	if err != nil {
		return nil, err
	}
	if len(plaintext) > maxField {
		return nil, &KeyError{Op: "seal", Table: s.purpose, Err: ErrTooLarge}
	}
	key, err := s.vault.ring.CachedSealKey(ctx, tenant, owner)
	if err != nil {
		return nil, err
	}
	return s.vault.ring.SealWith(ctx, tenant, owner, key, plaintext, format.PersonSealAD(s.purpose, tenant, owner, ad), false)
}

// Open opens what Seal has sealed for the same purpose, tenant, person and ad.
func (s PersonSealer) Open(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	owner, err := s.owner(tenant, person)
	if err != nil {
		return nil, err
	}
	keyVersion, err := KeyVersionOf(sealed)
	if err != nil || sealed[0] != format.FieldMark || len(sealed) < format.Overhead {
		return nil, &KeyError{Op: "open", Table: s.purpose, Err: ErrOpen}
	}
	key, _, err := s.vault.ring.OpenKey(ctx, tenant, owner, keyVersion)
	if err != nil {
		return nil, err
	}
	plaintext, err := key.AppendOpen(nil, sealed, format.PersonSealAD(s.purpose, tenant, owner, ad))
	if err != nil {
		return nil, &KeyError{Op: "open", Table: s.purpose, KeyVersion: keyVersion, Err: ErrOpen}
	}
	return plaintext, nil
}

// Census counts sealed values by key version: what a holder answers before a
// key version is destroyed. A value that is not sealed is ErrOpen.
func (s PersonSealer) Census(cells iter.Seq2[[]byte, error]) (map[uint32]int64, error) {
	out := map[uint32]int64{}
	for cell, err := range cells {
		if err != nil {
			return nil, err
		}
		keyVersion, err := KeyVersionOf(cell)
		if err != nil {
			return nil, &KeyError{Op: "census", Table: s.purpose, Err: ErrOpen}
		}
		out[keyVersion]++
	}
	return out, nil
}

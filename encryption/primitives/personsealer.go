package primitives

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/internal/rowjob"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

// PersonSealer seals bytes that other packages hold (audit openings, undo
// pre-images, journals) under the key of the person they are about. It is
// safe for concurrent use.
type PersonSealer struct {
	keys    *Keys
	purpose string
}

// PersonSealer is that of encryption.Vault.
func (k *Keys) PersonSealer(purpose string) PersonSealer {
	return PersonSealer{keys: k, purpose: purpose}
}

// Ensure fetches or creates the keys of these persons, and the keysets of the
// taggers, so that Seal, Open and Tag need no connection for half a lease:
// call it before the transaction. The person ""
// stands for the tenant's own data. Persons that get no key are a
// PersonsError of package encryption, which names their positions; behind the last stands the key of
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
	return s.keys.ring.EnsureOwners(ctx, tenant, owners)
}

func (s PersonSealer) owner(tenant, person string) (string, error) {
	if err := keyring.CheckID("purpose", s.purpose); err != nil {
		return "", fmt.Errorf("%w: the purpose of a PersonSealer is a name of 1 to 255 bytes that never changes", keyring.ErrDefinition)
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
	if len(plaintext) > format.MaxField {
		return nil, &keyring.KeyError{Op: "seal", Table: s.purpose, Err: keyring.ErrTooLarge}
	}
	key, err := s.keys.ring.CachedSealKey(ctx, tenant, owner)
	if err != nil {
		return nil, err
	}
	return s.keys.ring.SealWith(ctx, tenant, owner, key, plaintext, format.PersonSealAD(s.purpose, tenant, owner, ad), false)
}

// Open opens what Seal has sealed for the same purpose, tenant, person and ad.
func (s PersonSealer) Open(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	owner, err := s.owner(tenant, person)
	if err != nil {
		return nil, err
	}
	keyVersion, err := sealedvalue.KeyVersion(sealed)
	if err != nil || sealed[0] != format.FieldMark || len(sealed) < format.Overhead {
		return nil, &keyring.KeyError{Op: "open", Table: s.purpose, Err: keyring.ErrOpen}
	}
	key, _, err := s.keys.ring.OpenKey(ctx, tenant, owner, keyVersion)
	if err != nil {
		return nil, err
	}
	plaintext, err := key.AppendOpen(nil, sealed, format.PersonSealAD(s.purpose, tenant, owner, ad))
	if err != nil {
		return nil, &keyring.KeyError{Op: "open", Table: s.purpose, KeyVersion: keyVersion, Err: keyring.ErrOpen}
	}
	return plaintext, nil
}

// Census counts sealed values by key version: what a holder answers before a
// key version is destroyed. A value that is not sealed, and one that is NULL (nil),
// is counted as such and stops nothing; only the error of the sequence itself ends
// it, because what follows was not counted then.
func (s PersonSealer) Census(cells iter.Seq2[[]byte, error]) (jobs.Census, error) {
	out := jobs.Census{KeyVersions: map[uint32]int64{}}
	for cell, err := range cells {
		if err != nil {
			return out, err
		}
		keyVersion, err := sealedvalue.KeyVersion(cell)
		switch {
		case cell == nil:
			out.Null++
		case err != nil:
			out.Unsealed++
		default:
			out.KeyVersions[keyVersion]++
		}
	}
	return out, nil
}

// Reseal returns the value sealed under the active key version, and whether it
// differs from the one given. The holder stores it only over the bytes it has
// read. What a person sealed who was merged into another since stays that
// person's, and is opened by the same id.
func (s PersonSealer) Reseal(ctx context.Context, tenant, person string, sealed, ad []byte) (resealed []byte, changed bool, err error) {
	keyVersion, err := sealedvalue.KeyVersion(sealed)
	if err != nil {
		return nil, false, &keyring.KeyError{Op: "reseal", Table: s.purpose, Err: keyring.ErrOpen}
	}
	k, err := s.keys.ring.Tenant(ctx, tenant)
	if err != nil {
		return nil, false, err
	}
	if keyVersion == k.Active {
		return sealed, false, nil
	}
	plaintext, err := s.Open(ctx, tenant, person, sealed, ad)
	if err != nil {
		return nil, false, err
	}
	owner, err := s.owner(tenant, person)
	if err != nil {
		return nil, false, err
	}
	found, keyVersion, _, err := s.keys.ring.ActiveKeys(ctx, tenant, []string{owner}, true)
	if err != nil {
		return nil, false, err
	}
	resealed, err = s.keys.ring.SealWith(ctx, tenant, owner, found[owner].Key(keyVersion), plaintext, format.PersonSealAD(s.purpose, tenant, owner, ad), true)
	return resealed, err == nil, err
}

// Resealer returns Reseal in the shape that a holder's job over all of its values
// takes (Trail.ResealOpenings of package audit): a value that does not open, or
// whose person was erased, stays as it is and is counted, and the job goes on.
// Only what concerns all values, a key store or a KEK that does not answer, is an
// error. The report is for one job at a time.
func (s PersonSealer) Resealer(report *jobs.SealerReport) func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	return func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
		resealed, changed, err := s.Reseal(ctx, tenant, person, sealed, ad)
		switch {
		case err != nil && !rowjob.AboutOneValue(err):
			return nil, err
		case errors.Is(err, keyring.ErrErased):
			report.Erased++
			return sealed, nil
		case err != nil:
			report.Unreadable++
			if len(report.Listed) < jobs.Listed {
				report.Listed = append(report.Listed, jobs.Unreadable{Table: s.purpose, Digest: rowjob.Digest(sealed), Err: err})
			}
			return sealed, nil
		case changed:
			report.Resealed++
		}
		return resealed, nil
	}
}

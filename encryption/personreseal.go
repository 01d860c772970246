package encryption

import (
	"context"
	"errors"

	"github.com/crmguard/crmguard/encryption/internal/format"
)

// Reseal returns the value sealed under the active key version, and whether it
// differs from the one given. The holder stores it only over the bytes it has
// read. What a person sealed who was merged into another since stays that
// person's, and is opened by the same id.
func (s PersonSealer) Reseal(ctx context.Context, tenant, person string, sealed, ad []byte) (resealed []byte, changed bool, err error) {
	keyVersion, err := KeyVersionOf(sealed)
	if err != nil {
		return nil, false, &KeyError{Op: "reseal", Table: s.purpose, Err: ErrOpen}
	}
	k, err := s.vault.ring.Tenant(ctx, tenant)
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
	found, keyVersion, _, err := s.vault.ring.ActiveKeys(ctx, tenant, []string{owner}, true)
	if err != nil {
		return nil, false, err
	}
	resealed, err = s.vault.ring.SealWith(ctx, tenant, owner, found[owner].Key(keyVersion), plaintext, format.PersonSealAD(s.purpose, tenant, owner, ad), true)
	return resealed, err == nil, err
}

// SealerReport says what a func of [PersonSealer.Resealer] did.
type SealerReport struct {
	Resealed   int          // values under another key version than before
	Erased     int          // values of erased persons, left as they are
	Unreadable int          // values that do not open, left as they are
	Listed     []Unreadable // the first 100 of them: Table is the purpose, Key and Column are empty
}

// Resealer returns Reseal in the shape that a holder's job over all of its values
// takes (Trail.ResealOpenings of package audit): a value that does not open, or
// whose person was erased, stays as it is and is counted, and the job goes on.
// Only what concerns all values, a key store or a KEK that does not answer, is an
// error. The report is for one job at a time.
func (s PersonSealer) Resealer(report *SealerReport) func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	return func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
		resealed, changed, err := s.Reseal(ctx, tenant, person, sealed, ad)
		switch {
		case err != nil && !aboutOneValue(err):
			return nil, err
		case errors.Is(err, ErrErased):
			report.Erased++
			return sealed, nil
		case err != nil:
			report.Unreadable++
			if len(report.Listed) < maxListed {
				report.Listed = append(report.Listed, Unreadable{Table: s.purpose, Digest: digestOf(sealed), Err: err})
			}
			return sealed, nil
		case changed:
			report.Resealed++
		}
		return resealed, nil
	}
}

package encryption

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/internal/rowjob"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/frame"
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
	keyVersion, err := sealedvalue.KeyVersion(sealed)
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
		case errors.Is(err, ErrErased):
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

// Tagger makes and verifies tags with a keyset of the tenant: Tink
// HMAC-SHA256, 37 bytes. It is safe for concurrent use.
type Tagger struct {
	vault   *Vault
	purpose string
}

// Tagger returns the tagger for a purpose: "seal" (row seals, votes) or "log"
// (the audit queue). Another purpose fails at its first use with ErrKeyset.
func (v *Vault) Tagger(purpose string) Tagger { return Tagger{vault: v, purpose: purpose} }

// Tag returns the tag of data.
func (t Tagger) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	k, err := t.keyset(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return keyring.TagWith(k, data)
}

// Verify returns nil if tag is the tag of data, ErrTag otherwise; where the
// keyset lacks the key that the tag names, the error is fs.ErrNotExist too.
func (t Tagger) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	k, err := t.keyset(ctx, tenant)
	if err != nil {
		return err
	}
	if keyring.VerifyWith(k, data, tag) == nil {
		return nil
	}
	if k.Has(tag) {
		return ErrTag
	}
	// Made by a key that this process has not seen yet: read afresh once.
	fresh, err := t.vault.ring.LoadTenant(ctx, tenant)
	if err != nil {
		return err
	}
	if k, err = t.vault.ring.KeysetOf(ctx, fresh, t.purpose); err != nil {
		return err
	}
	return keyring.VerifyWith(k, data, tag)
}

func (t Tagger) keyset(ctx context.Context, tenant string) (*keyring.Keyset, error) {
	if t.purpose != keyring.PurposeSeal && t.purpose != keyring.PurposeLog {
		return nil, fmt.Errorf("%w: no tagger has this purpose: there are %q and %q", ErrKeyset, keyring.PurposeSeal, keyring.PurposeLog)
	}
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	return t.vault.ring.KnownKeyset(ctx, tenant, t.purpose)
}

// ManifestTagger makes and verifies tags with the installation's manifest
// keyset. It is safe for concurrent use.
type ManifestTagger struct{ vault *Vault }

// ManifestTagger returns the tagger for backup manifests.
func (v *Vault) ManifestTagger() ManifestTagger { return ManifestTagger{vault: v} }

// Tag returns the tag of data.
func (t ManifestTagger) Tag(ctx context.Context, data []byte) ([]byte, error) {
	k, err := t.vault.ring.KnownKeyset(ctx, "", keyring.PurposeManifest)
	if err != nil {
		return nil, err
	}
	return keyring.TagWith(k, data)
}

// Verify returns nil if tag is the tag of data, ErrTag otherwise; where the
// keyset lacks the key that the tag names, the error is fs.ErrNotExist too.
func (t ManifestTagger) Verify(ctx context.Context, data, tag []byte) error {
	k, err := t.vault.ring.KnownKeyset(ctx, "", keyring.PurposeManifest)
	if err != nil {
		return err
	}
	return keyring.VerifyWith(k, data, tag)
}

// Digests returns a func that computes keyed digests under every root of a
// tenant's keyset, the primary first, the others newest first. The only
// purpose is "suppression"; another one fails at the first use.
//
// A digest is HMAC-SHA256(HKDF(root, info), data), where info is LP encoded by
// the caller (formats.md 11 has four parts); roots are Tink key ids.
func (v *Vault) Digests(purpose string) func(ctx context.Context, tenant string, info, data []byte) (roots []uint32, digests [][]byte, err error) {
	return func(ctx context.Context, tenant string, info, data []byte) ([]uint32, [][]byte, error) {
		if purpose != keyring.PurposeSuppression {
			return nil, nil, fmt.Errorf("%w: no digests have this purpose", ErrKeyset)
		}
		if err := keyring.CheckTenant(tenant); err != nil {
			return nil, nil, err
		}
		return v.digests(ctx, tenant, purpose, info, data)
	}
}

// LedgerDigests returns the digests of the installation's ledger keyset, in
// the form of Digests with the info LP(label).
func (v *Vault) LedgerDigests() func(ctx context.Context, label string, data []byte) (roots []uint32, digests [][]byte, err error) {
	return func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		return v.digests(ctx, "", keyring.PurposeLedger, frame.Join(label), data)
	}
}

func (v *Vault) digests(ctx context.Context, tenant, purpose string, info, data []byte) ([]uint32, [][]byte, error) {
	k, err := v.ring.Keyset(ctx, tenant, purpose)
	if err != nil {
		return nil, nil, err
	}
	roots := make([]uint32, 0, len(k.Roots))
	digests := make([][]byte, 0, len(k.Roots))
	for _, r := range k.Roots {
		digest, err := digest(r.Key, info, data)
		if err != nil {
			return nil, nil, err
		}
		roots = append(roots, r.ID)
		digests = append(digests, digest)
	}
	return roots, digests, nil
}

func digest(root, info, data []byte) ([]byte, error) {
	key, err := format.Derive(root, info)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return mac.Sum(nil), nil
}

// Tagger returns Vault.Tagger for row seals ("seal"): for what a room keeps beside
// the table. Its data begin with a domain of their own.
func (t *SealedTable) Tagger() Tagger { return t.vault.Tagger(keyring.PurposeSeal) }

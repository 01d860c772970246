package encryption

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// A branch key stands between the KEK and the keysets of one tenant, or of the
// installation: the KEK wraps the branch key, the branch key wraps the others.
// So a KMS is asked once for a tenant, whatever is needed of it. It lives as
// long as the KEK that wraps it: closing an epoch makes a new one, and wraps all
// keysets of the tenant anew, in one transaction. Never is an old branch key
// wrapped by a new KEK, or older key copies would open under it.

// branchKey is a branch keyset as Tink takes a key that wraps keysets: a
// tink.AEAD, without a context, for nobody is asked.
type branchKey struct{ *openKeyset }

// errBranch says that a branch key does not open a keyset.
var errBranch = errors.New("the branch key does not open it")

// Encrypt seals as Tink's AES-GCM with its prefix does, in FIPS-only mode, too.
func (b branchKey) Encrypt(plaintext, ad []byte) ([]byte, error) {
	out := binary.BigEndian.AppendUint32([]byte{fieldMark}, b.primary())
	return b.gcm[b.primary()].Seal(out, nil, plaintext, ad), nil //nolint:gosec // the AEAD draws its nonce itself
}

// Decrypt opens what was sealed so.
func (b branchKey) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	if len(ciphertext) < overhead || ciphertext[0] != fieldMark {
		return nil, errors.New("no bytes that a branch key has wrapped")
	}
	gcm, known := b.gcm[binary.BigEndian.Uint32(ciphertext[1:prefixSize])]
	if !known {
		return nil, errors.New("another branch key has wrapped it")
	}
	plain, err := gcm.Open(nil, nil, ciphertext[prefixSize:], ad)
	if err != nil {
		return nil, errors.New("damaged, or of another place")
	}
	return plain, nil
}

// opens opens a keyset of the same tenant, and checks every key in it.
func (b branchKey) opens(row keystore.KeysetRow) (*openKeyset, error) {
	if err := checkUnder(row); err != nil {
		return nil, err
	}
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), b, keysetAD(row.Tenant, row.Purpose))
	if err != nil {
		return nil, fmt.Errorf("%w: keyset %q of %s: %w: %w", ErrKeyset, row.Purpose, keysetsOf(row.Tenant), errBranch, err)
	}
	return openedKeyset(row, handle)
}

// wraps wraps a keyset, and opens it again: nothing is stored that cannot be read.
func (b branchKey) wraps(row keystore.KeysetRow, handle *keyset.Handle) (*openKeyset, error) {
	want, err := openedKeyset(row, handle)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&out), b, keysetAD(row.Tenant, row.Purpose)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyset, err)
	}
	row.KEK, row.Wrapped = "", out.Bytes()
	open, err := b.opens(row)
	if err == nil && !want.sameKeys(open) {
		err = fmt.Errorf("%w: it opens something else than was wrapped", ErrKeyset)
	}
	return open, err
}

// newBranch makes a branch key under an id that is none of those, wrapped and
// proved by the KEK that the row names.
func (v *Vault) newBranch(ctx context.Context, row keystore.KeysetRow, taken ...uint32) (*openKeyset, error) {
	handle, err := newKeyset(purposeBranch, taken...)
	if err != nil {
		return nil, err
	}
	return v.wrapKeyset(ctx, row, handle)
}

// nextBranch makes the branch key that follows on this one, under a new KEK.
func (v *Vault) nextBranch(ctx context.Context, old *openKeyset, kek string, epoch int64) (*openKeyset, error) {
	row := old.row
	row.KEK, row.Epoch = kek, epoch
	row.Version++
	row.Former = append(slices.Clone(row.Former), old.primary())
	return v.newBranch(ctx, row, row.Former...)
}

// checkUnder refuses a keyset that names a KEK although it is no branch key.
func checkUnder(row keystore.KeysetRow) error {
	if row.KEK == "" {
		return nil
	}
	return fmt.Errorf("%w: keyset %q of %s names the KEK %.300q, which wraps branch keys alone: the key store or key copy is of a version that had none, before v0.1.0, and is read by that version only; or it was planted", ErrKeyset, row.Purpose, keysetsOf(row.Tenant), row.KEK)
}

// rowOf finds the keyset of a purpose among those of one tenant.
func rowOf(rows []keystore.KeysetRow, purpose string) (keystore.KeysetRow, error) {
	for _, row := range rows {
		if row.Purpose == purpose {
			return row, nil
		}
	}
	for _, row := range rows {
		if err := checkUnder(row); purpose == purposeBranch && row.Purpose != purposeBranch && err != nil {
			return keystore.KeysetRow{}, err
		}
	}
	return keystore.KeysetRow{}, fmt.Errorf("%w: purpose %s is missing", ErrKeyset, purpose)
}

// moveKeyset wraps a keyset by another branch key; of wrap keys only the primary
// goes along.
func moveKeyset(open, branch *openKeyset, epoch int64) (*openKeyset, error) {
	row, manager := open.row, keyset.NewManagerFromHandle(open.handle)
	if row.Purpose == purposeWrap {
		row.Former = slices.Clone(row.Former)
		for _, r := range open.roots[1:] {
			if err := manager.Delete(r.id); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrKeyset, err)
			}
			row.Former = append(row.Former, r.id)
		}
	}
	return rewrapped(branch, row, manager, epoch)
}

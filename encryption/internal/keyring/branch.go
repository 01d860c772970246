package keyring

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/crmguard/crmguard/encryption/internal/format"
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
type branchKey struct{ *Keyset }

// ErrBranch says that a branch key does not open a keyset.
var ErrBranch = errors.New("the branch key does not open it")

// Encrypt seals as Tink's AES-GCM with its prefix does, in FIPS-only mode, too.
func (b branchKey) Encrypt(plaintext, ad []byte) ([]byte, error) {
	out := binary.BigEndian.AppendUint32([]byte{format.FieldMark}, b.Primary())
	return b.gcm[b.Primary()].Seal(out, nil, plaintext, ad), nil //nolint:gosec // the AEAD draws its nonce itself
}

// Decrypt opens what was sealed so.
func (b branchKey) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	if len(ciphertext) < format.Overhead || ciphertext[0] != format.FieldMark {
		return nil, errors.New("no bytes that a branch key has wrapped")
	}
	gcm, known := b.gcm[binary.BigEndian.Uint32(ciphertext[1:format.PrefixSize])]
	if !known {
		return nil, errors.New("another branch key has wrapped it")
	}
	plain, err := gcm.Open(nil, nil, ciphertext[format.PrefixSize:], ad)
	if err != nil {
		return nil, errors.New("damaged, or of another place")
	}
	return plain, nil
}

// OpenUnder opens a keyset of the same tenant by this branch key, and checks every
// key in it.
func (k *Keyset) OpenUnder(row keystore.KeysetRow) (*Keyset, error) { return branchKey{k}.opens(row) }

// opens opens a keyset of the same tenant, and checks every key in it.
func (b branchKey) opens(row keystore.KeysetRow) (*Keyset, error) {
	if err := CheckUnder(row); err != nil {
		return nil, err
	}
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), b, format.KeysetAD(row.Tenant, row.Purpose))
	if err != nil {
		return nil, fmt.Errorf("%w: keyset %q of %s: %w: %w", ErrKeyset, row.Purpose, keysetsOf(row.Tenant), ErrBranch, err)
	}
	return openedKeyset(row, handle)
}

// wraps wraps a keyset, and opens it again: nothing is stored that cannot be read.
func (b branchKey) wraps(row keystore.KeysetRow, handle *keyset.Handle) (*Keyset, error) {
	want, err := openedKeyset(row, handle)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&out), b, format.KeysetAD(row.Tenant, row.Purpose)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyset, err)
	}
	row.KEK, row.Wrapped = "", out.Bytes()
	open, err := b.opens(row)
	if err == nil && !want.SameKeys(open) {
		err = fmt.Errorf("%w: it opens something else than was wrapped", ErrKeyset)
	}
	return open, err
}

// newBranch makes a branch key under an id that is none of those, wrapped and
// proved by the KEK that the row names.
func (v *Ring) newBranch(ctx context.Context, row keystore.KeysetRow, taken ...uint32) (*Keyset, error) {
	handle, err := newKeyset(PurposeBranch, taken...)
	if err != nil {
		return nil, err
	}
	return v.wrapKeyset(ctx, row, handle)
}

// nextBranch makes the branch key that follows on this one, under a new KEK.
func (v *Ring) nextBranch(ctx context.Context, old *Keyset, kek string, epoch int64) (*Keyset, error) {
	row := old.Row
	row.KEK, row.Epoch = kek, epoch
	row.Version++
	row.Former = append(slices.Clone(row.Former), old.Primary())
	return v.newBranch(ctx, row, row.Former...)
}

// CheckUnder refuses a keyset that names a KEK although it is no branch key.
func CheckUnder(row keystore.KeysetRow) error {
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
		if err := CheckUnder(row); purpose == PurposeBranch && row.Purpose != PurposeBranch && err != nil {
			return keystore.KeysetRow{}, err
		}
	}
	return keystore.KeysetRow{}, fmt.Errorf("%w: purpose %s is missing", ErrKeyset, purpose)
}

// MoveKeyset wraps a keyset by another branch key; of wrap keys only the primary
// goes along.
func MoveKeyset(open, branch *Keyset, epoch int64) (*Keyset, error) {
	row, manager := open.Row, keyset.NewManagerFromHandle(open.handle)
	if row.Purpose == PurposeWrap {
		row.Former = slices.Clone(row.Former)
		for _, r := range open.Roots[1:] {
			if err := manager.Delete(r.ID); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrKeyset, err)
			}
			row.Former = append(row.Former, r.ID)
		}
	}
	return rewrapped(branch, row, manager, epoch)
}

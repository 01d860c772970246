package encryption

import (
	"context"
	"database/sql"
	"path"
	"strings"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/internal/rowjob"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
)

// FailDisk makes the vault's key copies go to a disk that asks first: an error
// of ask is the outcome of that step, which is not carried out.
func (v *Vault) FailDisk(ask func(step string) error) {
	v.copies.OverDisk(durabletest.Ask(func(step, name string) error {
		switch {
		case step == "open" || step == "stat" || step == "close" && name == ".": // reading
			return nil
		case step == "remove" && strings.HasPrefix(path.Base(name), "keys-"):
			step = "remove older"
		case step == "remove":
			step = "remove unfinished"
		}
		return ask(step)
	}))
}

// PageQueries are the questions for one page of Reseal and of a census, behind a
// place.
func (t *SealedTable) PageQueries(ctx context.Context, db *sql.DB, tenant, after string) (queries map[string]string, args map[string][]any, err error) {
	return t.rows.PageQueries(ctx, db, tenant, after)
}

// SearchPages are the statements by which Undeclared reads a table with a key, from
// the beginning and from behind a key.
func SearchPages(ctx context.Context, handle *sql.DB, name string, after []any, versions ...uint32) (queries []string, args [][]any, err error) {
	return rowjob.SearchPages(ctx, handle, name, after, versions...)
}

// Bounds of what one key seals.
const (
	FreeSeals  = keyring.FreeSeals
	FirstBlock = keyring.FirstBlock
	LastBlock  = keyring.LastBlock
	WornSeals  = keyring.WornSeals
)

// HasSealed makes the vault believe that it has sealed so much under a person's
// key by itself.
func (v *Vault) HasSealed(tenant, owner string, keyVersion uint32, n uint32) {
	v.ring.HasSealed(tenant, owner, keyVersion, n)
}

// SealsLeft is what is left of what was allotted to the vault for a key.
func (v *Vault) SealsLeft(tenant, owner string, keyVersion uint32) int64 {
	return v.ring.Left(tenant, owner, keyVersion).Load()
}

// UseUp leaves so much of it.
func (v *Vault) UseUp(tenant, owner string, keyVersion uint32, left int64) {
	v.ring.Left(tenant, owner, keyVersion).Store(left)
}

// BranchKey is a branch keyset as it wraps others.
func BranchKey(handle *keyset.Handle) (tink.AEADWithContext, error) {
	branch, err := keyring.BranchAEAD(handle)
	return asKEK{branch}, err
}

// asKEK is an AEAD in the shape of a KEK.
type asKEK struct{ tink.AEAD }

func (b asKEK) EncryptWithContext(_ context.Context, plaintext, ad []byte) ([]byte, error) {
	return b.Encrypt(plaintext, ad)
}

func (b asKEK) DecryptWithContext(_ context.Context, ciphertext, ad []byte) ([]byte, error) {
	return b.Decrypt(ciphertext, ad)
}

package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac/hmac"
	"github.com/tink-crypto/tink-go/v2/prf/hkdfprf"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// The purposes of keysets.
const (
	PurposeBranch      = "branch"      // AES256-GCM, TINK prefix, one key: wraps the other keysets; of the installation, too
	PurposeWrap        = "wrap"        // AES256-GCM, TINK prefix: wraps person keys
	PurposeSeal        = "seal"        // HMAC-SHA256, TINK prefix: row seals, votes
	PurposeLog         = "log"         // HMAC-SHA256, TINK prefix: the audit queue
	PurposeIndex       = "index"       // HKDF-PRF: roots of blind indexes
	PurposeSuppression = "suppression" // HKDF-PRF: roots of suppression lists
	PurposeLedger      = "ledger"      // HKDF-PRF, of the installation
	PurposeManifest    = "manifest"    // HMAC-SHA256, TINK prefix, of the installation
)

// PurposesOf lists the purposes in the order of their bytes: the branch key comes
// first, so that whoever reads row by row has it when the others come.
func PurposesOf(tenant string) []string {
	if tenant == "" {
		return []string{PurposeBranch, PurposeLedger, PurposeManifest}
	}
	return []string{PurposeBranch, PurposeIndex, PurposeLog, PurposeSeal, PurposeSuppression, PurposeWrap}
}

// newKeyID draws a key id that is neither 0 nor one of those in use or former.
func newKeyID(taken ...uint32) (uint32, error) {
	var b [4]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, fmt.Errorf("encryption: random: %w", err)
		}
		if id := binary.BigEndian.Uint32(b[:]); id != 0 && !slices.Contains(taken, id) {
			return id, nil
		}
	}
}

// newKeyset makes a keyset of one fresh key, under an id that is none of those.
func newKeyset(purpose string, taken ...uint32) (*keyset.Handle, error) {
	manager := keyset.NewManager()
	id, err := addKey(manager, purpose, taken...)
	if err != nil {
		return nil, err
	}
	if err := manager.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyset, err)
	}
	return manager.Handle()
}

// addKey adds a fresh key to the keyset under an id it never had.
func addKey(manager *keyset.Manager, purpose string, taken ...uint32) (uint32, error) {
	id, err := newKeyID(taken...)
	if err != nil {
		return 0, err
	}
	secret, err := secretdata.NewBytesFromRand(format.KeySize)
	if err != nil {
		return 0, fmt.Errorf("encryption: random: %w", err)
	}
	switch purpose {
	case PurposeBranch, PurposeWrap:
		params, err := aesgcm.NewParameters(aesgcm.ParametersOpts{KeySizeInBytes: format.KeySize, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink})
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		key, err := aesgcm.NewKey(secret, id, params)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		return manager.AddKey(key)
	case PurposeSeal, PurposeLog, PurposeManifest:
		params, err := hmac.NewParameters(hmac.ParametersOpts{KeySizeInBytes: format.KeySize, TagSizeInBytes: 32, HashType: hmac.SHA256, Variant: hmac.VariantTink})
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		key, err := hmac.NewKey(secret, params, id)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		return manager.AddKey(key)
	case PurposeIndex, PurposeSuppression, PurposeLedger:
		params, err := hkdfprf.NewParameters(format.KeySize, hkdfprf.SHA256, nil)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		key, err := hkdfprf.NewKey(secret, params)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		return manager.AddKey(key)
	}
	return 0, fmt.Errorf("%w: purpose", ErrKeyset)
}

// keyOf checks one key of a keyset against what its purpose demands and
// returns its bytes. RAW (where a prefix exists), CRUNCHY and LEGACY are
// refused: without a prefix a reader would have to try keys one by one.
func keyOf(entry *keyset.Entry, purpose string) ([]byte, error) {
	refused := fmt.Errorf("%w: %s key %d is not of the kind, size and TINK prefix that the purpose demands", ErrKeyset, purpose, entry.KeyID())
	if entry.KeyID() == 0 || entry.KeyStatus() != keyset.Enabled {
		return nil, refused
	}
	var secret secretdata.Bytes
	switch purpose {
	case PurposeBranch, PurposeWrap:
		key, ok := entry.Key().(*aesgcm.Key)
		if !ok {
			return nil, refused
		}
		params, ok := key.Parameters().(*aesgcm.Parameters)
		if !ok || params.Variant() != aesgcm.VariantTink || params.IVSizeInBytes() != 12 || params.TagSizeInBytes() != 16 {
			return nil, refused
		}
		secret = key.KeyBytes()
	case PurposeSeal, PurposeLog, PurposeManifest:
		key, ok := entry.Key().(*hmac.Key)
		if !ok {
			return nil, refused
		}
		params, ok := key.Parameters().(*hmac.Parameters)
		if !ok || params.Variant() != hmac.VariantTink || params.HashType() != hmac.SHA256 || params.CryptographicTagSizeInBytes() != 32 {
			return nil, refused
		}
		secret = key.KeyBytes()
	case PurposeIndex, PurposeSuppression, PurposeLedger:
		key, ok := entry.Key().(*hkdfprf.Key)
		if !ok {
			return nil, refused
		}
		params, ok := key.Parameters().(*hkdfprf.Parameters)
		if !ok || params.HashType() != hkdfprf.SHA256 || len(params.Salt()) != 0 {
			return nil, refused
		}
		secret = key.KeyBytes()
	default:
		return nil, refused
	}
	if secret.Len() != format.KeySize {
		return nil, refused
	}
	return secret.Data(insecuresecretdataaccess.Token{}), nil
}

// root is one key of a keyset: its Tink id and its 32 bytes.
type root struct {
	ID  uint32
	Key []byte
}

// Keyset is a keyset in memory: the primary first, then the newest first.
type Keyset struct {
	Row    keystore.KeysetRow
	handle *keyset.Handle
	Roots  []root
	gcm    map[uint32]cipher.AEAD // purposes branch, wrap
	mac    tink.MAC               // purposes seal, log, manifest
}

// openedKeyset checks every key of a keyset that was unwrapped.
func openedKeyset(row keystore.KeysetRow, handle *keyset.Handle) (*Keyset, error) {
	out := &Keyset{Row: row, handle: handle}
	for i := handle.Len() - 1; i >= 0; i-- {
		entry, err := handle.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		key, err := keyOf(entry, row.Purpose)
		if err != nil {
			return nil, err
		}
		r := root{ID: entry.KeyID(), Key: key}
		if entry.IsPrimary() {
			out.Roots = slices.Insert(out.Roots, 0, r)
		} else {
			out.Roots = append(out.Roots, r)
		}
	}
	if len(out.Roots) == 0 {
		return nil, fmt.Errorf("%w: no key", ErrKeyset)
	}
	if row.Purpose == PurposeBranch && len(out.Roots) > 1 {
		return nil, fmt.Errorf("%w: a second branch key: an old one ends with its KEK", ErrKeyset)
	}
	return out, out.buildPrimitives()
}

func (k *Keyset) buildPrimitives() error {
	switch k.Row.Purpose {
	case PurposeBranch, PurposeWrap:
		k.gcm = make(map[uint32]cipher.AEAD, len(k.Roots))
		for _, r := range k.Roots {
			gcm, err := newGCM(r.Key)
			if err != nil {
				return err
			}
			k.gcm[r.ID] = gcm
		}
	case PurposeSeal, PurposeLog, PurposeManifest:
		primitive, err := newMAC(k.handle)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		k.mac = primitive
	}
	return nil
}

// randomKey draws a person key.
func randomKey() ([]byte, error) {
	key := make([]byte, format.KeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("encryption: random: %w", err)
	}
	return key, nil
}

// Primary is the id of the key that makes what is new.
func (k *Keyset) Primary() uint32 { return k.Roots[0].ID }

// Root returns the key of that id.
func (k *Keyset) Root(id uint32) ([]byte, bool) {
	for _, r := range k.Roots {
		if r.ID == id {
			return r.Key, true
		}
	}
	return nil, false
}

// newGCM is AES-256-GCM with a random IV in front of the ciphertext: the
// bytes of Tink behind its prefix, built so that FIPS-only mode accepts it.
func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("encryption: cipher: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("encryption: cipher: %w", err)
	}
	return gcm, nil
}

// WrapKey wraps a person key with the primary wrap key: 65 bytes.
func (k *Keyset) WrapKey(key []byte, tenant, owner string, keyVersion uint32) []byte {
	out := make([]byte, 0, format.Overhead+format.KeySize)
	out = append(out, format.FieldMark)
	out = binary.BigEndian.AppendUint32(out, k.Primary())
	return k.gcm[k.Primary()].Seal(out, nil, key, format.PersonKeyAD(tenant, owner, keyVersion)) //nolint:gosec // the AEAD draws its nonce itself
}

// WrapID returns the wrap key id that 65 wrapped bytes name.
func WrapID(wrapped []byte) uint32 {
	if len(wrapped) != format.Overhead+format.KeySize || wrapped[0] != format.FieldMark {
		return 0
	}
	return binary.BigEndian.Uint32(wrapped[1:format.PrefixSize])
}

// UnwrapKey opens a wrapped person key. known is false when the keyset has no
// key of that id, so that the caller reads the keyset afresh once.
func (k *Keyset) UnwrapKey(row keystore.KeyRow) (key []byte, known bool, err error) {
	gcm, known := k.gcm[WrapID(row.Wrapped)]
	if !known {
		return nil, false, &KeyError{Op: "wrapped by an unknown key", KeyVersion: row.KeyVersion, Err: ErrNoKey}
	}
	key, err = gcm.Open(nil, nil, row.Wrapped[format.PrefixSize:], format.PersonKeyAD(row.Tenant, row.Owner, row.KeyVersion))
	if err != nil || len(key) != format.KeySize {
		return nil, true, &KeyError{Op: "key row does not unwrap", KeyVersion: row.KeyVersion, Err: ErrOpen}
	}
	return key, true, nil
}

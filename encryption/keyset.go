package encryption

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

	"github.com/crmguard/crmguard/encryption/keystore"
)

// The purposes of keysets.
const (
	purposeBranch      = "branch"      // AES256-GCM, TINK prefix, one key: wraps the other keysets; of the installation, too
	purposeWrap        = "wrap"        // AES256-GCM, TINK prefix: wraps person keys
	purposeSeal        = "seal"        // HMAC-SHA256, TINK prefix: row seals, votes
	purposeLog         = "log"         // HMAC-SHA256, TINK prefix: the audit queue
	purposeIndex       = "index"       // HKDF-PRF: roots of blind indexes
	purposeSuppression = "suppression" // HKDF-PRF: roots of suppression lists
	purposeLedger      = "ledger"      // HKDF-PRF, of the installation
	purposeManifest    = "manifest"    // HMAC-SHA256, TINK prefix, of the installation
)

// purposesOf lists the purposes in the order of their bytes: the branch key comes
// first, so that whoever reads row by row has it when the others come.
func purposesOf(tenant string) []string {
	if tenant == "" {
		return []string{purposeBranch, purposeLedger, purposeManifest}
	}
	return []string{purposeBranch, purposeIndex, purposeLog, purposeSeal, purposeSuppression, purposeWrap}
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
	secret, err := secretdata.NewBytesFromRand(keySize)
	if err != nil {
		return 0, fmt.Errorf("encryption: random: %w", err)
	}
	switch purpose {
	case purposeBranch, purposeWrap:
		params, err := aesgcm.NewParameters(aesgcm.ParametersOpts{KeySizeInBytes: keySize, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink})
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		key, err := aesgcm.NewKey(secret, id, params)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		return manager.AddKey(key)
	case purposeSeal, purposeLog, purposeManifest:
		params, err := hmac.NewParameters(hmac.ParametersOpts{KeySizeInBytes: keySize, TagSizeInBytes: 32, HashType: hmac.SHA256, Variant: hmac.VariantTink})
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		key, err := hmac.NewKey(secret, params, id)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		return manager.AddKey(key)
	case purposeIndex, purposeSuppression, purposeLedger:
		params, err := hkdfprf.NewParameters(keySize, hkdfprf.SHA256, nil)
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
	case purposeBranch, purposeWrap:
		key, ok := entry.Key().(*aesgcm.Key)
		if !ok {
			return nil, refused
		}
		params, ok := key.Parameters().(*aesgcm.Parameters)
		if !ok || params.Variant() != aesgcm.VariantTink || params.IVSizeInBytes() != 12 || params.TagSizeInBytes() != 16 {
			return nil, refused
		}
		secret = key.KeyBytes()
	case purposeSeal, purposeLog, purposeManifest:
		key, ok := entry.Key().(*hmac.Key)
		if !ok {
			return nil, refused
		}
		params, ok := key.Parameters().(*hmac.Parameters)
		if !ok || params.Variant() != hmac.VariantTink || params.HashType() != hmac.SHA256 || params.CryptographicTagSizeInBytes() != 32 {
			return nil, refused
		}
		secret = key.KeyBytes()
	case purposeIndex, purposeSuppression, purposeLedger:
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
	if secret.Len() != keySize {
		return nil, refused
	}
	return secret.Data(insecuresecretdataaccess.Token{}), nil
}

// root is one key of a keyset: its Tink id and its 32 bytes.
type root struct {
	id  uint32
	key []byte
}

// openKeyset is a keyset in memory: the primary first, then the newest first.
type openKeyset struct {
	row    keystore.KeysetRow
	handle *keyset.Handle
	roots  []root
	gcm    map[uint32]cipher.AEAD // purposes branch, wrap
	mac    tink.MAC               // purposes seal, log, manifest
}

func openedKeyset(row keystore.KeysetRow, handle *keyset.Handle) (*openKeyset, error) {
	out := &openKeyset{row: row, handle: handle}
	for i := handle.Len() - 1; i >= 0; i-- {
		entry, err := handle.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKeyset, err)
		}
		key, err := keyOf(entry, row.Purpose)
		if err != nil {
			return nil, err
		}
		r := root{id: entry.KeyID(), key: key}
		if entry.IsPrimary() {
			out.roots = slices.Insert(out.roots, 0, r)
		} else {
			out.roots = append(out.roots, r)
		}
	}
	if len(out.roots) == 0 {
		return nil, fmt.Errorf("%w: no key", ErrKeyset)
	}
	if row.Purpose == purposeBranch && len(out.roots) > 1 {
		return nil, fmt.Errorf("%w: a second branch key: an old one ends with its KEK", ErrKeyset)
	}
	return out, out.buildPrimitives()
}

func (k *openKeyset) buildPrimitives() error {
	switch k.row.Purpose {
	case purposeBranch, purposeWrap:
		k.gcm = make(map[uint32]cipher.AEAD, len(k.roots))
		for _, r := range k.roots {
			gcm, err := newGCM(r.key)
			if err != nil {
				return err
			}
			k.gcm[r.id] = gcm
		}
	case purposeSeal, purposeLog, purposeManifest:
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
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("encryption: random: %w", err)
	}
	return key, nil
}

func (k *openKeyset) primary() uint32 { return k.roots[0].id }

func (k *openKeyset) root(id uint32) ([]byte, bool) {
	for _, r := range k.roots {
		if r.id == id {
			return r.key, true
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

// wrapKey wraps a person key with the primary wrap key: 65 bytes.
func (k *openKeyset) wrapKey(key []byte, tenant, owner string, keyVersion uint32) []byte {
	out := make([]byte, 0, overhead+keySize)
	out = append(out, fieldMark)
	out = binary.BigEndian.AppendUint32(out, k.primary())
	return k.gcm[k.primary()].Seal(out, nil, key, personKeyAD(tenant, owner, keyVersion)) //nolint:gosec // the AEAD draws its nonce itself
}

// wrapID returns the wrap key id that 65 wrapped bytes name.
func wrapID(wrapped []byte) uint32 {
	if len(wrapped) != overhead+keySize || wrapped[0] != fieldMark {
		return 0
	}
	return binary.BigEndian.Uint32(wrapped[1:prefixSize])
}

// unwrapKey opens a wrapped person key. known is false when the keyset has no
// key of that id, so that the caller reads the keyset afresh once.
func (k *openKeyset) unwrapKey(row keystore.KeyRow) (key []byte, known bool, err error) {
	gcm, known := k.gcm[wrapID(row.Wrapped)]
	if !known {
		return nil, false, &KeyError{Op: "wrapped by an unknown key", KeyVersion: row.KeyVersion, Err: ErrNoKey}
	}
	key, err = gcm.Open(nil, nil, row.Wrapped[prefixSize:], personKeyAD(row.Tenant, row.Owner, row.KeyVersion))
	if err != nil || len(key) != keySize {
		return nil, true, &KeyError{Op: "key row does not unwrap", KeyVersion: row.KeyVersion, Err: ErrOpen}
	}
	return key, true, nil
}

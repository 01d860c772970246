package audittest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/crmguard/crmguard/audit"
)

// Keys are [audit.Keys] in memory. The
// sealed form begins, as the real one does, with 0x01 and the key version.
type Keys struct {
	mu         sync.Mutex
	keyVersion uint32
	keys       map[string][]byte
	erased     map[string]bool
}

var _ audit.Keys = (*Keys)(nil)

var (
	errErased error = verdictError("audittest: person erased")
	errOpen   error = verdictError("audittest: does not open")
	errTag          = errors.New("audittest: wrong tag")
)

// verdictError is what [audit.Sealer] asks of a verdict on sealed bytes.
type verdictError string

func (e verdictError) Error() string    { return string(e) }
func (e verdictError) NeverOpens() bool { return errors.Is(e, errErased) }

// NewKeys returns keys of key version 1.
func NewKeys() *Keys {
	return &Keys{keyVersion: 1, keys: make(map[string][]byte), erased: make(map[string]bool)}
}

// Rotate begins a new key version and returns the one before.
func (k *Keys) Rotate() uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keyVersion++
	return k.keyVersion - 1
}

// Erase destroys the keys of a person.
func (k *Keys) Erase(_ context.Context, tenant, person string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.erased[tenant+"\x00"+person] = true
	return nil
}

func (k *Keys) key(tenant, person string, keyVersion uint32, fresh bool) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	owner := tenant + "\x00" + person
	if k.erased[owner] {
		return nil, errErased
	}
	name := string(binary.BigEndian.AppendUint32([]byte(owner), keyVersion))
	if k.keys[name] == nil && fresh {
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		k.keys[name] = key
	}
	if k.keys[name] == nil {
		return nil, errOpen
	}
	return k.keys[name], nil
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Seal encrypts under the person's key of the newest key version.
func (k *Keys) Seal(_ context.Context, tenant, person string, plaintext, ad []byte) ([]byte, error) {
	k.mu.Lock()
	keyVersion := k.keyVersion
	k.mu.Unlock()
	key, err := k.key(tenant, person, keyVersion, true)
	if err != nil {
		return nil, err
	}
	gcm, err := aead(key)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32([]byte{1}, keyVersion), gcm.Seal(nil, nil, plaintext, ad)...), nil //nolint:gosec // G407: the AEAD draws its own nonce and takes none
}

// Open undoes Seal, under any key version.
func (k *Keys) Open(_ context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < 5 || sealed[0] != 1 {
		return nil, errOpen
	}
	key, err := k.key(tenant, person, binary.BigEndian.Uint32(sealed[1:]), false)
	if err != nil {
		return nil, err
	}
	gcm, err := aead(key)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nil, sealed[5:], ad)
	if err != nil {
		return nil, errOpen
	}
	return plain, nil
}

// Tag returns an HMAC under a key of the tenant.
func (k *Keys) Tag(_ context.Context, tenant string, data []byte) ([]byte, error) {
	key, err := k.key(tenant, "\x00log", 0, true)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return mac.Sum([]byte{1, 0, 0, 0, 0}), nil
}

// Verify returns nil when tag is a tag of data.
func (k *Keys) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	want, err := k.Tag(ctx, tenant, data)
	if err == nil && !hmac.Equal(want, tag) {
		err = errTag
	}
	return err
}

// MACKeys derives one key from the tenant's key of the tags.
func (k *Keys) MACKeys(_ context.Context, tenant string, info []byte) (ids []uint32, keys [][]byte, err error) {
	root, err := k.key(tenant, "\x00log", 0, true)
	if err != nil {
		return nil, nil, err
	}
	key, err := hkdf.Key(sha256.New, root, nil, string(info), sha256.Size)
	return []uint32{0}, [][]byte{key}, err
}

// Prepare makes the keys of persons, and says so where one of them was erased.
func (k *Keys) Prepare(_ context.Context, tenant string, persons ...string) error {
	k.mu.Lock()
	keyVersion := k.keyVersion
	k.mu.Unlock()
	for _, person := range persons {
		if _, err := k.key(tenant, person, keyVersion, true); err != nil {
			return err
		}
	}
	return nil
}

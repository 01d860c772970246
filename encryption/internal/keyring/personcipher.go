package keyring

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/crmguard/crmguard/encryption/internal/format"
)

// Key is one key of one owner and key version, unwrapped.
type Key struct {
	keyVersion uint32
	allotted   bool // seals what the key store allots from the first one on
	Raw        [format.KeySize]byte
	Err        error // the row is there but does not unwrap
	slot       *atomic.Uint32
	block      atomic.Pointer[block]       // nil while it counts by itself
	Cipher     atomic.Pointer[cipher.AEAD] // nil until it is built
}

// Aead is the cipher of the key, built when it is first used: it takes many
// times the room of the key, an import makes many keys at once, and of several
// key versions one is used. Two who build it at once build the same.
func (k *Key) Aead() (cipher.AEAD, error) {
	if gcm := k.Cipher.Load(); gcm != nil {
		return *gcm, nil
	}
	return k.build()
}

func (k *Key) build() (cipher.AEAD, error) {
	gcm, err := newGCM(k.Raw[:])
	if err != nil {
		return nil, err
	}
	k.Cipher.Store(&gcm)
	return gcm, nil
}

// ErrUsedUp says that a key draws from what was allotted to it, and that nothing
// is left.
var ErrUsedUp = errors.New("encryption: no seal of the key is left")

// appendSeal appends mark ‖ key version ‖ IV ‖ ciphertext ‖ tag. All that is
// sealed is sealed here, and counted.
func (k *Key) appendSeal(dst, plaintext, ad []byte) ([]byte, error) {
	gcm, err := k.Sealing(1)
	if err != nil {
		return nil, err
	}
	return k.AppendDrawn(dst, gcm, plaintext, ad), nil
}

// Sealing draws n seals of the key, and returns the cipher to make them with.
func (k *Key) Sealing(n int) (cipher.AEAD, error) {
	gcm := k.Cipher.Load()
	if gcm == nil {
		built, err := k.build()
		if err != nil {
			return nil, err
		}
		gcm = &built
	}
	if !k.draw(uint32(n)) {
		return nil, ErrUsedUp
	}
	return *gcm, nil
}

// AppendDrawn makes one of the seals that were drawn.
func (k *Key) AppendDrawn(dst []byte, gcm cipher.AEAD, plaintext, ad []byte) []byte {
	return gcm.Seal(binary.BigEndian.AppendUint32(append(dst, format.FieldMark), k.keyVersion), nil, plaintext, ad) //nolint:gosec // the AEAD draws its nonce itself
}

// AppendOpen appends what was sealed so.
func (k *Key) AppendOpen(dst, sealed, ad []byte) ([]byte, error) {
	gcm, err := k.Aead()
	if err != nil {
		return nil, err
	}
	return gcm.Open(dst, nil, sealed[format.PrefixSize:], ad)
}

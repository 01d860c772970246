package encryption

import (
	"crypto/cipher"
	"errors"
	"sync/atomic"
)

// personKey is one key of one owner and key version, unwrapped.
type personKey struct {
	keyVersion uint32
	allotted   bool // seals what the key store allots from the first one on
	raw        [keySize]byte
	err        error // the row is there but does not unwrap
	slot       *atomic.Uint32
	block      atomic.Pointer[block]       // nil while it counts by itself
	cipher     atomic.Pointer[cipher.AEAD] // nil until it is built
}

// aead is the cipher of the key, built when it is first used: it takes many
// times the room of the key, an import makes many keys at once, and of several
// key versions one is used. Two who build it at once build the same.
func (k *personKey) aead() (cipher.AEAD, error) {
	if gcm := k.cipher.Load(); gcm != nil {
		return *gcm, nil
	}
	gcm, err := newGCM(k.raw[:])
	if err != nil {
		return nil, err
	}
	k.cipher.Store(&gcm)
	return gcm, nil
}

var errUsedUp = errors.New("encryption: no seal of the key is left")

// appendSeal appends mark ‖ key version ‖ IV ‖ ciphertext ‖ tag. All that is
// sealed is sealed here, and counted.
func (k *personKey) appendSeal(dst, plaintext, ad []byte) ([]byte, error) {
	gcm, err := k.sealing(1)
	if err != nil {
		return nil, err
	}
	return k.appendDrawn(dst, gcm, plaintext, ad), nil
}

// sealing draws n seals of the key, and returns the cipher to make them with.
func (k *personKey) sealing(n int) (cipher.AEAD, error) {
	gcm, err := k.aead()
	if err == nil && !k.draw(uint32(n)) {
		err = errUsedUp
	}
	return gcm, err
}

// appendDrawn makes one of the seals that were drawn.
func (k *personKey) appendDrawn(dst []byte, gcm cipher.AEAD, plaintext, ad []byte) []byte {
	v := k.keyVersion
	dst = append(dst, fieldMark, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	return gcm.Seal(dst, nil, plaintext, ad) //nolint:gosec // the AEAD draws its nonce itself
}

// appendOpen appends what was sealed so.
func (k *personKey) appendOpen(dst, sealed, ad []byte) ([]byte, error) {
	gcm, err := k.aead()
	if err != nil {
		return nil, err
	}
	return gcm.Open(dst, nil, sealed[prefixSize:], ad)
}

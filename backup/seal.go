package backup

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	//nolint:staticcheck // restic's format is Poly1305-AES; no other package offers the one-time authenticator by itself
	"golang.org/x/crypto/poly1305"
)

// blobID is a SHA-256: the name of a blob or of a file.
type blobID [sha256.Size]byte

func (id blobID) String() string { return hex.EncodeToString(id[:]) }

func (id blobID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func (id *blobID) UnmarshalText(text []byte) error {
	parsed, err := parseID(string(text))
	*id = parsed
	return err
}

func parseID(text string) (blobID, error) {
	var id blobID
	if len(text) != 2*len(id) {
		return id, corrupt("an id that is not 64 hex digits")
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil || id.String() != text {
		return blobID{}, corrupt("an id that is not 64 hex digits")
	}
	return id, nil
}

// Sealed bytes are IV ‖ AES-256-CTR ciphertext ‖ Poly1305-AES tag over the
// ciphertext. There is no associated data: what was opened is bound to its
// place only by the SHA-256 that the caller checks.
const (
	ivSize   = aes.BlockSize
	tagSize  = poly1305.TagSize
	overhead = ivSize + tagSize
)

// masterKey is the key of a repository, or the one that a password derives.
// Its bytes stay in a func: a verb of package fmt that does not suit a pointer
// (%s) prints what it points at.
type masterKey struct {
	parts func() *keyParts
	block cipher.Block // AES-256 with encrypt
	nonce cipher.Block // AES-128 with k
}

type keyParts struct {
	encrypt [32]byte
	k, r    [16]byte
}

// newMasterKey takes encrypt ‖ k ‖ r, the order in which scrypt gives them.
func newMasterKey(raw []byte) (*masterKey, error) {
	p := &keyParts{}
	m := &masterKey{parts: func() *keyParts { return p }}
	if len(raw) != len(p.encrypt)+len(p.k)+len(p.r) {
		return nil, corrupt("a key of %d bytes", len(raw))
	}
	copy(p.encrypt[:], raw)
	copy(p.k[:], raw[32:])
	copy(p.r[:], raw[48:])
	if p.encrypt == [32]byte{} || p.k == [16]byte{} || p.r == [16]byte{} {
		return nil, corrupt("a key of zeros")
	}
	var err error
	if m.block, err = aes.NewCipher(p.encrypt[:]); err != nil {
		return nil, err
	}
	m.nonce, err = aes.NewCipher(p.k[:])
	return m, err
}

func (m *masterKey) equal(other *masterKey) bool { return *m.parts() == *other.parts() }

func randomMasterKey() (*masterKey, error) {
	raw := make([]byte, 64)
	_, _ = rand.Read(raw) // never fails
	return newMasterKey(raw)
}

// chunkerKey makes every writer of the repository cut alike, and no two
// repositories.
func (m *masterKey) chunkerKey() ([]byte, error) {
	p := m.parts()
	secret := append(append(append([]byte(nil), p.encrypt[:]...), p.k[:]...), p.r[:]...)
	return hkdf.Key(sha256.New, secret, nil, "crmguard/backup/cdc/v1", 32)
}

func (m *masterKey) oneTime(iv []byte) *[32]byte {
	var key [32]byte
	copy(key[:16], m.parts().r[:])
	m.nonce.Encrypt(key[16:], iv)
	return &key
}

// seal appends the sealed plaintext to dst.
func (m *masterKey) seal(dst, plaintext []byte) []byte {
	var iv [ivSize]byte
	for iv == [ivSize]byte{} {
		_, _ = rand.Read(iv[:]) // never fails
	}
	dst = append(dst, iv[:]...)
	start := len(dst)
	dst = append(dst, plaintext...)
	cipher.NewCTR(m.block, iv[:]).XORKeyStream(dst[start:], dst[start:])
	var tag [tagSize]byte
	poly1305.Sum(&tag, dst[start:], m.oneTime(iv[:]))
	return append(dst, tag[:]...)
}

// open authenticates and decrypts sealed in place; the result aliases it.
func (m *masterKey) open(sealed []byte) ([]byte, error) {
	if len(sealed) < overhead {
		return nil, corrupt("%d bytes are too short to be sealed", len(sealed))
	}
	iv, body := sealed[:ivSize], sealed[ivSize:len(sealed)-tagSize]
	if [ivSize]byte(iv) == [ivSize]byte{} {
		return nil, corrupt("an IV of zeros")
	}
	tag := [tagSize]byte(sealed[len(sealed)-tagSize:])
	if !poly1305.Verify(&tag, body, m.oneTime(iv)) {
		return nil, corrupt("authentication failed")
	}
	cipher.NewCTR(m.block, iv).XORKeyStream(body, body)
	return body, nil
}

// checkHash says whether data is what its name promises.
func checkHash(data []byte, want blobID) error {
	if blobID(sha256.Sum256(data)) != want {
		return fmt.Errorf("%w: content does not have the hash it is named by", ErrCorrupt)
	}
	return nil
}

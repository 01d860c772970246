package randomschema

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// ErrNoKey is what Open answers when the key of a person was destroyed.
var ErrNoKey = fmt.Errorf("randomschema: %w", datastore.ErrShredded)

// application owns the key of what is nobody's.
const application = "the application"

// Keys are the keys of persons under which applications seal columns. They stand
// outside of the database.
type Keys struct {
	mu      sync.Mutex
	gone    map[string]bool
	records int // owners that redactions have made
}

// aead is the key of a person, the same each time until it is destroyed.
func (k *Keys) aead(owner string) (cipher.AEAD, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone[owner] {
		return nil, ErrNoKey
	}
	key := sha256.Sum256([]byte("key of " + owner))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal is the same each time for the same text; nil is what nobody can seal, whose
// key is destroyed.
func (k *Keys) seal(owner, text string) []byte {
	aead, err := k.aead(owner)
	if err != nil {
		return nil
	}
	nonce := sha256.Sum256([]byte(text))
	return aead.Seal(nonce[:aead.NonceSize():aead.NonceSize()], nonce[:aead.NonceSize()], []byte(text), nil)
}

// Open is what exports call.
func (k *Keys) Open(_ context.Context, tenant, person, _, _, _ string, sealed []byte) (any, error) {
	plain, err := k.open(owner(tenant, person), sealed)
	if err != nil {
		return nil, err
	}
	return plain, nil
}

func (k *Keys) open(owner string, sealed []byte) (string, error) {
	aead, err := k.aead(owner)
	if err != nil {
		return "", err
	}
	n := aead.NonceSize()
	if len(sealed) < n {
		return "", errors.New("randomschema: not sealed")
	}
	plain, err := aead.Open(nil, sealed[:n], sealed[n:], nil)
	return string(plain), err
}

// Erase destroys the key of a person.
func (k *Keys) Erase(_ context.Context, tenant, person string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone[owner(tenant, person)] = true
	return nil
}

// Left is 1 while the person's key is there.
func (k *Keys) Left(_ context.Context, tenant, person string) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone[owner(tenant, person)] {
		return 0, nil
	}
	return 1, nil
}

func owner(tenant, person string) string { return tenant + "/" + person }

// Pseudonym is the keyed function of a tenant.
func (c *Case) Pseudonym(_ context.Context, tenant string, value []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, []byte("key of tenant "+tenant))
	mac.Write(value)
	return mac.Sum(nil), nil
}

// about is how texts name the person of their row: a redactor knows it by that.
var aboutPerson = regexp.MustCompile(`S[0-9a-f]{14}`)

// Scrub takes what is about its person out of a free text, and leaves the rest.
func (c *Case) Scrub(text string) string { return aboutPerson.ReplaceAllString(text, "[redacted]") }

// ownerOf is the key owner of a row's sealed columns.
func (c *Case) ownerOf(r *row) string {
	switch {
	case r.keys != "":
		return owner(fmt.Sprint(r.tenant), r.keys)
	case r.owner < 0 || len(r.members) > 0:
		return application
	}
	return owner(fmt.Sprint(r.tenant), fmt.Sprint(c.person(r.owner)))
}

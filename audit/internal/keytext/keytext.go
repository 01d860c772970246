// Package keytext reads the text of a signing key. It promises that no error shows it.
package keytext

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Read reads the text of a signing key, which holds the verifier key, too.
func Read(text string) (signer note.Signer, verifier string, err error) {
	if signer, err = note.NewSigner(text); err != nil {
		return nil, "", fault(text, err)
	}
	// The form was checked; its last part is the algorithm, one byte, and the seed.
	seed, err := base64.StdEncoding.DecodeString(text[lastPlus(text)+1:])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return nil, "", errors.New("it is no Ed25519 key in the form of GenerateKey")
	}
	public := ed25519.PublicKey(ed25519.NewKeyFromSeed(seed[1:])[ed25519.SeedSize:])
	if verifier, err = note.NewEd25519VerifierKey(signer.Name(), public); err != nil {
		return nil, "", err
	}
	return signer, verifier, nil
}

// lastPlus is where the last part of a key begins: base64 may hold a plus, and
// the name and the hash before it none.
func lastPlus(text string) int {
	const head = "PRIVATE+KEY+"
	name := strings.IndexByte(text[len(head):], '+') + len(head)
	return strings.IndexByte(text[name+1:], '+') + name + 1
}

// fault says what may be wrong with the text of a signing key. It never shows
// the text.
func fault(key string, err error) error {
	switch {
	case key == "":
		return errors.New("it is empty: it is the first result of GenerateKey")
	case !strings.HasPrefix(key, "PRIVATE+KEY+"):
		return errors.New("it does not begin with PRIVATE+KEY+: it is the signing key, the first result of GenerateKey, and holds the verifier key, too")
	}
	return err
}

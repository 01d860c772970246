package c2sp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Key is a verifier key, and its text without the name of the log: the one that
// GenerateKey gives, however the text was spelt that it was read from. Package
// note takes capitals in the hash, line breaks in base64 and stray bits at its
// end; two texts of one key must compare as one.
type Key struct {
	note.Verifier
	Short string
}

// Keys are the verifier keys of a log, the newest first.
type Keys []Key

// ErrOtherLog says that a key is not of the log whose others are.
var ErrOtherLog = errors.New("a key of another log")

// ParseKeys reads the texts of verifier keys, all of one log: what verifies the
// newest signature, and what verified those before.
func ParseKeys(key string, former []string) (Keys, error) {
	newest, err := ParseKey(key)
	if err != nil {
		return nil, fmt.Errorf("in Key: %w", err)
	}
	out := Keys{newest}
	for _, text := range former {
		k, err := ParseKey(text)
		switch {
		case err != nil:
			return nil, fmt.Errorf("in Former: %w", err)
		case k.Name() != newest.Name():
			return nil, fmt.Errorf("%w: a key of Former belongs to %q, Key to %q", ErrOtherLog, k.Name(), newest.Name())
		case out.Has(k.KeyHash()):
			return nil, errors.New("in Former: a key stands there twice, or is Key")
		}
		out = append(out, k)
	}
	return out, nil
}

// ParseKey reads the text of one verifier key, and says what may be wrong with
// it.
func ParseKey(text string) (Key, error) {
	v, err := note.NewVerifier(text)
	short := ""
	if err == nil {
		short, err = spelling(v, text)
	}
	switch {
	case err == nil:
		return Key{v, short}, nil
	case text == "":
		return Key{}, errors.New("it is empty: it is the second result of GenerateKey")
	case strings.HasPrefix(text, "PRIVATE+KEY+"):
		return Key{}, errors.New("it is the signing key: the verifier key is the second result of GenerateKey")
	}
	return Key{}, err
}

// spelling is the text of a key without its name, as it is written once.
func spelling(v note.Verifier, text string) (string, error) {
	_, coded, ok := strings.Cut(strings.TrimPrefix(text, v.Name()+"+"), "+")
	key, err := base64.StdEncoding.DecodeString(coded)
	if !ok || err != nil {
		return "", errors.New("it is no verifier key")
	}
	return fmt.Sprintf("%08x+%s", v.KeyHash(), base64.StdEncoding.EncodeToString(key)), nil
}

// Spelling is the text of a key, without the name of its log, as [Key] has it;
// ok is false where it is the text of no key of this log.
func Spelling(origin, text string) (short string, ok bool) {
	key, err := ParseKey(origin + "+" + text)
	return key.Short, err == nil && key.Name() == origin
}

// Name is the origin of the log.
func (k Keys) Name() string { return k[0].Name() }

// Has says whether a key with this hash is among them.
func (k Keys) Has(hash uint32) bool {
	return slices.ContainsFunc(k, func(one Key) bool { return one.KeyHash() == hash })
}

// Verifiers are the keys as package note takes them.
func (k Keys) Verifiers() (out []note.Verifier) {
	for _, one := range k {
		out = append(out, one.Verifier)
	}
	return out
}

// SignedBy are those of the keys that signed a checkpoint.
func (k Keys) SignedBy(signed []byte) (out Keys) {
	for _, one := range k {
		if SignedBy(signed, one.Verifier) {
			out = append(out, one)
		}
	}
	return out
}

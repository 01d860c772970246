// Package canon writes and reads the JSON that crmguard hashes or signs.
//
// The bytes are those of RFC 8785 in a narrow profile (formats.md, General):
// member names are ASCII, numbers are integers up to 2^53-1 without -0, a
// member without value is left out rather than null, nesting ends at depth
// 16, names are unique and text is valid UTF-8. A reader checks the received
// bytes and never re-encodes them, so unknown members stay and verify.
package canon

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrCanonical is wrapped by every error about bytes outside the profile.
var ErrCanonical = errors.New("not canonical JSON")

const (
	maxDepth   = 16
	maxInteger = 1<<53 - 1
)

// Marshal encodes v, a struct with json tags or a map, in the profile.
// Byte slices become base64url without padding only where the caller has
// made them strings; use strings for binary members.
func Marshal(v any) ([]byte, error) {
	raw, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCanonical, scrub(err))
	}
	data, err := Transform(raw)
	if err != nil {
		return nil, err
	}
	if err := checkTokens(data); err != nil {
		return nil, err
	}
	return data, nil
}

// Unmarshal checks that data is canonical and decodes it into v. Members that
// v does not know are ignored; the caller verifies over data itself.
func Unmarshal(data []byte, v any) error {
	if err := Check(data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrCanonical, scrub(err))
	}
	return nil
}

// Check reports whether data is in the profile, byte for byte.
func Check(data []byte) error {
	if err := checkTokens(data); err != nil {
		return err
	}
	again, err := Transform(data)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return fmt.Errorf("%w: bytes differ from their RFC 8785 form", ErrCanonical)
	}
	return nil
}

// Transform returns the RFC 8785 bytes of any valid JSON document (floats and
// null included), with one difference: no number is rounded to a float64. Its
// digits are kept, all of them, in the notation of RFC 8785. Duplicate names,
// invalid UTF-8 and exponents beyond 32 bits are refused.
func Transform(document []byte) ([]byte, error) { return transform(document, true) }

// Typed is [Transform] for the form of a typed JSON value. It refuses -0 too:
// databases hand it back as 0.
func Typed(document []byte) ([]byte, error) { return transform(document, false) }

func transform(document []byte, minusZero bool) ([]byte, error) {
	value := jsontext.Value(bytes.Clone(document))
	err := value.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCanonical, scrub(err))
	}
	return canonicalNumbers(value, minusZero)
}

// checkTokens walks data and enforces what RFC 8785 alone allows.
func checkTokens(data []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		tok, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCanonical, scrub(err))
		}
		if err := checkToken(dec, tok); err != nil {
			return err
		}
	}
}

func checkToken(dec *jsontext.Decoder, tok jsontext.Token) error {
	if dec.StackDepth() > maxDepth {
		return fmt.Errorf("%w: deeper than %d", ErrCanonical, maxDepth)
	}
	switch tok.Kind() {
	case 'n':
		return fmt.Errorf("%w: null (leave the member out)", ErrCanonical)
	case '0':
		return checkNumber(tok.String())
	case '"':
		if kind, n := dec.StackIndex(dec.StackDepth()); kind == '{' && n%2 == 1 {
			return checkName(tok.String())
		}
	default: // true, false and brackets are as they must be
	}
	return nil
}

func checkNumber(s string) error {
	digits := bytes.TrimPrefix([]byte(s), []byte("-"))
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' || n > maxInteger {
			return fmt.Errorf("%w: a number that is no integer up to 2^53-1", ErrCanonical)
		}
		n = n*10 + uint64(c-'0')
	}
	if n > maxInteger || (n == 0 && len(digits) != len(s)) {
		return fmt.Errorf("%w: a number that is no integer up to 2^53-1, or -0", ErrCanonical)
	}
	return nil
}

func checkName(name string) error {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return fmt.Errorf("%w: a member name that is not ASCII", ErrCanonical)
		}
	}
	return nil
}

// scrub keeps the position and kind of a JSON error, never its text: parser
// messages quote the data they stumbled on.
func scrub(err error) error {
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("invalid JSON at byte %d", syntactic.ByteOffset)
	}
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		return fmt.Errorf("JSON of another shape at byte %d", semantic.ByteOffset)
	}
	return errors.New("unreadable")
}

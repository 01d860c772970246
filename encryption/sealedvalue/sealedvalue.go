// Package sealedvalue says what a sealed value shows of itself without any key:
// its key version, and the text form for columns that hold no bytes. Only package
// encryption opens it.
package sealedvalue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/canon"
)

// KeyVersion returns the key version that a sealed field, its text form
// or the beginning of a stream names. It looks at the prefix only: whether
// the value opens is another question.
func KeyVersion(sealed []byte) (uint32, error) {
	if len(sealed) >= format.TextHead && string(sealed[:len(format.TextPrefix)]) == format.TextPrefix {
		return keyVersionOfText(string(sealed[:format.TextHead]))
	}
	if len(sealed) < format.PrefixSize || (sealed[0] != format.FieldMark && sealed[0] != format.StreamMark) {
		return 0, &keyring.KeyError{Op: "not a sealed value", Err: keyring.ErrOpen}
	}
	keyVersion := binary.BigEndian.Uint32(sealed[1:format.PrefixSize])
	if keyVersion == 0 {
		return 0, &keyring.KeyError{Op: "not a sealed value", Err: keyring.ErrOpen}
	}
	return keyVersion, nil
}

func keyVersionOfText(head string) (uint32, error) {
	var keyVersion uint32
	for _, c := range []byte(head[len(format.TextPrefix):format.TextHead]) {
		digit := strings.IndexByte("0123456789abcdef", c)
		if digit < 0 {
			return 0, &keyring.KeyError{Op: "not the text form", Err: keyring.ErrOpen}
		}
		keyVersion = keyVersion<<4 | uint32(digit)
	}
	if keyVersion == 0 {
		return 0, &keyring.KeyError{Op: "not the text form", Err: keyring.ErrOpen}
	}
	return keyVersion, nil
}

// FormatText returns the text form of a sealed field: cg1. ‖ key version as 8
// hex digits ‖ . ‖ base64url of the whole. The column that holds it needs a
// binary collation.
func FormatText(sealed []byte) (string, error) {
	keyVersion, err := KeyVersion(sealed)
	if err != nil || sealed[0] != format.FieldMark {
		return "", &keyring.KeyError{Op: "not a sealed field", Err: keyring.ErrOpen}
	}
	return fmt.Sprintf("%s%08x.%s", format.TextPrefix, keyVersion, canon.FormatBytes(sealed)), nil
}

// ParseText returns the binary form of a text form, exactly as FormatText
// would write it: no other spelling of the same bytes is accepted.
func ParseText(text string) ([]byte, error) {
	refused := &keyring.KeyError{Op: "not the text form", Err: keyring.ErrOpen}
	if len(text) <= format.TextHead || !strings.HasPrefix(text, format.TextPrefix) || text[format.TextHead] != '.' {
		return nil, refused
	}
	keyVersion, err := keyVersionOfText(text[:format.TextHead])
	if err != nil {
		return nil, refused
	}
	sealed, err := canon.ParseBytes(text[format.TextHead+1:])
	if err != nil {
		return nil, refused
	}
	if named, err := KeyVersion(sealed); err != nil || named != keyVersion || sealed[0] != format.FieldMark {
		return nil, refused
	}
	return sealed, nil
}

// Stored returns the binary form of what a database hands out for a sealed column,
// nil for NULL, and whether that was the text form. Bytes that start like the text
// form are text (MySQL and some drivers hand text over as bytes).
func Stored(src any) (cell []byte, text bool, err error) {
	switch v := src.(type) {
	case nil:
		return nil, false, nil
	case []byte:
		if len(v) >= len(format.TextPrefix) && string(v[:len(format.TextPrefix)]) == format.TextPrefix {
			cell, err = ParseText(string(v))
			return cell, true, err
		}
		return append(make([]byte, 0, len(v)), v...), false, nil
	case string:
		cell, err = ParseText(v)
		return cell, true, err
	}
	return nil, false, errors.New("encryption: a sealed column holds neither bytes nor text")
}

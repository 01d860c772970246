package encryption

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// The bytes of formats.md, sections 1 to 4. They are frozen: data written
// with them is never rewritten.
const (
	fieldDomain      = "crmguard/field/v1"
	personSealDomain = "crmguard/personseal/v1"
	personKeyDomain  = "crmguard/personkey/v1"
	streamKeyDomain  = "crmguard/stream/v1"
	streamADDomain   = "crmguard/streamad/v1"
	indexDomain      = "crmguard/index/v1"
	keysetDomain     = "crmguard/keyset/v1"
	installDomain    = "crmguard/keyset/installation/v1"
	copyDomain       = "crmguard/keycopy/v1"

	fieldMark  = 0x01 // first byte of a sealed field: Tink's own prefix
	streamMark = 0x02 // first byte of a stream
	prefixSize = 5    // mark and key version
	overhead   = prefixSize + 12 + 16
	paddedBit  = 0x10 // added to the level of a padded column
	keySize    = 32
	textPrefix = "cg1."
	textHead   = len(textPrefix) + 8 // what a census compares
)

// appendFieldAD appends the associated data of a sealed field. Parts above
// the level stay empty; the level itself keeps the forms apart.
func appendFieldAD(dst []byte, level Level, padded bool, tenant, table, column, owner, row string) []byte {
	return appendFieldRow(appendFieldHead(dst, level, padded, tenant, table, column), level, owner, row)
}

// appendFieldHead appends what is the same in all rows, appendFieldRow the rest.
func appendFieldHead(dst []byte, level Level, padded bool, tenant, table, column string) []byte {
	dst = frame.Append(dst, fieldDomain)
	mark := byte(level)
	if padded {
		mark |= paddedBit
	}
	dst = append(dst, mark)
	dst = frame.Append(dst, tenant)
	dst = frame.Append(dst, table)
	return frame.Append(dst, column)
}

func appendFieldRow(dst []byte, level Level, owner, row string) []byte {
	if level < LevelOwner {
		owner = ""
	}
	if level < LevelRow {
		row = ""
	}
	dst = frame.Append(dst, owner)
	return frame.Append(dst, row)
}

func personSealAD(purpose, tenant, owner string, ad []byte) []byte {
	return frame.Append(frame.Join(personSealDomain, purpose, tenant, owner), ad)
}

func personKeyAD(tenant, owner string, keyVersion uint32) []byte {
	ad := make([]byte, 0, frame.Size(personKeyDomain)+frame.Size(tenant)+frame.Size(owner)+4)
	for _, part := range []string{personKeyDomain, tenant, owner} {
		ad = frame.Append(ad, part)
	}
	return binary.BigEndian.AppendUint32(ad, keyVersion)
}

func streamAD(tenant, table, column, owner, row string) []byte {
	return appendFieldAD(frame.Join(streamADDomain), LevelRow, false, tenant, table, column, owner, row)
}

func keysetAD(tenant, purpose string) []byte {
	if tenant == "" {
		return frame.Join(installDomain, purpose)
	}
	return frame.Join(keysetDomain, tenant, purpose)
}

// derive is HKDF-SHA256 with an empty salt and 32 bytes out.
func derive(root []byte, info []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, root, nil, string(info), keySize)
	if err != nil {
		return nil, fmt.Errorf("encryption: derive: %w", err)
	}
	return key, nil
}

// KeyVersionOf returns the key version that a sealed field, its text form
// or the beginning of a stream names. It looks at the prefix only: whether
// the value opens is another question.
func KeyVersionOf(sealed []byte) (uint32, error) {
	if len(sealed) >= textHead && string(sealed[:len(textPrefix)]) == textPrefix {
		return keyVersionOfText(string(sealed[:textHead]))
	}
	if len(sealed) < prefixSize || (sealed[0] != fieldMark && sealed[0] != streamMark) {
		return 0, &KeyError{Op: "not a sealed value", Err: ErrOpen}
	}
	keyVersion := binary.BigEndian.Uint32(sealed[1:prefixSize])
	if keyVersion == 0 {
		return 0, &KeyError{Op: "not a sealed value", Err: ErrOpen}
	}
	return keyVersion, nil
}

func keyVersionOfText(head string) (uint32, error) {
	var keyVersion uint32
	for _, c := range []byte(head[len(textPrefix):textHead]) {
		digit := strings.IndexByte("0123456789abcdef", c)
		if digit < 0 {
			return 0, &KeyError{Op: "not the text form", Err: ErrOpen}
		}
		keyVersion = keyVersion<<4 | uint32(digit)
	}
	if keyVersion == 0 {
		return 0, &KeyError{Op: "not the text form", Err: ErrOpen}
	}
	return keyVersion, nil
}

// FormatText returns the text form of a sealed field: cg1. ‖ key version as 8
// hex digits ‖ . ‖ base64url of the whole. The column that holds it needs a
// binary collation.
func FormatText(sealed []byte) (string, error) {
	keyVersion, err := KeyVersionOf(sealed)
	if err != nil || sealed[0] != fieldMark {
		return "", &KeyError{Op: "not a sealed field", Err: ErrOpen}
	}
	return fmt.Sprintf("%s%08x.%s", textPrefix, keyVersion, canon.FormatBytes(sealed)), nil
}

// ParseText returns the binary form of a text form, exactly as FormatText
// would write it: no other spelling of the same bytes is accepted.
func ParseText(text string) ([]byte, error) {
	refused := &KeyError{Op: "not the text form", Err: ErrOpen}
	if len(text) <= textHead || !strings.HasPrefix(text, textPrefix) || text[textHead] != '.' {
		return nil, refused
	}
	keyVersion, err := keyVersionOfText(text[:textHead])
	if err != nil {
		return nil, refused
	}
	sealed, err := canon.ParseBytes(text[textHead+1:])
	if err != nil {
		return nil, refused
	}
	if named, err := KeyVersionOf(sealed); err != nil || named != keyVersion || sealed[0] != fieldMark {
		return nil, refused
	}
	return sealed, nil
}

// pad appends value ‖ 0x80 ‖ 0x00… up to the bucket or Padmé length.
func pad(dst, value []byte, bucket int) []byte {
	size := len(value) + 1
	if bucket == Padme {
		size = padme(size)
	} else {
		size = (size + bucket - 1) / bucket * bucket
	}
	dst = append(dst, value...)
	dst = append(dst, 0x80)
	return append(dst, make([]byte, size-len(value)-1)...)
}

// padme keeps only as many significant bits of n as its bit length has bits.
func padme(n int) int {
	if n < 2 {
		return n
	}
	e := bits.Len(uint(n)) - 1
	last := e - bits.Len(uint(e))
	if last <= 0 {
		return n
	}
	mask := 1<<last - 1
	return (n + mask) &^ mask
}

var errPadding = errors.New("encryption: padding")

func unpad(padded []byte) ([]byte, error) {
	for i := len(padded) - 1; i >= 0; i-- {
		switch padded[i] {
		case 0x00:
		case 0x80:
			return padded[:i], nil
		default:
			return nil, errPadding
		}
	}
	return nil, errPadding
}

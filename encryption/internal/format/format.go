// Package format holds frozen bytes: associated data, prefixes, padding and the
// derivation of keys, as formats.md writes them. It knows no key, no store and no
// table. Nothing here may change: what was sealed with it is never rewritten.
package format

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/crmguard/crmguard/internal/frame"
)

// The bytes of formats.md, sections 1 to 4.
const (
	FieldDomain      = "crmguard/field/v1"
	personSealDomain = "crmguard/personseal/v1"
	personKeyDomain  = "crmguard/personkey/v1"
	StreamKeyDomain  = "crmguard/stream/v1"
	streamADDomain   = "crmguard/streamad/v1"
	IndexDomain      = "crmguard/index/v1"
	keysetDomain     = "crmguard/keyset/v1"
	installDomain    = "crmguard/keyset/installation/v1"
	CopyDomain       = "crmguard/keycopy/v1"

	FieldMark  = 0x01 // first byte of a sealed field: Tink's own prefix
	StreamMark = 0x02 // first byte of a stream
	PrefixSize = 5    // mark and key version
	Overhead   = PrefixSize + 12 + 16
	paddedBit  = 0x10                // added to the level of a padded column
	KeySize    = 32                  // of persons' keys and of all that are derived
	TextPrefix = "cg1."              // of the text form
	TextHead   = len(TextPrefix) + 8 // what a census compares
	MaxField   = 16 << 20            // bytes of a value that is sealed as a field

	MaxStreamName = 1024 // bytes of the name of a stream
)

// The levels of a column, and the bucket that stands for Padmé lengths.
const (
	LevelTenant = 1
	LevelOwner  = 2
	LevelRow    = 3

	Padme = -1
)

// AppendFieldAD appends the associated data of a sealed field. Parts above
// the level stay empty; the level itself keeps the forms apart.
func AppendFieldAD(dst []byte, level byte, padded bool, tenant, table, column, owner, row string) []byte {
	return AppendFieldRow(AppendFieldHead(dst, level, padded, tenant, table, column), level, owner, row)
}

// AppendFieldHead appends what is the same in all rows, appendFieldRow the rest.
func AppendFieldHead(dst []byte, level byte, padded bool, tenant, table, column string) []byte {
	dst = frame.Append(dst, FieldDomain)
	mark := level
	if padded {
		mark |= paddedBit
	}
	dst = append(dst, mark)
	dst = frame.Append(dst, tenant)
	dst = frame.Append(dst, table)
	return frame.Append(dst, column)
}

// AppendFieldRow appends the owner and the row, as far as the level goes, each as
// Fold and FoldRow have it.
func AppendFieldRow(dst []byte, level byte, owner, row string) []byte {
	owner, row = Fold(owner), FoldRow(row)
	if level < LevelOwner {
		owner = ""
	}
	if level < LevelRow {
		row = ""
	}
	dst = frame.Append(dst, owner)
	return frame.Append(dst, row)
}

// PersonSealAD is the associated data of what a person sealer seals.
func PersonSealAD(purpose, tenant, owner string, ad []byte) []byte {
	return frame.Append(frame.Join(personSealDomain, purpose, tenant, Fold(owner)), ad)
}

// PersonKeyAD is the associated data of a wrapped person key.
func PersonKeyAD(tenant, owner string, keyVersion uint32) []byte {
	ad := make([]byte, 0, frame.Size(personKeyDomain)+frame.Size(tenant)+frame.Size(owner)+4)
	for _, part := range []string{personKeyDomain, tenant, Fold(owner)} {
		ad = frame.Append(ad, part)
	}
	return binary.BigEndian.AppendUint32(ad, keyVersion)
}

// StreamAD is the associated data of a stream.
func StreamAD(tenant, table, column, owner, row string) []byte {
	return AppendFieldAD(frame.Join(streamADDomain), LevelRow, false, tenant, table, column, owner, row)
}

// KeysetAD is the associated data of a wrapped keyset.
func KeysetAD(tenant, purpose string) []byte {
	if tenant == "" {
		return frame.Join(installDomain, purpose)
	}
	return frame.Join(keysetDomain, tenant, purpose)
}

// Derive is HKDF-SHA256 with an empty salt and 32 bytes out.
func Derive(root []byte, info []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, root, nil, string(info), KeySize)
	if err != nil {
		return nil, fmt.Errorf("encryption: derive: %w", err)
	}
	return key, nil
}

// Pad appends value ‖ 0x80 ‖ 0x00… up to the bucket or Padmé length.
func Pad(dst, value []byte, bucket int) []byte {
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

// Unpad takes away what Pad has appended.
func Unpad(padded []byte) ([]byte, error) {
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

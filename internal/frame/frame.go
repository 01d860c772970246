// Package frame encodes what crmguard hashes, seals and authenticates.
//
// LP(x) is a 4-byte big-endian length followed by the bytes of x. Every
// associated data, commitment, seal and digest of the library is a sequence
// of LP parts, so that no two different inputs share an encoding: ("ab","c")
// and ("a","bc") differ. Integers are big-endian.
//
// A [Value] is a typed value: the type byte keeps text "0", integer 0, null
// and absent apart, which a plain string encoding would mix up.
package frame

import "encoding/binary"

// Append appends LP(x) to dst and returns the extended slice.
func Append[T ~string | ~[]byte](dst []byte, x T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(x)))
	return append(dst, x...)
}

// Join returns the LP encoding of all parts, one after the other.
func Join[T ~string | ~[]byte](parts ...T) []byte {
	size := 0
	for _, p := range parts {
		size += 4 + len(p)
	}
	dst := make([]byte, 0, size)
	for _, p := range parts {
		dst = Append(dst, p)
	}
	return dst
}

// Size returns the number of bytes that LP(x) takes.
func Size[T ~string | ~[]byte](x T) int { return 4 + len(x) }

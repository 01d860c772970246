package format

import "strings"

const uuidSize = 36 // of a UUID as text, with hyphens

// Fold is the one spelling of an id for keys and associated data: a UUID of 36
// characters in small letters, every other id byte for byte as it is. A column of
// the type UUID hands back in small letters what was written in capitals, and
// whoever makes ids writes either: were the two spellings two ids, what was sealed
// under one would open for nobody, and an erasure of one leave the other's keys.
func Fold(id string) string {
	if len(id) != uuidSize || !mayHoldCapitals(id) || !isUUID(id) {
		return id // as nearly all are, at each row that is opened
	}
	return strings.ToLower(id)
}

// mayHoldCapitals is false of a text without any of A to Z, and of nearly no
// other: eight bytes at a time are asked whether one of them has the bit of the
// letters and not that of the small ones.
func mayHoldCapitals(text string) bool {
	const letter = 0x4040404040404040
	for len(text) >= 8 {
		eight := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
		if eight&^(eight<<1)&letter != 0 {
			return true
		}
		text = text[8:]
	}
	for i := range len(text) {
		if text[i]&0x60 == 0x40 {
			return true
		}
	}
	return false
}

// IsUUID says whether an id is one that Fold folds.
func IsUUID(id string) bool { return len(id) == uuidSize && isUUID(id) }

// FoldRow is Fold of each part of a row's key, which are joined by /.
func FoldRow(row string) string {
	if len(row) < uuidSize || !mayHoldCapitals(row) || row == strings.ToLower(row) {
		return row // as nearly all are
	}
	parts := strings.Split(row, "/")
	for i, part := range parts {
		parts[i] = Fold(part)
	}
	return strings.Join(parts, "/")
}

func isUUID(id string) bool {
	for i := range len(id) {
		c := id[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if strings.IndexByte("0123456789abcdefABCDEF", c) < 0 {
				return false
			}
		}
	}
	return true
}

package format

import "strings"

const uuidSize = 36 // of a UUID as text, with hyphens

// Fold is the one spelling of an id for keys and associated data: a UUID of 36
// characters in small letters, every other id byte for byte as it is. A column of
// the type UUID hands back in small letters what was written in capitals, and
// whoever makes ids writes either: were the two spellings two ids, what was sealed
// under one would open for nobody, and an erasure of one leave the other's keys.
func Fold(id string) string {
	if len(id) != uuidSize || !isUUID(id) {
		return id
	}
	return strings.ToLower(id) // the same string where it is small
}

// IsUUID says whether an id is one that Fold folds.
func IsUUID(id string) bool { return len(id) == uuidSize && isUUID(id) }

// FoldRow is Fold of each part of a row's key, which are joined by /.
func FoldRow(row string) string {
	if len(row) < uuidSize || row == strings.ToLower(row) {
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

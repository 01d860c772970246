package keyring

import (
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/format"
)

// Fold is the spelling of an owner that keys, caches and the key store know: every
// entry folds, so that nobody has two.
func Fold(owner string) string { return format.Fold(owner) }

// FoldAll is Fold of a list, at the same positions.
func FoldAll(owners []string) []string {
	out := make([]string, len(owners))
	for i, owner := range owners {
		out[i] = Fold(owner)
	}
	return out
}

// Spellings are the ways in which a column of text may hold an id, the one that is
// named first: a UUID in small and in capital letters, too.
func Spellings(id string) []string {
	out := []string{id}
	if !format.IsUUID(id) {
		return out
	}
	for _, other := range []string{strings.ToLower(id), strings.ToUpper(id)} {
		if other != id && (len(out) < 2 || other != out[1]) {
			out = append(out, other)
		}
	}
	return out
}

// SpeltLike is an id as a column of text has it that holds another one in this
// spelling: what changes the owner of a row keeps to its letters.
func SpeltLike(id, stored string) string {
	if format.IsUUID(id) && format.IsUUID(stored) && stored == strings.ToUpper(stored) && stored != strings.ToLower(stored) {
		return strings.ToUpper(id)
	}
	return id
}

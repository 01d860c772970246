package keyring

import (
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// sameIndexRows compares whatever the order in which a store answers.
func sameIndexRows(a, b []keystore.IndexRow) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(row keystore.IndexRow) bool { return !slices.Contains(b, row) })
}

package keyring

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// A UUID is one id in small and in capital letters to whoever makes or reads it,
// and so it is to a column of that type, which writes it in small ones. To a key
// store the two are two: an erasure takes both.

// otherSpellings are the other usual ones of a UUID, none where the owner is none.
func otherSpellings(owner string) (out []string) {
	rest, record := strings.CutPrefix(owner, RecordPrefix)
	if _, err := uuid.Parse(rest); record || err != nil {
		return nil
	}
	for _, other := range []string{strings.ToLower(owner), strings.ToUpper(owner)} {
		if other != owner {
			out = append(out, other)
		}
	}
	return out
}

// spellings adds whoever the key store knows under another spelling of one of
// the owners, with everyone who was merged with them.
func spellings(ctx context.Context, tx keystore.Tx, tenant string, owners []string) ([]string, error) {
	for i := 0; i < len(owners); i++ {
		others := slices.DeleteFunc(otherSpellings(owners[i]), func(other string) bool { return slices.Contains(owners, other) })
		if len(others) == 0 {
			continue
		}
		have, err := tx.Owners(ctx, tenant, others)
		if err != nil {
			return nil, err
		}
		for _, row := range have.Owners {
			more, err := mergeSet(ctx, tx, tenant, row.Owner)
			if err != nil {
				return nil, err
			}
			for _, owner := range more {
				if !slices.Contains(owners, owner) {
					owners = append(owners, owner)
				}
			}
		}
	}
	return owners, nil
}

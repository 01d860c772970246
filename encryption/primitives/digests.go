package primitives

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/frame"
)

// Digests is that of encryption.Vault.
func (k *Keys) Digests(purpose string) func(ctx context.Context, tenant string, info, data []byte) (roots []uint32, digests [][]byte, err error) {
	return func(ctx context.Context, tenant string, info, data []byte) ([]uint32, [][]byte, error) {
		if purpose != keyring.PurposeSuppression {
			return nil, nil, fmt.Errorf("%w: no digests have this purpose", keyring.ErrKeyset)
		}
		if err := keyring.CheckTenant(tenant); err != nil {
			return nil, nil, err
		}
		return k.digests(ctx, tenant, purpose, info, data)
	}
}

// LedgerDigests is that of encryption.Vault.
func (k *Keys) LedgerDigests() func(ctx context.Context, label string, data []byte) (roots []uint32, digests [][]byte, err error) {
	return func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		return k.digests(ctx, "", keyring.PurposeLedger, frame.Join(label), data)
	}
}

func (k *Keys) digests(ctx context.Context, tenant, purpose string, info, data []byte) ([]uint32, [][]byte, error) {
	set, err := k.ring.Keyset(ctx, tenant, purpose)
	if err != nil {
		return nil, nil, err
	}
	roots := make([]uint32, 0, len(set.Roots))
	digests := make([][]byte, 0, len(set.Roots))
	for _, r := range set.Roots {
		digest, err := digest(r.Key, info, data)
		if err != nil {
			return nil, nil, err
		}
		roots = append(roots, r.ID)
		digests = append(digests, digest)
	}
	return roots, digests, nil
}

func digest(root, info, data []byte) ([]byte, error) {
	key, err := format.Derive(root, info)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return mac.Sum(nil), nil
}

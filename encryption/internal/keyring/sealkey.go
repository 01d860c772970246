package keyring

import "context"

// CachedSealKey answers from memory while the lease runs, so that it may be
// called inside a transaction after Ensure.
func (v *Ring) CachedSealKey(ctx context.Context, tenant, owner string) (*Key, error) {
	if key := v.leasedSealKey(tenant, owner); key != nil {
		return key, nil
	}
	found, keyVersion, _, err := v.SealKeys(ctx, tenant, []string{owner})
	if err != nil {
		return nil, err
	}
	return found[owner].Key(keyVersion), nil
}

func (v *Ring) leasedSealKey(tenant, owner string) *Key {
	now := v.cfg.Now()
	v.mu.RLock()
	defer v.mu.RUnlock()
	k, o := v.tenants[tenant], v.owners[ownerID{tenant, owner}]
	if k == nil || o == nil || v.leaseLocked(&k.age).Over(now) || v.leaseLocked(&o.age).Over(now) {
		return nil
	}
	if o.Sealable() != nil {
		return nil
	}
	// A key version that began meanwhile may wait for the lease's end.
	for _, keyVersion := range []uint32{k.Active, o.active} {
		if key := o.Key(keyVersion); key != nil && key.Err == nil {
			return key
		}
	}
	return nil
}

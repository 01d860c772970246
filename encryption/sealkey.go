package encryption

import "context"

// cachedSealKey answers from memory while the lease runs, so that it may be
// called inside a transaction after Ensure.
func (v *ring) cachedSealKey(ctx context.Context, tenant, owner string) (*personKey, error) {
	if key := v.leasedSealKey(tenant, owner); key != nil {
		return key, nil
	}
	found, keyVersion, _, err := v.sealKeys(ctx, tenant, []string{owner})
	if err != nil {
		return nil, err
	}
	return found[owner].key(keyVersion), nil
}

func (v *ring) leasedSealKey(tenant, owner string) *personKey {
	now := v.cfg.Now()
	v.mu.RLock()
	defer v.mu.RUnlock()
	k, o := v.tenants[tenant], v.owners[ownerID{tenant, owner}]
	if k == nil || o == nil || v.leaseLocked(&k.age).over(now) || v.leaseLocked(&o.age).over(now) {
		return nil
	}
	if o.sealable() != nil {
		return nil
	}
	// A key version that began meanwhile may wait for the lease's end.
	for _, keyVersion := range []uint32{k.active, o.active} {
		if key := o.key(keyVersion); key != nil && key.err == nil {
			return key
		}
	}
	return nil
}

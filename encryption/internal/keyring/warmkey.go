package keyring

// Warm answers from memory alone, with one look at the clock, where nothing has to
// be compared, read, created or allotted: what is known of the tenant, the
// owner's key that seals, and until when. A key of nil says that the long way is to
// be gone.
func (v *Ring) Warm(tenant, owner string) (*Tenant, **Key, Grant) {
	now := v.cfg.Now()
	v.mu.RLock()
	g, k, o := v.grant, v.tenants[tenant], v.owners[ownerID{tenant, owner}]
	good := k != nil && o != nil && !k.narrowed && !o.narrowed
	v.mu.RUnlock()
	if !good || g.half().Over(now) || o.Sealable() != nil {
		return nil, nil, g
	}
	key := o.KeyRef(k.Active)
	if key == nil || (*key).Err != nil || !(*key).ample() {
		return nil, nil, g
	}
	return k, key, g
}

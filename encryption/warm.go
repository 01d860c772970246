package encryption

// readyTable is what a Writer of a table needs of a tenant besides a key, found
// in order once for the rows that the tenant has: every index that was declared
// by then is registered, and the table declares all that others search by.
type readyTable struct {
	declared uint64         // indexes that the vault's tables had
	indexes  *tenantIndexes // nil where the table has none
}

// keepReady remembers it. The bound is that of the index keys.
func (k *tenantKeys) keepReady(t *SealedTable, ready *readyTable) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ready == nil || len(k.ready) >= maxDerived {
		k.ready = map[*SealedTable]*readyTable{}
	}
	k.ready[t] = ready
}

func (k *tenantKeys) readyFor(t *SealedTable) *readyTable {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ready[t]
}

// warmWriter answers from memory alone, with one look at the clock, where
// nothing has to be compared, read, created, registered or allotted; nil says
// that the long way is to be gone, which answers the same.
func (t *SealedTable) warmWriter(tenant, owner string) *Writer {
	v := t.vault
	now := v.cfg.Now()
	v.mu.RLock()
	g, k, o := v.grant, v.tenants[tenant], v.owners[ownerID{tenant, owner}]
	good := k != nil && o != nil && !k.narrowed && !o.narrowed
	v.mu.RUnlock()
	if !good || g.half().over(now) || o.sealable() != nil {
		return nil
	}
	key := o.keyRef(k.active)
	if key == nil || (*key).err != nil || !(*key).ample() {
		return nil
	}
	ready := k.readyFor(t)
	if ready == nil || ready.declared != v.declared.count.Load() {
		return nil
	}
	return t.newWriter(tenant, owner, key, ready, g)
}

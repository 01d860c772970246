package keycopy

import (
	"bytes"
	"context"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// repairPage is a page of rows of one kind and tenant out of a copy.
type repairPage struct {
	*repair
	tenant string
	rows   keystore.Rows
	wrap   *keyring.Keyset // of the store

	change     keystore.Change
	tombstones int
	conflicts  []DamagedRow
}

// compare decides what to bring back, as the store is in this transaction.
func (p *repairPage) compare(ctx context.Context, tx keystore.Tx, now keystore.State) error {
	p.change, p.tombstones, p.conflicts = keystore.Change{}, 0, nil
	tenant, err := tx.Tenant(ctx, p.tenant)
	if err != nil {
		return err
	}
	if p.wrap != nil && !slices.ContainsFunc(tenant.Keysets, func(k keystore.KeysetRow) bool {
		return k.Purpose == keyring.PurposeWrap && k.Version == p.wrap.Row.Version && bytes.Equal(k.Wrapped, p.wrap.Row.Wrapped)
	}) {
		return keyring.ErrStale
	}
	meant := p.dead || !p.unmoved(now) // what is gone may have been taken away on purpose
	p.keyVersions(tenant, meant)
	have, err := p.known(ctx, tx)
	if err != nil {
		return err
	}
	p.owners(have, meant, now)
	if !meant {
		if err := p.aliases(ctx, tx, have); err != nil {
			return err
		}
	}
	if !p.dead {
		p.keys(tenant, have)
	}
	if p.returns() && !p.fence.stands(p.tenant, tenant, now) {
		p.alone()
	}
	if len(p.rows.Indexes) > 0 && len(p.lostIndexes(p.tenant, tenant, now)) > 0 {
		p.fence.brings(p.tenant)
	}
	return nil
}

// returns reports whether something comes back that values may open with.
func (p *repairPage) returns() bool {
	put := p.change.Put
	return len(put.Keys) > 0 || len(put.Owners) > p.tombstones ||
		slices.ContainsFunc(put.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.State != keystore.Destroyed })
}

// alone leaves of the change what waits for no fence: what is gone for ever.
func (p *repairPage) alone() {
	put := keystore.Rows{
		Owners:      slices.DeleteFunc(p.change.Put.Owners, func(o keystore.OwnerRow) bool { return o.State != keystore.Tombstone }),
		KeyVersions: slices.DeleteFunc(p.change.Put.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.State != keystore.Destroyed }),
	}
	p.change.Put, p.conflicts = put, nil
}

// known reads what the store has of all owners on the page.
func (p *repairPage) known(ctx context.Context, tx keystore.Tx) (keystore.Rows, error) {
	var ids []string
	for _, row := range p.rows.Owners {
		ids = append(ids, row.Owner)
	}
	for _, row := range p.rows.Keys {
		ids = append(ids, row.Owner)
	}
	for _, row := range p.rows.Aliases {
		ids = append(ids, row.Alias, row.Owner)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) == 0 {
		return keystore.Rows{}, nil
	}
	return tx.Owners(ctx, p.tenant, ids)
}

// keyVersions brings back what each was. One that is destroyed is so for ever, also
// where this process did it after the copy was written.
func (p *repairPage) keyVersions(have keystore.Rows, meant bool) {
	for _, row := range p.rows.KeyVersions {
		ours := p.copies.ring.HasDestroyed(p.tenant, row.KeyVersion) // since the copy
		if ours {
			row.State = keystore.Destroyed
		}
		if meant && row.State != keystore.Destroyed {
			continue
		}
		i := slices.IndexFunc(have.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.KeyVersion == row.KeyVersion })
		broken := i < 0 || !knownKeyVersion(have.KeyVersions[i].State)
		if row.State == keystore.Destroyed && p.from.Holes > 0 && !broken && !ours {
			continue // the row may be what was damaged when the copy was written
		}
		if broken || have.KeyVersions[i].State != row.State {
			p.change.Put.KeyVersions = append(p.change.Put.KeyVersions, row) // every change of a state narrows
		}
	}
}

// lostIndexes are the index rows of a tenant that come back: what is gone, where
// nothing was taken away since the copy, and in any case what is there in no state, or
// says another thing than in the copy. Nobody took that away, and what an index is
// never changes: only its state does, and that one stays.
func (r *repair) lostIndexes(tenant string, have keystore.Rows, now keystore.State) (lost []keystore.IndexRow) {
	if r.dead {
		return nil
	}
	for _, row := range r.from.indexes[tenant] {
		i := slices.IndexFunc(have.Indexes, func(x keystore.IndexRow) bool { return sameIndex(x, row) })
		switch {
		case i < 0 && !r.unmoved(now):
		case i < 0 || !knownIndex(have.Indexes[i].State):
			lost = append(lost, row)
		case !sameMeaning(have.Indexes[i], row):
			row.State = have.Indexes[i].State
			lost = append(lost, row)
		}
	}
	return lost
}

// sameMeaning reports whether two rows of one index version say the same of its
// values.
func sameMeaning(a, b keystore.IndexRow) bool {
	return a.Root == b.Root && a.UnfitRoot == b.UnfitRoot && a.Normaliser == b.Normaliser && a.Bits == b.Bits
}

// owners brings back who is gone. Erased is erased: a tombstone comes back over
// whoever was revived, and takes the keys along, that of the copy as one of which
// this process knows itself.
func (p *repairPage) owners(have keystore.Rows, meant bool, now keystore.State) {
	for _, row := range p.rows.Owners {
		ours := p.copies.ring.HasErased(p.tenant, row.Owner) // since the copy
		if ours {
			row.State = keystore.Tombstone
		}
		i := slices.IndexFunc(have.Owners, func(o keystore.OwnerRow) bool { return o.Owner == row.Owner })
		damaged := i < 0 || !knownOwner(have.Owners[i].State)
		switch {
		case row.State == keystore.Tombstone && p.from.Holes > 0 && !ours: // it may be what was damaged when the copy was written
			if damaged {
				p.change.Put.Owners = append(p.change.Put.Owners, buried(row, now))
				p.tombstones++
			}
		case row.State == keystore.Tombstone && (damaged || have.Owners[i].State != keystore.Tombstone):
			p.change.Put.Owners = append(p.change.Put.Owners, buried(row, now))
			for _, key := range have.Keys {
				if key.Owner == row.Owner {
					p.change.Remove.Keys = append(p.change.Remove.Keys, key)
				}
			}
			p.tombstones++
		case damaged && (!meant || i >= 0 && !p.dead && p.opens(have, row.Owner)):
			p.change.Put.Owners = append(p.change.Put.Owners, row)
		}
	}
}

// buried is a tombstone as of this change: until it, others had the keys perhaps, and
// an erasure that finds it waits for them.
func buried(row keystore.OwnerRow, now keystore.State) keystore.OwnerRow {
	row.Sequence = max(row.Sequence, now.Sequence)
	return row
}

// opens reports whether a key of an owner stands and opens: an erasure would have
// taken it along.
func (p *repairPage) opens(have keystore.Rows, owner string) bool {
	return p.wrap != nil && slices.ContainsFunc(have.Keys, func(k keystore.KeyRow) bool {
		if k.Owner != owner {
			return false
		}
		_, _, err := p.wrap.UnwrapKey(k)
		return err == nil
	})
}

// aliases brings back who was merged, between persons that are known.
func (p *repairPage) aliases(ctx context.Context, tx keystore.Tx, have keystore.Rows) error {
	known := func(id string) bool {
		return slices.ContainsFunc(have.Owners, func(o keystore.OwnerRow) bool { return o.Owner == id })
	}
	for _, row := range p.rows.Aliases {
		i := slices.IndexFunc(have.Aliases, func(a keystore.AliasRow) bool { return a.Alias == row.Alias })
		if i >= 0 {
			ends, err := tx.Owners(ctx, p.tenant, []string{have.Aliases[i].Owner})
			if err != nil {
				return err
			}
			if len(ends.Owners) > 0 {
				continue
			}
		}
		if known(row.Alias) && known(row.Owner) {
			p.change.Put.Aliases = append(p.change.Put.Aliases, row)
		}
	}
	return nil
}

// keys brings back what opens in the copy and not in the store.
func (p *repairPage) keys(tenant, have keystore.Rows) {
	from := p.from.keysets[[2]string{p.tenant, keyring.PurposeWrap}]
	for _, row := range p.rows.Keys {
		alive := slices.ContainsFunc(have.Owners, func(o keystore.OwnerRow) bool {
			return o.Owner == row.Owner && o.State == keystore.Live
		})
		wanted := slices.ContainsFunc(tenant.KeyVersions, func(g keystore.KeyVersionRow) bool {
			return g.KeyVersion == row.KeyVersion && (g.State == keystore.Active || g.State == keystore.Retired)
		})
		ours := p.copies.ring.HasErased(p.tenant, row.Owner) || p.copies.ring.HasDestroyed(p.tenant, row.KeyVersion) // whatever the store says by now
		raw, _, err := from.UnwrapKey(row)
		if !alive || !wanted || ours || p.wrap == nil || err != nil {
			continue
		}
		i := slices.IndexFunc(have.Keys, func(k keystore.KeyRow) bool { return k.Owner == row.Owner && k.KeyVersion == row.KeyVersion })
		if i >= 0 {
			if now, _, err := p.wrap.UnwrapKey(have.Keys[i]); err == nil {
				if !bytes.Equal(now, raw) {
					p.conflicts = append(p.conflicts, DamagedRow{Kind: keystore.KindKey, Tenant: row.Tenant, Owner: row.Owner, KeyVersion: row.KeyVersion, Reason: "it opens, and is another key than in the copy", Digest: keyDigest(have.Keys[i].Wrapped)})
				}
				continue
			}
		}
		// The very bytes of the copy, unless its wrap key is no longer that of the store.
		if same, _, err := p.wrap.UnwrapKey(row); err != nil || !bytes.Equal(same, raw) || keyring.WrapID(row.Wrapped) != p.wrap.Primary() {
			row.Wrapped = p.wrap.WrapKey(raw, row.Tenant, row.Owner, row.KeyVersion)
		}
		if i >= 0 {
			row.Seals = max(row.Seals, have.Keys[i].Seals)
		}
		p.change.Put.Keys = append(p.change.Put.Keys, keyring.Restored(keystore.Rows{Keys: []keystore.KeyRow{row}}).Keys...)
	}
}

func (p *repairPage) count(report *RepairReport) {
	put := p.change.Put
	report.KeyVersions += len(put.KeyVersions)
	report.Owners += len(put.Owners)
	report.Tombstones += p.tombstones
	report.Keys += len(put.Keys)
	report.Aliases += len(put.Aliases)
	report.Conflicts = append(report.Conflicts, p.conflicts[:min(len(p.conflicts), maxDamaged-min(maxDamaged, len(report.Conflicts)))]...)
}

package keyring

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// A creation leaves no mark in the history. A failover to a standby that lags,
// or a recovery to a point in time, may therefore lose the newest keys and no
// mark; a process that has such a key in memory would go on sealing under it.
// So each looks for the youngest keys that it has read, until they are so old
// that no standby can lag behind them.
const (
	keptRecent = 64          // youngest owners first
	standbyLag = time.Minute // and longer than any lease
)

// recentKey is a key that this process has read.
type recentKey struct {
	row     keystore.KeyRow
	since   int64     // sequence of its owner: who was created later has no lower one
	barrier int64     // that was known before it was read: while it stands there, nothing takes the row away
	read    time.Time // before it was read
}

// recentKeys are those that may be lost yet.
type recentKeys struct{ keys []*recentKey }

// note takes note of what was read; barrier and read are from before.
func (r *recentKeys) note(rows keystore.Rows, barrier int64, read time.Time) {
	var young []keystore.OwnerRow
	for _, owner := range rows.Owners {
		if owner.State != keystore.Tombstone && (len(r.keys) < keptRecent || owner.Sequence >= r.keys[r.oldest()].since) {
			young = append(young, owner)
		}
	}
	slices.SortStableFunc(young, func(a, b keystore.OwnerRow) int { return cmp.Compare(a.Sequence, b.Sequence) })
	for _, owner := range young[max(0, len(young)-keptRecent):] {
		for _, key := range rows.Keys {
			if key.Owner == owner.Owner {
				r.put(&recentKey{key, owner.Sequence, barrier, read})
			}
		}
	}
}

func (r *recentKeys) put(key *recentKey) {
	same := func(k *recentKey) bool {
		return k.row.Tenant == key.row.Tenant && k.row.Owner == key.row.Owner && k.row.KeyVersion == key.row.KeyVersion
	}
	switch i := slices.IndexFunc(r.keys, same); {
	case i >= 0: // the first reading counts: what it saw must still be there
	case len(r.keys) < keptRecent:
		r.keys = append(r.keys, key)
	default:
		r.keys[r.oldest()] = key
	}
}

func (r *recentKeys) oldest() int {
	out := 0
	for i, key := range r.keys {
		if o := r.keys[out]; key.since < o.since || key.since == o.since && key.read.Before(o.read) {
			out = i
		}
	}
	return out
}

// found forgets what was still there when it was so old that it is safe.
func (r *recentKeys) found(seen []*recentKey, start time.Time) {
	r.keys = slices.DeleteFunc(r.keys, func(key *recentKey) bool {
		return start.Sub(key.read) >= standbyLag && slices.Contains(seen, key)
	})
}

// lost reports whether the key is gone although nothing took it away. rows were
// read before the barrier. A key that was wrapped anew meanwhile is there under
// another wrap key.
func (k *recentKey) lost(rows keystore.Rows, barrier int64) bool {
	if !slices.ContainsFunc(rows.Owners, func(o keystore.OwnerRow) bool { return o.Owner == k.row.Owner }) {
		return true // an owner stays for ever
	}
	if barrier != k.barrier {
		return false
	}
	return !slices.ContainsFunc(rows.Keys, func(now keystore.KeyRow) bool {
		return now.Owner == k.row.Owner && now.KeyVersion == k.row.KeyVersion && (bytes.Equal(now.Wrapped, k.row.Wrapped) || WrapID(now.Wrapped) != WrapID(k.row.Wrapped))
	})
}

// readAgain reads the owners of keys once more, a query for each tenant.
func (v *Ring) readAgain(ctx context.Context, keys []*recentKey) (map[string]keystore.Rows, error) {
	ids := map[string][]string{}
	for _, key := range keys {
		ids[key.row.Tenant] = append(ids[key.row.Tenant], key.row.Owner)
	}
	out := map[string]keystore.Rows{}
	for tenant, owners := range ids {
		slices.Sort(owners)
		rows, err := v.cfg.Keys.Owners(ctx, tenant, slices.Compact(owners))
		if err != nil {
			return nil, err
		}
		out[tenant] = rows
	}
	return out, nil
}

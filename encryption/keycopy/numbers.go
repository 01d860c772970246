package keycopy

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// oddNumber says of a row that it is sound but for a number beside what it says, and
// no line of a copy can hold that.
const oddNumber = "it holds a number that no such row can hold"

// mended is a row with a sound number in the place of each that a row of a copy
// cannot hold: how much a key has sealed (its share, so that it seals no more), since
// when an owner is what he is, and of when a key version is. What the row says stays.
func mended(row keystore.Rows, now time.Time, sequence int64) keystore.Rows {
	for i := range row.Owners {
		row.Owners = slices.Clone(row.Owners)
		row.Owners[i].Sequence = sequence
	}
	for i := range row.Keys {
		row.Keys = slices.Clone(row.Keys)
		row.Keys[i].Seals = keyring.WornSeals
	}
	for i := range row.KeyVersions {
		row.KeyVersions = slices.Clone(row.KeyVersions)
		row.KeyVersions[i].Created = now.UTC().Truncate(time.Microsecond)
	}
	return row
}

// odd reports whether nothing but a number keeps a row out of a copy.
func odd(row keystore.Rows) bool {
	if len(row.Owners)+len(row.Keys)+len(row.KeyVersions) != 1 || row.Len() != 1 {
		return false
	}
	return copyable(mended(row, time.Unix(0, 0), 1))
}

// mendNumbers writes rows anew of which nothing but a number is damaged, until none
// is left: no copy is needed for that, and nobody else's rows wait for it. found is
// what was seen last.
func (v *Copies) mendNumbers(ctx context.Context, before, newest source, found *damage) (n int, err error) {
	for found.odd.Len() > 0 {
		done := 0
		_, err := v.ring.Update(ctx, func(tx keystore.Tx) error {
			state, err := tx.State(ctx)
			if err != nil {
				return err
			}
			var put keystore.Rows
			for one := range found.odd.Each() {
				same, err := stillThere(ctx, tx, one)
				if err != nil {
					return err
				}
				if same {
					put.Append(mended(one, v.cfg.Now(), state.Sequence))
				}
			}
			if done = put.Len(); done == 0 {
				return nil
			}
			return tx.Write(ctx, keystore.Change{Put: put, Narrows: true, Keeps: true})
		})
		if err != nil {
			return n, err
		}
		n += done
		if *found, err = v.examine(ctx, before, newest); err != nil || done == 0 {
			return n, err
		}
	}
	return n, nil
}

// stillThere reports whether a row is what it was when it was read.
func stillThere(ctx context.Context, tx keystore.Tx, one keystore.Rows) (bool, error) {
	for _, row := range one.KeyVersions {
		now, err := tx.Tenant(ctx, row.Tenant)
		return slices.Contains(now.KeyVersions, row), err
	}
	for _, row := range one.Owners {
		now, err := tx.Owners(ctx, row.Tenant, []string{row.Owner})
		return slices.Contains(now.Owners, row), err
	}
	for _, row := range one.Keys {
		now, err := tx.Owners(ctx, row.Tenant, []string{row.Owner})
		return slices.ContainsFunc(now.Keys, func(k keystore.KeyRow) bool { return reflect.DeepEqual(k, row) }), err
	}
	return false, nil
}

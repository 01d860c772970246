package keycopy

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// removeStrays deletes rows that should not be there: keys of owners who were erased
// or of key versions that were destroyed (graves), key versions and index versions whose number does not
// fit, and, where nothing else is damaged, keysets of no purpose, owners and aliases
// of ids that nobody can have, and aliases of persons whom nobody knows. It looks again until none is left; found is what it saw last.
func (v *Copies) removeStrays(ctx context.Context, before, newest source, found *damage) (err error) {
	for len(found.strayed.Keys)+len(found.strayed.KeyVersions)+len(found.strayed.Indexes) > 0 || found.count == 0 && found.strayed.Len() > 0 {
		removed := 0
		_, err := v.ring.Update(ctx, func(tx keystore.Tx) error {
			gone, err := stillStray(ctx, tx, *found)
			if removed = gone.Len(); err != nil || removed == 0 {
				return err
			}
			tombs, err := buriedAnew(ctx, tx, gone.Keys)
			if err != nil {
				return err
			}
			return tx.Write(ctx, keystore.Change{Remove: gone, Put: keystore.Rows{Owners: tombs}, Narrows: true, Keeps: true})
		})
		if err != nil {
			return err
		}
		if *found, err = v.examine(ctx, before, newest); err != nil || removed == 0 {
			return err
		}
	}
	return nil
}

// buriedAnew are the tombstones over keys that go, as of this change; see buried.
func buriedAnew(ctx context.Context, tx keystore.Tx, keys []keystore.KeyRow) (out []keystore.OwnerRow, err error) {
	state, err := tx.State(ctx)
	for _, key := range keys {
		have, readErr := tx.Owners(ctx, key.Tenant, []string{key.Owner})
		if err = errors.Join(err, readErr); err != nil {
			return nil, err
		}
		for _, row := range have.Owners {
			if row.State == keystore.Tombstone {
				out = append(out, buried(row, state))
			}
		}
	}
	return out, err
}

// stillStray is asked where nothing can change any more.
func stillStray(ctx context.Context, tx keystore.Tx, found damage) (gone keystore.Rows, err error) {
	for _, key := range found.strayed.Keys {
		have, err := tx.Owners(ctx, key.Tenant, []string{key.Owner})
		if err != nil {
			return gone, err
		}
		now, err := tx.Tenant(ctx, key.Tenant)
		if err != nil {
			return gone, err
		}
		dead := slices.ContainsFunc(have.Owners, func(o keystore.OwnerRow) bool { return o.State == keystore.Tombstone })
		destroyed := slices.ContainsFunc(now.KeyVersions, func(g keystore.KeyVersionRow) bool {
			return g.KeyVersion == key.KeyVersion && g.State == keystore.Destroyed
		})
		same := slices.ContainsFunc(have.Keys, func(k keystore.KeyRow) bool {
			return k.Number() == key.Number() && bytes.Equal(k.Wrapped, key.Wrapped)
		})
		if same && (dead || destroyed) {
			gone.Keys = append(gone.Keys, key)
		}
	}
	gone.KeyVersions = found.strayed.KeyVersions // nothing makes such a row a good one
	for _, index := range found.strayed.Indexes {
		now, err := tx.Tenant(ctx, index.Tenant)
		if err != nil {
			return gone, err
		}
		if slices.Contains(now.Indexes, index) { // else it was registered anew
			gone.Indexes = append(gone.Indexes, index)
		}
	}
	if found.count > 0 {
		return gone, nil // a person or a tenant of theirs may be what is lost
	}
	gone.Keysets = found.strayed.Keysets
	for _, row := range found.strayed.Owners {
		if same, err := stillThere(ctx, tx, keystore.Rows{Owners: []keystore.OwnerRow{row}}); err != nil {
			return gone, err
		} else if same {
			gone.Owners = append(gone.Owners, row)
		}
	}
	ends, err := aliasEnds(ctx, tx, found.strayed.Aliases)
	for _, row := range found.strayed.Aliases {
		if !ends[ownerPlace{row.Tenant, row.Alias}] || !ends[ownerPlace{row.Tenant, row.Owner}] {
			gone.Aliases = append(gone.Aliases, row)
		}
	}
	return gone, err
}

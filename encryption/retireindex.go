package encryption

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// RetireIndex retires a version of an index: it is neither written nor asked
// any more. Another version must be live, unless the index is declared here no
// longer: then it is given up, and nobody searches by it.
//
// Processes that do not know of it yet search by the version alone for as long
// as their lease runs: an older release that declares no other one, or one that
// has not heard that another is live. So it goes in two steps, and no row that is
// written meanwhile lacks the version: first it is asked no more, then, a lease
// and the longest transaction later, written no more. RetireIndex returns when
// both are done. It is idempotent, and interrupted it may be called again; until
// then everybody writes the version.
func (t *SealedTable) RetireIndex(ctx context.Context, tenant, index string, version uint32) error {
	asked, err := t.retire(ctx, tenant, index, version, keystore.IndexRetiring)
	if err != nil || !asked {
		return err
	}
	if err := t.vault.cfg.Wait(ctx, t.vault.ring.LeaseWait()+t.vault.cfg.LongestTransaction); err != nil {
		return fmt.Errorf("encryption: retire an index: it is asked no more, but written still; call again: %w", err)
	}
	_, err = t.retire(ctx, tenant, index, version, keystore.IndexRetired)
	return err
}

// retire moves a version that may be asked to the state named, and one that was
// never live to the end. asked says that it is not at the end. What is live beside
// it is read in the same transaction.
func (t *SealedTable) retire(ctx context.Context, tenant, index string, version uint32, to keystore.IndexState) (asked bool, err error) {
	err = t.setIndexStates(ctx, tenant, func(rows []keystore.IndexRow) ([]keystore.IndexRow, error) {
		name := t.indexName(index)
		other := name == "" // given up: nobody searches by it
		if other {
			name = index
		}
		var found *keystore.IndexRow
		for i, row := range rows {
			switch {
			case row.Table != t.def.Name || row.Index != name:
			case row.Version == version:
				found = &rows[i]
			case row.State == keystore.IndexLive:
				other = true
			}
		}
		if found == nil || !other {
			return nil, &KeyError{Op: "retire: unknown version, or no other one is live", Table: t.def.Name, Column: index, Err: ErrDefinition}
		}
		state := keystore.IndexRetired
		if found.State == keystore.IndexLive || found.State == keystore.IndexRetiring {
			state = to
		}
		if asked = state != keystore.IndexRetired; state == found.State {
			return nil, nil
		}
		found.State = state
		return []keystore.IndexRow{*found}, nil
	})
	return asked, err
}

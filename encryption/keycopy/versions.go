package keycopy

import (
	"context"
	"slices"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// bringVersions brings key versions back of which nothing but their row is lost:
// keys of them open, and they are bound to its number. It comes back as one that
// seals no more, or as what the copies at those paths or this process remember of it
// where that is further on its way: one that is destroyed comes back as destroyed,
// and what opens under it goes. found is what was seen last.
func (v *Copies) bringVersions(ctx context.Context, from []source, before, newest source, found *damage, f *fence) error {
	if len(found.versions) == 0 {
		return nil
	}
	var copied []map[genKey]*keystore.KeyVersionRow
	for _, copy := range from {
		versions, err := versionsIn(copy)
		if err != nil {
			return err
		}
		copied = append(copied, versions)
	}
	byTenant := map[string][]keystore.KeyVersionRow{}
	for id := range found.versions {
		row := keystore.KeyVersionRow{Tenant: id.tenant, KeyVersion: id.keyVersion, State: keystore.Retired, Created: v.cfg.Now().UTC().Truncate(time.Microsecond)}
		remembered := []*keystore.KeyVersionRow{v.ring.KnownKeyVersion(id.tenant, id.keyVersion)}
		for _, versions := range copied {
			remembered = append(remembered, versions[id])
		}
		for _, known := range remembered {
			if known == nil {
				continue
			}
			if row.Created = known.Created; known.State == keystore.Destroyed || known.State == keystore.Deleting && row.State != keystore.Destroyed {
				row.State = known.State
			}
		}
		if v.ring.HasDestroyed(id.tenant, id.keyVersion) {
			row.State = keystore.Destroyed
		}
		byTenant[id.tenant] = append(byTenant[id.tenant], row)
	}
	err := f.until(ctx, func() error {
		for tenant, rows := range byTenant {
			if err := v.bringVersionsOf(ctx, tenant, rows, f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	*found, err = v.examine(ctx, before, newest)
	return err
}

func (v *Copies) bringVersionsOf(ctx context.Context, tenant string, rows []keystore.KeyVersionRow, f *fence) error {
	brought := 0
	_, err := v.ring.Update(ctx, func(tx keystore.Tx) error {
		brought = 0
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		put := slices.DeleteFunc(slices.Clone(rows), func(row keystore.KeyVersionRow) bool { return knownTo(now, row.KeyVersion) })
		if len(put) == 0 || !f.stands(tenant, now, state) {
			return nil
		}
		brought = len(put)
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{KeyVersions: put}, Narrows: true, Keeps: true, Returns: true, Of: keystore.Scope{Tenant: tenant}})
	})
	f.report.KeyVersions += brought
	return err
}

func knownTo(tenant keystore.Rows, keyVersion uint32) bool {
	return slices.ContainsFunc(tenant.KeyVersions, func(g keystore.KeyVersionRow) bool {
		return g.KeyVersion == keyVersion && knownKeyVersion(g.State) // one in no state opens nothing, and is no wiser than none
	})
}

// versionsIn reads the key versions of a copy, which come after its keysets; none
// where there is no copy.
func versionsIn(from source) (out map[genKey]*keystore.KeyVersionRow, err error) {
	out = map[genKey]*keystore.KeyVersionRow{}
	if from.path == "" {
		return out, nil
	}
	c, err := openCursor(from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.close() }() // only read
	for !c.done && (c.row.Kind == keystore.KindKeyset || c.row.Kind == keystore.KindKeyVersion) {
		rows, err := c.row.rows()
		if err == nil {
			err = c.advance()
		}
		if err != nil {
			return nil, err
		}
		for _, row := range rows.KeyVersions {
			out[genKey{row.Tenant, row.KeyVersion}] = &row
		}
	}
	return out, nil
}

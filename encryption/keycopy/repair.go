package keycopy

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// RepairReport says what RepairFromCopy brought back, by kind of row, and what
// it did not.
type RepairReport struct {
	Keysets     int // wrapped keysets
	KeyVersions int // key versions
	Owners      int // owners of keys
	Tombstones  int // of them those that are erased, and were put back to life by somebody
	Keys        int // person keys
	Aliases     int // merged persons
	Indexes     int // index versions
	Numbers     int // owners, keys and key versions of which nothing but a number was damaged: they got a sound one, of no copy
	Removed     int // rows that should not have been there, such as a key under a tombstone
	// Fenced counts index versions that are searched no more (ErrIncomplete): rows
	// that can be opened again may lack them. RebuildIndexes shows whether they do.
	// Those that came back themselves are among them.
	Fenced int
	// Conflicts lists keys that open in the store and in the copy, and are not the
	// same: what was sealed under the one of the copy does not open. They stay.
	Conflicts []DamagedRow
}

// Rows is how many rows were brought back.
func (r RepairReport) Rows() int {
	return r.Keysets + r.KeyVersions + r.Owners + r.Keys + r.Aliases + r.Indexes + r.Numbers
}

// Repair does what Vault.RepairFromCopy promises.
func (v *Copies) Repair(ctx context.Context, path string) (RepairReport, error) {
	var report RepairReport
	verified, err := v.verifyOwn(ctx, path, nil)
	if err != nil {
		return report, err
	}
	r := &repair{copies: v, from: verified, report: &report, fence: v.newFence(&report)}
	r.fence.lost = r.lostIndexes
	if err := r.begin(ctx); err != nil {
		return report, err
	}
	err = r.fence.until(ctx, func() error { return v.ring.Retry(func() error { return r.keysets(ctx) }) })
	if err != nil {
		return report, err
	}
	newest, err := v.bury(ctx, r)
	if err != nil {
		return report, err
	}
	if err := r.fence.until(ctx, func() error { return r.rows(ctx) }); err != nil {
		return report, err
	}
	var before source
	if verified.Holes == 0 {
		before = verified.file
	}
	found, err := v.examine(ctx, before, newest)
	if err != nil {
		return report, err
	}
	if err := v.bringVersions(ctx, []source{verified.file, newest}, before, newest, &found, r.fence); err != nil {
		return report, err
	}
	if report.Numbers, err = v.mendNumbers(ctx, before, newest, &found); err != nil {
		return report, err
	}
	strays := found.strays
	if err := v.removeStrays(ctx, before, newest, &found); err != nil {
		return report, err
	}
	report.Removed = strays - found.strays
	v.record.examined(found)
	v.cfg.Observe(ctx, "encryption.repaired", float64(report.Rows()))
	if damaged := found.err(); damaged != nil {
		return report, damaged
	}
	return report, nil
}

// repair is one run of RepairFromCopy.
type repair struct {
	copies *Copies
	from   verifiedCopy
	report *RepairReport
	fence  *fence
	state  keystore.State // before
	dead   bool           // of the copy only what is gone for ever is taken
}

// begin makes sure that the store has come from where the copy was written.
func (r *repair) begin(ctx context.Context) error {
	r.copies.ring.Doubt()           // what is cached may be a lease old
	before := r.copies.ring.Known() // first: another call may come further while the view stands still
	err := r.copies.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) (err error) {
		if err := keyring.Follows(ctx, tx, before); err != nil {
			return err
		}
		if r.state, err = tx.State(ctx); err != nil {
			return err
		}
		rows, err := tx.Page(ctx, keystore.Page{Kind: keystore.KindMark, After: []any{r.from.Sequence - 1}, Limit: 1})
		if err != nil {
			return err
		}
		if len(rows.Marks) == 0 || rows.Marks[0].Sequence != r.from.Sequence || rows.Marks[0].Mark != r.from.marks[r.from.Sequence] {
			return fmt.Errorf("%w: the copy is of a history that the key store does not have: nothing is taken from it; where the store was put back, restore the copy into an empty one (RestoreCopy)", keyring.ErrRewound)
		}
		return nil
	})
	return keyring.StoreError(err)
}

// unmoved reports whether nobody has taken anything away since the copy was
// written. Repairs do not, neither this one nor one that was interrupted.
func (r *repair) unmoved(now keystore.State) bool { return now.Taken <= r.from.Sequence }

// change is an Update that makes every process read afresh, and whose f says
// what to put.
func (r *repair) change(ctx context.Context, f func(tx keystore.Tx, now keystore.State) (keystore.Change, error)) error {
	_, err := r.copies.ring.Update(ctx, func(tx keystore.Tx) error {
		now, err := tx.State(ctx)
		if err != nil {
			return err
		}
		change, err := f(tx, now)
		if err != nil || change.Put.Len()+change.Remove.Len() == 0 {
			return err
		}
		change.Narrows, change.Keeps, change.Returns = true, true, true // also a tombstone, which the copy has
		return tx.Write(ctx, change)
	})
	return err
}

// rows goes through the copy once more, page by page.
func (r *repair) rows(ctx context.Context) (err error) {
	var page keystore.Rows
	var last [2]string
	flush := func() error {
		err := r.copies.ring.Retry(func() error { return r.page(ctx, last[1], page) })
		page = keystore.Rows{}
		return err
	}
	err = r.from.file.each(ctx, func(line copyRow) error {
		rows, err := line.rows()
		if err != nil || line.Kind == keystore.KindKeyset || line.Kind == keystore.KindMark {
			return err
		}
		if now := [2]string{string(line.Kind), line.Tenant}; now != last || page.Len() == keyring.PageSize {
			if err := flush(); err != nil {
				return err
			}
			last = now
		}
		page.Append(rows)
		return nil
	})
	if err == nil {
		err = flush()
	}
	return err
}

// page compares rows of one kind and tenant with the store, and changes it only
// where something is to be brought back.
func (r *repair) page(ctx context.Context, tenant string, rows keystore.Rows) error {
	if rows.Len() == 0 {
		return nil
	}
	wrap, err := r.wrapOf(ctx, tenant)
	if err != nil {
		return err
	}
	p := &repairPage{repair: r, tenant: tenant, rows: rows, wrap: wrap}
	err = r.copies.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		now, err := tx.State(ctx)
		if err != nil {
			return err
		}
		return p.compare(ctx, tx, now)
	})
	if err != nil {
		return keyring.StoreError(err)
	}
	if p.change.Put.Len()+p.change.Remove.Len() > 0 {
		err = r.change(ctx, func(tx keystore.Tx, now keystore.State) (keystore.Change, error) {
			err := p.compare(ctx, tx, now) // again, where nothing can change any more
			return p.change, err
		})
	}
	if err == nil {
		p.count(r.report)
	}
	return err
}

// wrapOf is the keyset with which the store wraps the tenant's keys; nil where
// it does not open, so that no key of it can be brought back.
func (r *repair) wrapOf(ctx context.Context, tenant string) (*keyring.Keyset, error) {
	wrap, err := r.copies.ring.Keyset(ctx, tenant, keyring.PurposeWrap)
	if errors.Is(err, keyring.ErrKEK) || errors.Is(err, keyring.ErrKeyset) || errors.Is(err, keyring.ErrTenant) {
		return nil, ctx.Err()
	}
	return wrap, err
}

package keycopy

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// fence takes the indexes of tenants out of the search before keys come back. While
// they were away an index was complete without their rows: nothing seemed to be
// sealed, or a Rebuild could not open them, or took their index values away. What a
// copy says of the index is of before. RebuildIndexes shows whether it is whole.
//
// A process that has an index in memory as live searches by it for as long as its
// lease runs, and reads a key that is missing afresh: were both changed at once, it
// would open rows that it does not find. So an index is fencing first, fenced once
// nobody can search by it any more, and then the keys come. Whoever is killed in
// between leaves it fencing: the next repair goes on there, and FenceOldWriters does,
// so the wait is as long as that one's.
type fence struct {
	copies *Copies
	report *RepairReport
	update func(ctx context.Context, f func(keystore.Tx) error) error
	// lost are the index rows of a tenant that a copy has and that come back; nil
	// where there is no copy. Who has such a row in memory searches by it.
	lost   func(tenant string, have keystore.Rows, now keystore.State) []keystore.IndexRow
	due    map[string]bool // tenants that wait for it: whether keys do, or index rows alone
	waited map[string]bool // tenants for whom this call has waited
}

func (v *Copies) newFence(report *RepairReport) *fence {
	return &fence{
		copies: v, report: report, due: map[string]bool{}, waited: map[string]bool{},
		update: func(ctx context.Context, f func(keystore.Tx) error) error {
			_, err := v.ring.Update(ctx, f)
			return err
		},
		lost: func(string, keystore.Rows, keystore.State) []keystore.IndexRow { return nil },
	}
}

// stands reports whether keys of a tenant may come back, as the tenant is in this
// transaction. If not, the tenant is due.
func (f *fence) stands(tenant string, have keystore.Rows, now keystore.State) bool {
	searched := slices.ContainsFunc(have.Indexes, func(row keystore.IndexRow) bool { return f.searched(tenant, row.State) })
	if !searched && len(f.lost(tenant, have, now)) == 0 {
		return true
	}
	f.due[tenant] = true
	return false
}

// brings has index rows come back of a tenant of whom nothing else does.
func (f *fence) brings(tenant string) {
	if _, due := f.due[tenant]; !due {
		f.due[tenant] = false
	}
}

// searched reports whether some process may have an index in memory as live.
func (f *fence) searched(tenant string, state keystore.IndexState) bool {
	switch state {
	case keystore.IndexBuilding, keystore.IndexFenced, keystore.IndexRetired:
		return false
	case keystore.IndexLive, keystore.IndexFencing:
		return true
	default: // retiring, or in no state at all: nothing makes it live again
		return !f.waited[tenant]
	}
}

// fenceAttempts bounds how often keys wait that somebody's Rebuild overtakes.
const fenceAttempts = 5

// until repeats what brings keys back until none of them waits for the fence.
func (f *fence) until(ctx context.Context, bring func() error) error {
	for range fenceAttempts {
		conflicts := f.report.Conflicts
		if err := bring(); err != nil || len(f.due) == 0 {
			return err
		}
		f.report.Conflicts = conflicts // they are found once more
		if err := f.raise(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: index versions change all the time", keyring.ErrStore)
}

// raise puts the fence around the tenants that are due, and waits once for all.
func (f *fence) raise(ctx context.Context) error {
	b := begunFence{tenants: slices.Sorted(maps.Keys(f.due)), keys: maps.Clone(f.due)}
	if len(b.tenants) == 1 {
		b.of.Tenant = b.tenants[0]
	}
	if err := f.update(ctx, func(tx keystore.Tx) error { return f.begin(ctx, tx, &b) }); err != nil {
		return err
	}
	f.report.Indexes += b.brought
	if b.waits {
		if err := f.copies.cfg.Wait(ctx, b.state.LeaseWait+f.copies.ring.LongestOf(b.state)); err != nil {
			return fmt.Errorf("encryption: repair: indexes are searched no more, and not all of what is lost is back; call again: %w", err)
		}
		settled := 0
		if err := f.update(ctx, func(tx keystore.Tx) (err error) { settled, err = b.settle(ctx, tx); return err }); err != nil {
			return err
		}
		f.report.Fenced += settled
	}
	for _, tenant := range b.tenants {
		f.waited[tenant] = f.waited[tenant] || b.keys[tenant]
	}
	clear(f.due)
	return nil
}

// begunFence is a fence whose wait is not over.
type begunFence struct {
	tenants []string
	keys    map[string]bool // whether keys of the tenant wait for it
	of      keystore.Scope
	state   keystore.State
	fencing []keystore.IndexRow // that are fencing from then on, or were already
	brought int                 // lost rows that came back
	waits   bool
}

func (f *fence) begin(ctx context.Context, tx keystore.Tx, b *begunFence) error {
	now, err := tx.State(ctx)
	if err != nil {
		return err
	}
	b.state, b.fencing, b.brought, b.waits = now, nil, 0, false
	var put []keystore.IndexRow
	unknown := false
	for _, tenant := range b.tenants {
		have, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		lost := f.lost(tenant, have, now)
		b.brought += len(lost)
		for _, row := range have.Indexes {
			if !b.keys[tenant] || slices.ContainsFunc(lost, func(l keystore.IndexRow) bool { return sameIndex(row, l) }) {
				continue
			}
			b.waits, unknown = b.waits || f.searched(tenant, row.State), unknown || !knownIndex(row.State)
			if row.State == keystore.IndexLive {
				row.State = keystore.IndexFencing
				put = append(put, row)
			}
			if row.State == keystore.IndexFencing {
				b.fencing = append(b.fencing, row)
			}
		}
		for _, row := range lost {
			if row.State == keystore.IndexLive || row.State == keystore.IndexFenced {
				row.State = keystore.IndexFencing
			}
			if row.State == keystore.IndexFencing {
				b.fencing = append(b.fencing, row)
			}
			b.waits = b.waits || row.State != keystore.IndexRetired
			put = append(put, row)
		}
	}
	if len(put) == 0 && !unknown {
		return nil
	}
	b.state.Returned = now.Sequence
	return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Indexes: put}, Narrows: true, Keeps: true, Returns: true, Of: b.of})
}

// settle ends what was begun and waited for. Where somebody has begun anew meanwhile,
// that one's wait is not over: nothing is changed, and the keys wait once more.
func (b *begunFence) settle(ctx context.Context, tx keystore.Tx) (settled int, err error) {
	now, err := tx.State(ctx)
	if err != nil || now.Returned != b.state.Returned {
		return 0, err
	}
	var put []keystore.IndexRow
	for _, tenant := range b.tenants {
		have, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return 0, err
		}
		for _, row := range b.fencing {
			if row.Tenant == tenant && slices.Contains(have.Indexes, row) {
				row.State = keystore.IndexFenced
				put = append(put, row)
			}
		}
	}
	if len(put) == 0 {
		return 0, nil
	}
	return len(put), tx.Write(ctx, keystore.Change{Put: keystore.Rows{Indexes: put}, Narrows: true, Keeps: true, Of: b.of})
}

// sameIndex reports whether two rows have one primary key, within a tenant.
func sameIndex(a, b keystore.IndexRow) bool {
	return a.Table == b.Table && a.Index == b.Index && a.Number() == b.Number()
}

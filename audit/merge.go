package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
)

// Merge records that two persons turned out to be one: what was recorded about
// from is found under into from now on, too, and erased with it. The log names
// both surrogates. Nothing is sealed anew: from keeps its head. A person who was
// merged into another one cannot be merged again, nor take others in. Calling it
// again changes nothing. What the key store should know of it (an alias) is the
// application's to tell.
func (t *Trail) Merge(ctx context.Context, tenant, from, into string) error {
	if err := t.ready(); err != nil {
		return err
	}
	tenant = cmp.Or(tenant, t.caller(ctx).Tenant)
	if err := cmp.Or(ids.Check("tenant", tenant), ids.CheckGiven("from", from), ids.CheckGiven("into", into)); err != nil {
		return invalid("merge: %w", err)
	}
	if from == into {
		return invalid("merge: a person into itself")
	}
	if err := t.Prepare(ctx, tenant, from, into); err != nil {
		return fmt.Errorf("audit: merge: %w", err)
	}
	keys, err := t.macKeys(ctx, tenant, surrogateKeyLabel)
	if err != nil {
		return fmt.Errorf("audit: merge: %w", err)
	}
	defer wipe(keys)
	for range plans {
		err := t.merge(ctx, tenant, from, into, keys)
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

func (t *Trail) merge(ctx context.Context, tenant, from, into string, keys []macKey) error {
	a, errA := t.personRow(ctx, tenant, from)
	b, errB := t.personRow(ctx, tenant, into)
	if err := cmp.Or(errA, errB); err != nil {
		return err
	}
	switch {
	case a.into != nil && [16]byte(a.into) == b.surrogate:
		return nil
	case a.into != nil || b.into != nil:
		return invalid("merge: one of them was merged into another person before")
	}
	taken, err := t.any(ctx, t.db, `SELECT 1 FROM crmguard_audit_surrogates WHERE tenant = ? AND into_surrogate = ?`, tenant, a.surrogate[:])
	if err == nil && taken {
		err = invalid("merge: others were merged into from: merge them into the same person, and from stays")
	}
	if err != nil {
		return err
	}
	var with int
	if _, err := t.one(ctx, t.db, []any{&with}, `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE tenant = ? AND into_surrogate = ?`, tenant, b.surrogate[:]); err != nil {
		return err
	}
	if with+2 > auditlog.MaxPersons-mergeSpare {
		return fmt.Errorf("%w: merge: %d persons are one already, and one erasure names them all", ErrTooLarge, with+1)
	}
	leaf, err := t.ownLeaf(ctx, auditlog.KindMerge, tenant, "audit.merge", from, into)
	if err != nil {
		return err
	}
	leaf.Persons = []string{surrogateText(a.surrogate), surrogateText(b.surrogate)}
	slices.Sort(leaf.Persons)
	leaf.Object = auditlog.Object{Kind: "person", ID: surrogateText(b.surrogate), Person: true}
	row, err := t.own(ctx, leaf)
	if err != nil {
		return err
	}
	return t.exclusive(ctx, func(tx HandoverTx) error {
		n, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET into_surrogate = ?, tag = ? WHERE tenant = ? AND surrogate = ? AND person = ? AND into_surrogate IS NULL AND state = 0`,
			b.surrogate[:], surrogateTag(&keys[0], tenant, a.surrogate, surrogateLive, b.surrogate[:]), tenant, a.surrogate[:], from)
		if err == nil && n != 1 {
			err = errMoved
		}
		if err != nil {
			return err
		}
		still, err := t.any(ctx, tx, `SELECT 1 FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate = ? AND person = ? AND into_surrogate IS NULL`, tenant, b.surrogate[:], into)
		if err == nil && !still {
			err = errMoved
		}
		if err != nil {
			return err
		}
		return t.putRow(ctx, tx, row)
	})
}

// mergeSpare is left for surrogates that a restore brings back beside those that
// were merged: an erasure names all of them in one event.
const mergeSpare = 20

// personRow is the row of a person who has one.
func (t *Trail) personRow(ctx context.Context, tenant, person string) (out personRow, err error) {
	rows, err := t.peopleAfter(ctx, t.db, 0, "tenant = ? AND person = ?", 1, tenant, person)
	if err == nil && len(rows) == 0 {
		err = errMoved // erased in between
	}
	if err != nil {
		return out, err
	}
	return rows[0], nil
}

// putMerged tells a surrogate whom it was merged into, unless it was erased since.
func (t *Trail) putMerged(ctx context.Context, tx HandoverTx, s surrogateID, into [16]byte, keys []macKey) error {
	for _, state := range []byte{surrogateLive, surrogateUnmapped} {
		if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET into_surrogate = ?, tag = ? WHERE tenant = ? AND surrogate = ? AND state = ?`,
			into[:], surrogateTag(&keys[0], s.tenant, s.surrogate, state, into[:]), s.tenant, s.surrogate[:], int64(state)); err != nil {
			return err
		}
	}
	return nil
}

package audit

import (
	"context"
	"errors"
)

// A restore brings back surrogates, from the mirror, of whom nobody can say whose
// they are: the head opens under the person's key, and names the person, and that
// is tried when the person is named again, before anything new is drawn. Where the
// person has another surrogate by then, recorded before the database had caught up,
// both are the person's.

// unmapped says whether a tenant has such surrogates.
func (t *Trail) unmapped(ctx context.Context, tenant string) (bool, error) {
	return t.any(ctx, t.db, `SELECT 1 FROM crmguard_audit_surrogates WHERE state >= 2 AND state = 2 AND tenant = ? AND head IS NOT NULL`, tenant)
}

// unmappedOf are those of a person.
func (t *Trail) unmappedOf(ctx context.Context, tenant, person string) (out []personRow, err error) {
	if has, err := t.unmapped(ctx, tenant); err != nil || !has {
		return nil, err
	}
	for last := int64(0); ; {
		page, err := t.peopleAfter(ctx, t.db, last, "state >= 2 AND state = 2 AND tenant = ? AND head IS NOT NULL", rowsAStatement, tenant)
		if err != nil || len(page) == 0 {
			return out, err
		}
		for i := range page {
			last = page[i].n
			head, err := t.openHead(ctx, tenant, person, page[i].surrogate, page[i].head)
			clear(head.Content[:])
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if errors.Is(err, ErrKeys) {
				return nil, err
			}
			if err == nil { // otherwise another person's, or one's who has no key any more
				out = append(out, page[i])
			}
		}
	}
}

// reclaimed gives persons who have no row the surrogates that are theirs.
func (t *Trail) reclaimed(ctx context.Context, tenant string, persons ...string) error {
	if has, err := t.unmapped(ctx, tenant); err != nil || !has {
		return err
	}
	for _, person := range persons {
		theirs, err := t.unmappedOf(ctx, tenant, person)
		if err != nil {
			return err
		}
		if len(theirs) > 0 {
			if err := t.claimRow(ctx, &theirs[0], person); err != nil {
				return err
			}
		}
	}
	return nil
}

// claimRow gives the row of a surrogate back to its person.
func (t *Trail) claimRow(ctx context.Context, p *personRow, person string) error {
	keys, err := t.macKeys(ctx, p.tenant, surrogateKeyLabel)
	if err != nil {
		return err
	}
	defer wipe(keys)
	if p.check(keys) != tagRight {
		return nil // somebody made it unknown by hand: VerifyStore says so
	}
	return t.within(ctx, func(tx HandoverTx) error {
		_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET person = ?, state = 0, tag = ? WHERE n = ? AND state = 2`,
			person, surrogateTag(&keys[0], p.tenant, p.surrogate, surrogateLive, p.into), p.n)
		return err
	})
}

// surrogatesOfPerson are all surrogates of a person, those too that a restore
// brought back beside a newer one.
func (t *Trail) surrogatesOfPerson(ctx context.Context, tenant, person string) ([]surrogateID, error) {
	out, err := t.surrogatesFor(ctx, t.db, tenant, person)
	if err == nil && len(out) == 0 {
		if err = t.reclaimed(ctx, tenant, person); err == nil {
			out, err = t.surrogatesFor(ctx, t.db, tenant, person)
		}
	}
	if err != nil {
		return nil, err
	}
	more, err := t.unmappedOf(ctx, tenant, person)
	for _, p := range more {
		out = append(out, p.surrogateID)
	}
	return out, err
}

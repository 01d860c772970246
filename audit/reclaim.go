package audit

import (
	"context"
)

// reclaim finds the surrogate of a person among those whose person is not known
// since a restore: the head opens under the person's key, and names the person. It
// is tried where a person has no row, before anything new is drawn.
func (t *Trail) reclaim(ctx context.Context, tenant, person string) (bool, error) {
	for last := int64(0); ; {
		page, err := t.peopleAfter(ctx, t.db, last, "state >= 2 AND state = 2 AND tenant = ? AND head IS NOT NULL", rowsAStatement, tenant)
		if err != nil || len(page) == 0 {
			return false, err
		}
		for i := range page {
			p := &page[i]
			last = p.n
			head, err := t.openHead(ctx, tenant, person, p.surrogate, p.head)
			clear(head.Content[:])
			if err != nil {
				if ctx.Err() != nil {
					return false, ctx.Err()
				}
				continue // another person's, or nobody's who has a key
			}
			return true, t.claimRow(ctx, p, person)
		}
	}
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

package audit

import (
	"context"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// recordIn records an event in a transaction, by one statement of it. "" and nil
// say that it was lost, as its class allows, and counted.
func (t *Trail) recordIn(ctx context.Context, tx sqldb.Execer, e Event) (id string, err error) {
	r, err := t.check(ctx, e)
	if err != nil {
		return "", err
	}
	if err := t.take(r); err != nil {
		return "", err
	}
	if err := t.build(r); err != nil {
		return "", err
	}
	if c := t.classes.of(r.event.Action); c.fails == FailOpen {
		lost, err := t.putOpen(ctx, tx, &r.row)
		if err != nil {
			return "", err
		}
		if lost {
			t.missed(ctx, &r.event, c)
			return "", nil
		}
	} else if err := t.putRow(ctx, tx, &r.row); err != nil {
		return "", err
	}
	t.observeOdd(ctx, r)
	return r.event.ID, nil
}

// note records an event in a transaction of its own, prepared for it. The row is
// made once: where the database ends the transaction in favour of another one, the
// same row is written again.
func (t *Trail) note(ctx context.Context, e Event) (id string, err error) {
	r, err := t.check(ctx, e)
	if err != nil {
		return "", err
	}
	if err := t.noted(ctx, r); err != nil {
		if c := t.classes.of(r.event.Action); c.fails == FailOpen && mayBeLost(ctx, err) {
			t.missed(ctx, &r.event, c)
			return "", nil
		}
		return "", err
	}
	t.observeOdd(ctx, r)
	return r.event.ID, nil
}

func (t *Trail) noted(ctx context.Context, r *recording) error {
	if err := t.prepare(ctx, r.event.Tenant, r.given.persons); err != nil {
		return err
	}
	if err := t.take(r); err != nil {
		return err
	}
	if err := t.build(r); err != nil {
		return err
	}
	return t.within(ctx, func(tx HandoverTx) error { return t.putRow(ctx, tx, &r.row) })
}

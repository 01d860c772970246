package audit

import (
	"context"
	"slices"
)

// Prepare makes what recording about these persons needs, and keeps it in memory
// for Config.Prepared: content keys, and keys of tags. Call it before the
// transaction begins; [Trail.Record] uses nothing else, no key service and no
// second connection. Tenant "" is the one of Config.From. The first call about a
// person draws a surrogate, in a transaction of its own.
//
// Whom a change is about must be known by then. The id of a new person is drawn in
// the application, or taken from its sequence, before BEGIN; one that the database
// gives while it inserts comes too late. Where a query says whom an export is about,
// it runs before BEGIN, too.
func (t *Trail) Prepare(ctx context.Context, tenant string, persons ...string) error {
	if err := t.ready(); err != nil {
		return err
	}
	if tenant == "" {
		tenant = t.caller(ctx).Tenant
	}
	t.tryGaps(ctx)
	return t.prepare(ctx, tenant, persons)
}

// Record writes an event into the caller's transaction: it commits with the
// business change, or not at all. It is one statement, and id is the event's, made
// here where the event has none. A second call with the same id and the same event
// changes nothing; with another event, or where the first one is too old or of
// somebody erased, it is a [ConflictError].
//
// Before the transaction begins call [Trail.Prepare]: without, or too long after,
// it is a [NotPreparedError]. Record comes after the business statements, so that
// events stand in the order of the commits. A [NotPreparedError], and a
// [ConflictError], have written nothing and leave the transaction usable; after
// any other error roll back. "" and nil say that the event was lost where
// Config.Classes lets the change go on without it.
func (t *Trail) Record(ctx context.Context, tx Tx, e Event) (id string, err error) {
	if err := t.ready(); err != nil {
		return "", err
	}
	if err := t.inTransaction(ctx, tx); err != nil {
		return "", err
	}
	return t.recordIn(ctx, tx, e)
}

// Note records an event in a transaction of its own: for what has no business
// change, such as reading, refusing or exporting. It prepares by itself.
func (t *Trail) Note(ctx context.Context, e Event) (id string, err error) {
	if err := t.ready(); err != nil {
		return "", err
	}
	t.tryGaps(ctx)
	return t.note(ctx, e)
}

// people are all persons an event names, sorted and unique.
func people(e Event) []string {
	out := append(make([]string, 0, len(e.Persons)+len(e.Changes)+1), e.Persons...)
	for _, c := range e.Changes {
		if c.Who != "" {
			out = append(out, c.Who)
		}
	}
	if e.Object.Person {
		out = append(out, e.Object.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

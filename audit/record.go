package audit

import (
	"context"
	"slices"
)

// Record is a bridge until the merge.
func (t *Trail) Record(ctx context.Context, tx Tx, e Event) error {
	if err := t.ready(); err != nil {
		return err
	}
	if err := t.inTransaction(ctx, tx); err != nil {
		return err
	}
	_, err := t.recordIn(ctx, tx, e)
	return err
}

// Note is a bridge until the merge.
func (t *Trail) Note(ctx context.Context, e Event) error {
	if err := t.ready(); err != nil {
		return err
	}
	_, err := t.note(ctx, e)
	return err
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

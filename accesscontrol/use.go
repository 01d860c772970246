package accesscontrol

import (
	"context"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// Sorting, filtering, grouping and searching by a field tells of it, row by
// row, whatever is shown: who sorts by a hidden salary knows who earns more.
// What a field takes to be read is known from the conditions, without a row.

// CheckUse is [Actor.CheckUse] for one question.
func (p *Policy) CheckUse(ctx context.Context, principal Principal, record string, fields ...string) error {
	s, err := p.once(ctx, &principal)
	if err != nil {
		return err
	}
	return s.checkUse(record, fields)
}

// CheckUse answers nil where the principal may sort, filter, group, search or
// count by the fields: every row that the Filter of the table's Read action
// selects shows them, unmasked. Otherwise it is a [*Denied] with the reason
// [HiddenField] and the fields that some row may hide. A name that is no
// declared field is a [*RequestError]: what comes from outside, such as ?sort=,
// goes through here before it goes into a statement.
//
// It compares the policies, not their meaning: where the same rows are said in
// other words, the answer is no. [Actor.FilterUsing] goes on from there.
func (a *Actor) CheckUse(ctx context.Context, record string, fields ...string) error {
	s, err := a.enter(ctx)
	if err != nil {
		return err
	}
	return s.checkUse(record, fields)
}

func (s *standing) checkUse(record string, fields []string) error {
	t, err := s.set.readable(record)
	if err != nil {
		return err
	}
	read, err := s.selecting(t.Read, record)
	if err != nil {
		return err
	}
	var hidden []string
	for _, name := range fields {
		actions, err := t.declared(name)
		if err != nil {
			return err
		}
		more, never, err := s.beyond([]*residual{read}, record, actions)
		if err != nil {
			return err
		}
		if never || len(more) > 0 {
			hidden = append(hidden, name)
		}
	}
	if len(hidden) > 0 {
		return s.withheld(t.Read, record, HiddenField, hidden)
	}
	return nil
}

// FilterUsing is [Actor.FilterUsing] for one question.
func (p *Policy) FilterUsing(ctx context.Context, principal Principal, action, record string, fields ...string) (Where, error) {
	s, err := p.once(ctx, &principal)
	if err != nil {
		return Where{}, err
	}
	return s.filterUsing(ctx, action, record, fields)
}

// FilterUsing is [Actor.Filter] narrowed to the rows that show all of the
// fields: those that a list may be sorted, filtered or counted by them. A list by
// salary holds the people whose salary may be read, and nobody else. A name that
// is no declared field is a [*RequestError].
func (a *Actor) FilterUsing(ctx context.Context, action, record string, fields ...string) (Where, error) {
	s, err := a.enter(ctx)
	if err != nil {
		return Where{}, err
	}
	return s.filterUsing(ctx, action, record, fields)
}

func (s *standing) filterUsing(ctx context.Context, action, record string, fields []string) (Where, error) {
	t, err := s.set.readable(record)
	if err != nil {
		return Where{}, err
	}
	actions := []string{t.Read}
	for _, name := range fields {
		more, err := t.declared(name)
		if err != nil {
			return Where{}, err
		}
		actions = append(actions, more...)
	}
	where, err := s.filter(ctx, action, record)
	if err != nil || where.Nothing() {
		return Where{}, err
	}
	also, never, err := s.beyond([]*residual{where.left}, record, actions)
	if err != nil || never {
		return Where{}, err
	}
	if where.also = also; where.values() > MaxValues {
		return Where{}, ErrTooLarge
	}
	return where, nil
}

// readable is a bound table whose records can be read.
func (s *snapshot) readable(record string) (*table, error) {
	t, err := s.bound(record)
	if err != nil {
		return nil, err
	}
	if t.Read == "" {
		return nil, &RequestError{Part: "resource", Name: record, Text: "the binding names no Read action"}
	}
	return t, nil
}

// declared are the actions beside Read that a field takes to be read.
func (t *table) declared(field string) ([]string, error) {
	actions, known := t.fields[field]
	if !known {
		return nil, &RequestError{Part: "resource", Name: field, Text: "no column of the table " + t.Resource + " declares this field"}
	}
	return actions, nil
}

// selecting is the residual of an action that a filter is made of.
func (s *standing) selecting(action, record string) (*residual, error) {
	r, err := s.residual(asked{action, record})
	if err != nil {
		return nil, err
	}
	if r.table.Name == "" {
		return nil, &RequestError{Part: "resource", Name: record, Text: "the binding names no SQL table"}
	}
	r.once.Do(r.measure)
	return r, nil
}

// beyond are the residuals of actions that narrow the rows of others further.
// never says that one of them selects nothing.
func (s *standing) beyond(of []*residual, record string, actions []string) (more []*residual, never bool, err error) {
	for _, action := range actions {
		r, err := s.selecting(action, record)
		if err != nil {
			return nil, false, err
		}
		if r.nothing {
			return nil, true, nil
		}
		if !slices.ContainsFunc(slices.Concat(of, more), func(other *residual) bool { return other.within(r) }) {
			more = append(more, r)
		}
	}
	return more, false, nil
}

// within says whether other selects every row that r does, as far as that is
// known without a row: it permits whatever r permits, on the same conditions or
// on none, and forbids nothing that r does not. Both are of one principal.
func (r *residual) within(other *residual) bool {
	if r == other {
		return true
	}
	permits, always := conditions(r.permits)
	wider, everything := conditions(other.permits)
	if always && !everything || !everything && !contains(wider, permits) {
		return false
	}
	mine, _ := conditions(r.forbids)
	theirs, _ := conditions(other.forbids)
	return contains(mine, theirs)
}

// contains says whether each of some conditions stands among all.
func contains(all, some []sqlcond.Cond) bool {
	if len(some) == 0 {
		return true
	}
	known := make(map[string]bool, len(all))
	for _, c := range all {
		known[spelled(c)] = true
	}
	return !slices.ContainsFunc(some, func(c sqlcond.Cond) bool { return !known[spelled(c)] })
}

// spelled is a condition as a text that no other one has: what holds, and what
// is false, for two that hold of the same rows may fail on different ones.
func spelled(c sqlcond.Cond) string {
	out := sqlcond.New(sqlcond.SQLite, "")
	out.Write(c)
	out.Raw(" ")
	out.Write(sqlcond.Not(c))
	text, args := out.Result()
	return fmt.Sprintf("%s %#v", text, args)
}

// values counts what a filter compares with.
func (w Where) values() int {
	if w.Nothing() {
		return 0
	}
	n := w.left.values
	for _, r := range w.also {
		n += r.values
	}
	return n
}

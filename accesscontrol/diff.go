package accesscontrol

import (
	"context"
	"iter"
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// Change is a request that two policy sets answer differently.
type Change struct {
	// Index is the place of the request in what was asked, from 0 on.
	Index int
	// Request is what was asked.
	Request Request
	// Before and After are the two answers. Where one of them is an error, it
	// stands beside it and the decision means nothing.
	Before, After       Decision
	BeforeErr, AfterErr error
}

// Policies are those that made the difference, sorted, each once: the ones that
// determined the answer before, and the ones that determine it now. A permit
// that went away is among the first, a forbid that came among the second.
func (c Change) Policies() []string {
	out := slices.Concat(c.Before.Policies, c.After.Policies)
	slices.Sort(out)
	return slices.Compact(out)
}

// Diff asks two policies the same requests, such as those that were recorded in
// a day, and yields those whose answer is another one: yes, no, or an error. It
// works on the sets that are in force when it begins, and measures nothing. An
// error of the requests or the end of the context ends it; a request that one
// side cannot answer is a change, or nothing where neither can.
func Diff(ctx context.Context, before, after *Policy, requests iter.Seq2[Request, error]) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		old, err := before.snapshot()
		if err != nil {
			yield(Change{}, err)
			return
		}
		now, err := after.snapshot()
		if err == nil && requests == nil {
			err = &RequestError{Part: "request", Text: "there are none: hand in Each of a list, or those that were recorded"}
		}
		if err != nil {
			yield(Change{}, err)
			return
		}
		var oldMemo, nowMemo memo // the principals of whoever is asked live stay in theirs
		index := -1
		for request, err := range requests {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Change{}, err)
				return
			}
			index++
			c := Change{Index: index, Request: request}
			c.Before, c.BeforeErr = old.judge(&oldMemo, &request)
			c.After, c.AfterErr = now.judge(&nowMemo, &request)
			if c.Before.Allowed == c.After.Allowed && (c.BeforeErr == nil) == (c.AfterErr == nil) {
				continue
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// judge answers a request without a measurement.
func (s *snapshot) judge(kept *memo, r *Request) (Decision, error) {
	state, err := kept.standing(s, &r.Principal)
	if err != nil {
		return Decision{}, err
	}
	return state.judge(r.Action, &r.Resource)
}

// Each hands a list to what takes a sequence, such as [Diff] and
// [Policy.WhoCan].
func Each[T any](list ...T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range list {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// DiffRows gives two conditions about all rows of a table: gained selects those
// that the principal is allowed after and was not before, lost those that were
// allowed before only. Count them, or read some and ask [Policy.Decide] of both
// why. Both policies must bind the record to the same SQL table, with the tenant
// in the same column.
func DiffRows(ctx context.Context, before, after *Policy, principal Principal, action, record string) (gained, lost Where, err error) {
	old, err := before.Filter(ctx, principal, action, record)
	if err != nil {
		return Where{}, Where{}, err
	}
	now, err := after.Filter(ctx, principal, action, record)
	if err != nil {
		return Where{}, Where{}, err
	}
	if !old.Nothing() && !now.Nothing() {
		a, b := old.left, now.left
		if a.table.Name != b.table.Name || a.table.Tenant != b.table.Tenant {
			return Where{}, Where{}, &RequestError{Part: "resource", Name: record, Text: "the two policies bind it to different tables"}
		}
		if a.values+b.values > MaxValues {
			return Where{}, Where{}, ErrTooLarge
		}
	}
	return now.without(old), old.without(now), nil
}

// without selects what w selects and other does not.
func (w Where) without(other Where) Where {
	if !w.Nothing() && !other.Nothing() {
		w.except = &other
	}
	return w
}

// difference writes `(w AND NOT except)`. What is taken out is written as a
// value: a NULL is not selected by it, so it stays.
func (w Where) difference(out *sqlcond.Writer) {
	out.Raw("(")
	w.write(out)
	out.Raw(" AND NOT ")
	w.except.Value().write(out)
	out.Raw(")")
}

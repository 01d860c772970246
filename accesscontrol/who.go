package accesscontrol

import (
	"context"
	"iter"
)

// Access is one of those who may do something to a record.
type Access struct {
	// Principal is who may, as the candidates had it.
	Principal Principal
	// Policies are the permits that apply, sorted.
	Policies []string
	// Err says that this candidate could not be asked about, such as for an
	// attribute that is missing: they would be refused. Nothing else is yielded
	// of whoever may not.
	Err error
}

// WhoCan asks for each candidate whether they may do the action to the record,
// and yields those who may. Candidates are [Each] of a list, or what a store of
// roles yields for the tenant of the record; nobody else is found. Candidates of
// other tenants may not. It works on the policy set in force when it begins, and
// measures nothing. An error of the candidates, or the end of the context, ends
// it: what was yielded is not all, then.
//
// What it yields is about people: it is for administrators.
func (p *Policy) WhoCan(ctx context.Context, candidates iter.Seq2[Principal, error], action string, record Resource) iter.Seq2[Access, error] {
	return func(yield func(Access, error) bool) {
		s, err := p.snapshot()
		if err == nil && candidates == nil {
			err = &RequestError{Part: "principal", Text: "there are no candidates: hand in Each of a list, or the people of the tenant"}
		}
		if err != nil {
			yield(Access{}, err)
			return
		}
		for candidate, err := range candidates {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Access{}, err)
				return
			}
			var once memo // each of them is asked about once
			d, err := s.judge(&once, &Request{candidate, action, record})
			if err == nil && !d.Allowed {
				continue
			}
			if !yield(Access{Principal: candidate, Policies: d.Policies, Err: err}, nil) {
				return
			}
		}
	}
}

package audit

import (
	"cmp"
	"context"
	"iter"
)

// History yields the events about an object ([Ref], [PersonRef]) or a person
// ([About]), newest first, as [Trail.Find] finds them: Page.Size of them, or until
// there are no more. Where an answer lacks something the last is a [PartialError],
// behind all that was found; of surrogates that are nobody's since a restore, which
// may stay so, only Find tells (Found.Unmapped). Where retention has taken entries the
// last is an error that is [ErrPruned]: what is older is gone, whatever it was about.
// A person without a surrogate (never recorded, or erased) has
// no history.
func (t *Trail) History(ctx context.Context, tenant string, of Object, page Page) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if of.Kind == "" && !of.Person || of.ID == "" {
			yield(Entry{}, cmp.Or(t.ready(), invalid("history: an object has a kind and an id; About names a person whatever the object")))
			return
		}
		var lacks PartialError
		for left := cmp.Or(page.Size, 50); ; {
			found, err := t.Find(ctx, Filter{Tenant: tenant, Object: of}, page)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range found.Entries {
				if !yield(e, nil) {
					return
				}
			}
			lacks.add(&found)
			left -= len(found.Entries)
			if left <= 0 {
				return
			}
			if found.Next == "" {
				if lacks != (PartialError{}) {
					yield(Entry{}, &lacks)
				} else if found.Pruned > 0 {
					yield(Entry{}, &PrunedError{found.Pruned})
				}
				return
			}
			page = Page{left, found.Next}
		}
	}
}

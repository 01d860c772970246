package privacy

import (
	"context"
	"errors"
	"iter"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// peoplePage is some of the persons of a store.
type peoplePage struct {
	persons []datastore.Person
	unread  int // rows of which nobody can say whose they are
}

const (
	peopleAtOnce = 1000
	pagesAhead   = 16 // that a store may have listed while the ledger is asked
)

// peopleOf is ask for a list of persons: it ends when ctx does, whether the store
// heeds that or not.
func peopleOf(ctx context.Context, store datastore.People) iter.Seq2[peoplePage, error] {
	type item struct {
		page peoplePage
		err  error
	}
	return func(yield func(peoplePage, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		items := make(chan item, pagesAhead)
		send := func(i item) bool {
			select {
			case items <- i:
				return i.err == nil
			case <-ctx.Done():
				return false
			}
		}
		go func() {
			defer close(items)
			var page peoplePage
			for person, err := range store.People(ctx) {
				switch {
				case errors.Is(err, datastore.ErrUnreadable):
					page.unread++
				case err != nil:
					send(item{err: err})
					return
				default:
					page.persons = append(page.persons, person)
				}
				if len(page.persons) == peopleAtOnce {
					if !send(item{page: page}) {
						return
					}
					page = peoplePage{}
				}
			}
			send(item{page: page})
		}()
		for {
			select {
			case i, ok := <-items:
				if !ok {
					if err := ctx.Err(); err != nil { // it was not listed to its end
						yield(peoplePage{}, err)
					}
					return
				}
				if !yield(i.page, i.err) {
					return
				}
			case <-ctx.Done():
				yield(peoplePage{}, ctx.Err())
				return
			}
		}
	}
}

package privacy

import (
	"context"
	"iter"
	"sync"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// exported yields what the stores have about the persons, each record under whose
// it is.
func (d *Desk) exported(ctx context.Context, scope datastore.Scope, persons []string) iter.Seq2[datastore.Record, error] {
	scope.Aliases = persons
	return func(yield func(datastore.Record, error) bool) {
		for _, store := range d.stores() {
			scope := scope
			if store == datastore.Store(d.database) {
				scope.Identities = nil // which it knows itself
			}
			for _, one := range each(scope, persons) {
				for record, err := range d.exportedFrom(ctx, store, one) {
					if record.Owner == "" {
						record.Owner = one.Person
					}
					if !yield(record, err) || err != nil {
						return
					}
				}
			}
		}
	}
}

// exportedFrom yields what one store has about one person, and ends when ctx does,
// whether the store comes back or not. The store goes on when the next record is
// wanted.
func (d *Desk) exportedFrom(ctx context.Context, store datastore.Store, scope datastore.Scope) iter.Seq2[datastore.Record, error] {
	type pulled struct {
		record datastore.Record
		more   bool
	}
	return func(yield func(datastore.Record, error) bool) {
		enough, cancel := context.WithCancel(ctx)
		next, stop := iter.Pull2(store.Export(enough, scope))
		var busy sync.Mutex // in the store
		defer func() {
			cancel()
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				busy.Lock()
				defer busy.Unlock()
				stop()
			}()
			select {
			case <-stopped:
			case <-ctx.Done():
			}
		}()
		for {
			got, err := ask(ctx, d, store.Name(), "export", "export\x00"+about(scope.Tenant, scope.Person), func(context.Context) (pulled, error) {
				busy.Lock()
				defer busy.Unlock()
				record, err, more := next()
				return pulled{record, more}, err
			})
			if err != nil {
				yield(datastore.Record{}, err)
				return
			}
			if !got.more || !yield(got.record, nil) {
				return
			}
		}
	}
}

package privacy

import (
	"context"
	"iter"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// exported yields what the stores have about the persons, each record under whose
// it is.
func (d *Desk) exported(ctx context.Context, scope datastore.Scope, persons []string) iter.Seq2[datastore.Record, error] {
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
// whether the store comes back or not. The store goes on when a record was taken,
// as it would without a goroutine between.
func (d *Desk) exportedFrom(ctx context.Context, store datastore.Store, scope datastore.Scope) iter.Seq2[datastore.Record, error] {
	return func(yield func(datastore.Record, error) bool) {
		enough, stop := context.WithCancel(ctx)
		defer stop()
		records, taken, done := make(chan datastore.Record), make(chan struct{}), make(chan error, 1)
		hand := func(r datastore.Record) bool {
			select {
			case records <- r:
			case <-enough.Done():
				return false
			}
			select {
			case <-taken:
				return true
			case <-enough.Done():
				return false
			}
		}
		go func() {
			done <- tell(ctx, d, store.Name(), "export", "export\x00"+about(scope.Tenant, scope.Person), func(context.Context) error {
				for r, err := range store.Export(enough, scope) {
					if err != nil {
						return err
					}
					if !hand(r) {
						break
					}
				}
				return nil
			})
		}()
		for {
			select {
			case r := <-records:
				if !yield(r, nil) {
					stop()
					<-done //nolint:errcheck // nobody asks any more
					return
				}
				select {
				case taken <- struct{}{}:
				case <-ctx.Done():
				}
			case err := <-done:
				if err != nil {
					yield(datastore.Record{}, err)
				}
				return
			}
		}
	}
}

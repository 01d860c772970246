package privacy

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// identities asks the database by what it knows the persons, in every spelling
// that stands there.
func (d *Desk) identities(ctx context.Context, scope datastore.Scope, persons []string) (map[string][]string, error) {
	k, err := d.knownBy(ctx, scope, persons)
	return k.values, err
}

// known is what persons are known by.
type known struct {
	values   map[string][]string // by kind
	shredded bool                // some cannot be opened any more, and lead to nobody
}

func (d *Desk) knownBy(ctx context.Context, scope datastore.Scope, persons []string) (known, error) {
	knows, ok := d.database.(interface {
		Identities(ctx context.Context, scope datastore.Scope) (map[string][]string, error)
	})
	if !ok {
		return known{}, nil
	}
	k := known{values: map[string][]string{}}
	for _, person := range persons {
		scope := scope
		scope.Person = person
		found, err := ask(ctx, d, d.database.Name(), "find", about(scope.Tenant, person), func(ctx context.Context) (known, error) {
			values, err := knows.Identities(ctx, scope)
			if errors.Is(err, datastore.ErrShredded) {
				return known{values, true}, nil
			}
			return known{values: values}, err
		})
		if err != nil {
			return known{}, err
		}
		k.shredded = k.shredded || found.shredded
		for kind, values := range found.values {
			k.values[kind] = append(k.values[kind], values...)
		}
	}
	for kind := range maps.Keys(k.values) {
		k.values[kind] = slices.Compact(slices.Sorted(slices.Values(k.values[kind])))
	}
	return k, nil
}

// unshared leaves out of what persons were known by, once, what is somebody else's
// by now; shared says that there was some, and it is not to be passed over.
func (d *Desk) unshared(ctx context.Context, scope datastore.Scope, persons []string, identities map[string][]string) (left map[string][]string, shared, err error) {
	knows, ok := d.database.(interface {
		Unshared(ctx context.Context, scope datastore.Scope) (map[string][]string, error)
	})
	if !ok || len(identities) == 0 {
		return identities, nil, nil
	}
	scope.Person, scope.Aliases, scope.Identities = persons[0], persons[1:], identities
	type answer struct {
		left   map[string][]string
		shared error
	}
	a, err := ask(ctx, d, d.database.Name(), "find", about(scope.Tenant, persons[0]), func(ctx context.Context) (a answer, err error) {
		if a.left, err = knows.Unshared(ctx, scope); errors.Is(err, datastore.ErrShared) {
			a.shared, err = &StoreError{d.database.Name(), "find", err}, nil
		}
		return a, err
	})
	return a.left, a.shared, err
}

package datastore

import (
	"context"
	"iter"
)

// Func describes a store that is a few functions: person keys, audit
// openings, attachments, a search index, a cache.
type Func struct {
	Name  string // unique among the stores
	Class Class  // the true name of what Erase does
	// Sealed says that whatever is held of a person is sealed under their own
	// keys, which another store of the desk shreds, so that backups from before
	// an erasure become unreadable too. False for what is in the clear or under
	// stand-alone keys: every certificate then says that such backups stay
	// readable.
	Sealed bool
	// Erase erases the person and is idempotent. Required. A replay calls it
	// whenever the person is found in restored data: person ids are never reused.
	Erase func(ctx context.Context, tenant, person string) error
	// Remaining counts what still answers for the person. Nil: the store cannot be
	// read back, and every certificate says so.
	Remaining func(ctx context.Context, tenant, person string) (int, error)
	// Export yields the person's records; nil means that there is nothing to
	// give (keys, indexes).
	Export func(ctx context.Context, tenant, person string) iter.Seq2[Record, error]
	// People lists the persons of whom the store holds anything; may be nil.
	People func(ctx context.Context) iter.Seq2[Person, error]
}

// Store makes the store.
func (f Func) Store() Store {
	if f.People != nil {
		return peopleFunc{funcStore{f}}
	}
	return funcStore{f}
}

type funcStore struct{ f Func }

type peopleFunc struct{ funcStore }

func (s peopleFunc) People(ctx context.Context) iter.Seq2[Person, error] { return s.f.People(ctx) }

func (s funcStore) Name() string { return s.f.Name }

// Find reports one row for all that the functions count.
func (s funcStore) Find(ctx context.Context, scope Scope) ([]Row, error) {
	if s.f.Remaining == nil {
		return nil, nil
	}
	n, err := s.f.Remaining(ctx, scope.Tenant, scope.Person)
	if err != nil || n == 0 {
		return nil, err
	}
	return []Row{{Table: s.f.Name, Class: s.f.Class, Count: n}}, nil
}

func (s funcStore) Export(ctx context.Context, scope Scope) iter.Seq2[Record, error] {
	if s.f.Export == nil {
		return func(func(Record, error) bool) {}
	}
	return s.f.Export(ctx, scope.Tenant, scope.Person)
}

func (s funcStore) Erase(ctx context.Context, scope Scope, _ []Row) error {
	return s.f.Erase(ctx, scope.Tenant, scope.Person)
}

func (s funcStore) Remaining(ctx context.Context, scope Scope, _ []Row) (int, error) {
	if s.f.Remaining == nil {
		return 0, nil
	}
	return s.f.Remaining(ctx, scope.Tenant, scope.Person)
}

// AsFunc returns what a store was made from, where that was a [Func].
func AsFunc(s Store) (Func, bool) {
	switch s := s.(type) {
	case funcStore:
		return s.f, true
	case peopleFunc:
		return s.f, true
	}
	return Func{}, false
}

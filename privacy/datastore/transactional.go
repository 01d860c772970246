package datastore

import "context"

// Transactional is what the store of the desk's own database does besides: it
// erases within one transaction, in which the desk writes, too.
type Transactional interface {
	Store
	// FindAll locates everything of several persons at once; Row.Person says
	// whose each row is.
	FindAll(ctx context.Context, scopes []Scope) ([]Row, error)
	// EraseIn erases in one transaction what it finds in the scopes, and checks
	// before the end of it that nothing is left and that everything is there that
	// stays. last is called as the last thing of the transaction, with what was
	// found; its error takes everything back. Where the database ends the
	// transaction for the sake of another one, it is tried again, last in it,
	// too.
	EraseIn(ctx context.Context, scopes []Scope, last func(ctx context.Context, tx Tx, found []Row) error) error
	// Rehearse carries the same out with every constraint checked at once and
	// with short waits for locks, and takes it back: a nil error means that an
	// erasure meets nothing in the schema that refuses it. It answers what EraseIn
	// would hand to last.
	Rehearse(ctx context.Context, scopes []Scope) ([]Row, error)
}

// Numbered is an optional method of a [Store] whose keys are numbers that the
// database gives out.
type Numbered interface {
	// Tops are the highest numbers that have been given out, by
	// schema.table.column.
	Tops(ctx context.Context) (map[string]int64, error)
	// Advance moves every counter past the number, where it is behind.
	Advance(ctx context.Context, tops map[string]int64) error
}

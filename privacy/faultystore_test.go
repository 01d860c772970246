package privacy_test

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// What befalls a call of a store.
const (
	fails    = "fails"    // an error, and nothing was done
	lost     = "lost"     // done, and an error comes back
	hangs    = "hangs"    // nothing was done, and nothing comes back
	late     = "late"     // done, and nothing comes back
	nothing  = "nothing"  // nothing was done or found, and all is well
	undone   = "undone"   // done and taken back, and all is well
	unerased = "unerased" // what the desk writes is done, and nothing else
	others   = "others"   // found is what somebody else has
	twice    = "twice"    // everything is found twice
	foreign  = "foreign"  // something in a table that nobody knows is found, too
	half     = "half"     // half of it is found
)

// A fault befalls one call: the left-th of those that it can befall.
type fault struct {
	kind    string
	left    int
	trusted string        // a method that does not lie
	free    chan struct{} // closed when a call that hangs may go on

	mu     sync.Mutex
	hung   context.CancelFunc // called when one hangs
	method string             // that it has befallen
}

var errLate = errors.New("nobody waits for it any more")

// befalls says whether it befalls this call of a method, which can have these
// kinds besides failing and hanging.
func (f *fault) befalls(method string, can ...string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	lies := f.kind != fails && f.kind != hangs
	if f.left == 0 || lies && (!slices.Contains(can, f.kind) || method == f.trusted) {
		return ""
	}
	if f.left--; f.left > 0 {
		return ""
	}
	f.method = method
	return f.kind
}

func (f *fault) befallen() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.method
}

func (f *fault) hang() error {
	f.hung()
	<-f.free
	return errLate
}

// call is one call of a method: lie is what it answers where it neither fails
// nor hangs, and do what it does.
func call[T any](f *fault, method string, do func() (T, error), lies map[string]func() (T, error)) (T, error) {
	var none T
	switch kind := f.befalls(method, slices.Collect(maps.Keys(lies))...); kind {
	case "":
		return do()
	case fails:
		return none, errBlown
	case hangs:
		return none, f.hang()
	case lost, late:
		if _, err := do(); err != nil {
			return none, err
		}
		if kind == late {
			return none, f.hang()
		}
		return none, errBlown
	default:
		return lies[kind]()
	}
}

func says[T any](value T) func() (T, error) { return func() (T, error) { return value, nil } }

type void struct{}

// does is call of a method that answers nothing but an error.
func does(f *fault, method string, do func() error, lies map[string]func() error) error {
	wrapped := map[string]func() (void, error){lost: nil, late: nil}
	for kind, lie := range lies {
		wrapped[kind] = func() (void, error) { return void{}, lie() }
	}
	_, err := call(f, method, func() (void, error) { return void{}, do() }, wrapped)
	return err
}

// finds is call of a search; theirs is what somebody else has.
func finds(f *fault, method string, do, theirs func() ([]datastore.Row, error)) ([]datastore.Row, error) {
	but := func(change func([]datastore.Row) []datastore.Row) func() ([]datastore.Row, error) {
		return func() ([]datastore.Row, error) {
			rows, err := do()
			return change(rows), err
		}
	}
	lies := map[string]func() ([]datastore.Row, error){
		nothing: says([]datastore.Row(nil)),
		twice:   but(func(rows []datastore.Row) []datastore.Row { return slices.Concat(rows, rows) }),
		half:    but(func(rows []datastore.Row) []datastore.Row { return rows[:len(rows)/2] }),
		foreign: but(func(rows []datastore.Row) []datastore.Row {
			if len(rows) == 0 {
				return nil
			}
			row := rows[0]
			row.Table, row.Key, row.Class = "elsewhere", "1", datastore.Deleted
			return append(rows, row)
		}),
	}
	if theirs != nil {
		lies[others] = theirs
	}
	return call(f, method, do, lies)
}

// lists is call of a list that is read one by one: it fails and hangs behind the
// first half.
func lists[T any](f *fault, method string, do iter.Seq2[T, error], can ...string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		kind := f.befalls(method, can...)
		type one struct {
			item T
			err  error
		}
		var all []one
		for item, err := range do {
			all = append(all, one{item, err})
		}
		switch kind {
		case nothing:
			return
		case "", twice:
		default:
			all = all[:(len(all)+1)/2]
		}
		for _, o := range all {
			if !yield(o.item, o.err) || kind == twice && !yield(o.item, o.err) {
				return
			}
		}
		var none T
		switch kind {
		case fails:
			yield(none, errBlown)
		case hangs:
			yield(none, f.hang())
		}
	}
}

// faultyStore is another store under a fault. That it names what somebody else has
// is beyond what anybody can notice.
type faultyStore struct {
	datastore.Store
	f *fault
}

func (s faultyStore) Find(ctx context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	return finds(s.f, "Find", func() ([]datastore.Row, error) { return s.Store.Find(ctx, scope) }, nil)
}

func (s faultyStore) Erase(ctx context.Context, scope datastore.Scope, found []datastore.Row) error {
	return does(s.f, "Erase", func() error { return s.Store.Erase(ctx, scope, found) }, map[string]func() error{nothing: func() error { return nil }})
}

func (s faultyStore) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	return call(s.f, "Remaining", func() (int, error) { return s.Store.Remaining(ctx, scope, found) },
		map[string]func() (int, error){nothing: says(0), others: says(7)})
}

func (s faultyStore) Export(ctx context.Context, scope datastore.Scope) iter.Seq2[datastore.Record, error] {
	return lists(s.f, "Export", s.Store.Export(ctx, scope))
}

func (s faultyStore) People(ctx context.Context) iter.Seq2[datastore.Person, error] {
	people, ok := s.Store.(datastore.People)
	if !ok {
		return func(func(datastore.Person, error) bool) {}
	}
	return lists(s.f, "People", people.People(ctx), nothing, half, twice)
}

// faultyDatabase is the database under a fault.
type faultyDatabase struct {
	*sqlstore.Store
	f     *fault
	s     *system
	other string // somebody else
}

func (d faultyDatabase) as(scopes []datastore.Scope, person string) []datastore.Scope {
	scopes = slices.Clone(scopes)
	for i := range scopes {
		scopes[i].Person, scopes[i].Identities = person, nil
	}
	return scopes
}

func (d faultyDatabase) Find(ctx context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	return finds(d.f, "Find", func() ([]datastore.Row, error) { return d.Store.Find(ctx, scope) }, func() ([]datastore.Row, error) {
		return d.Store.Find(ctx, d.as([]datastore.Scope{scope}, d.other)[0])
	})
}

func (d faultyDatabase) FindAll(ctx context.Context, scopes []datastore.Scope) ([]datastore.Row, error) {
	return finds(d.f, "FindAll", func() ([]datastore.Row, error) { return d.Store.FindAll(ctx, scopes) }, func() ([]datastore.Row, error) {
		return d.Store.FindAll(ctx, d.as(scopes, d.other)[:1])
	})
}

func (d faultyDatabase) Rehearse(ctx context.Context, scopes []datastore.Scope) ([]datastore.Row, error) {
	return finds(d.f, "Rehearse", func() ([]datastore.Row, error) { return d.Store.Rehearse(ctx, scopes) }, func() ([]datastore.Row, error) {
		return d.Store.Rehearse(ctx, d.as(scopes, d.other)[:1])
	})
}

func (d faultyDatabase) EraseIn(ctx context.Context, scopes []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	return does(d.f, "EraseIn", func() error { return d.Store.EraseIn(ctx, scopes, last) }, map[string]func() error{
		nothing: func() error { return nil },
		undone: func() error {
			err := d.Store.EraseIn(ctx, scopes, func(ctx context.Context, tx datastore.Tx, found []datastore.Row) error {
				return errors.Join(last(ctx, tx, found), errLate)
			})
			if errors.Is(err, errLate) {
				return nil
			}
			return err
		},
		unerased: func() error {
			found, err := d.Store.FindAll(ctx, scopes)
			if err != nil {
				return err
			}
			tx, err := d.s.db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			return errors.Join(last(ctx, tx, found), tx.Commit())
		},
	})
}

func (d faultyDatabase) Erase(ctx context.Context, scope datastore.Scope, found []datastore.Row) error {
	return does(d.f, "Erase", func() error { return d.Store.Erase(ctx, scope, found) }, map[string]func() error{nothing: func() error { return nil }})
}

func (d faultyDatabase) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	return call(d.f, "Remaining", func() (int, error) { return d.Store.Remaining(ctx, scope, found) },
		map[string]func() (int, error){nothing: says(0), others: says(7)})
}

func (d faultyDatabase) Missing(ctx context.Context, scope datastore.Scope, rows []datastore.Row) ([]datastore.Row, error) {
	return call(d.f, "Missing", func() ([]datastore.Row, error) { return d.Store.Missing(ctx, scope, rows) },
		map[string]func() ([]datastore.Row, error){nothing: says([]datastore.Row(nil)), others: says(rows)})
}

func (d faultyDatabase) Flush(ctx context.Context) error {
	return does(d.f, "Flush", func() error { return d.Store.Flush(ctx) }, nil)
}

func (d faultyDatabase) Tops(ctx context.Context) (map[string]int64, error) {
	return call(d.f, "Tops", func() (map[string]int64, error) { return d.Store.Tops(ctx) }, nil)
}

func (d faultyDatabase) Advance(ctx context.Context, tops map[string]int64) error {
	return does(d.f, "Advance", func() error { return d.Store.Advance(ctx, tops) }, map[string]func() error{nothing: func() error { return nil }})
}

func (d faultyDatabase) Identities(ctx context.Context, scope datastore.Scope) (map[string][]string, error) {
	return call(d.f, "Identities", func() (map[string][]string, error) { return d.Store.Identities(ctx, scope) },
		map[string]func() (map[string][]string, error){nothing: says(map[string][]string{})})
}

func (d faultyDatabase) Aliases(ctx context.Context, tenant, person string) ([]string, error) {
	return call(d.f, "Aliases", func() ([]string, error) { return d.Store.Aliases(ctx, tenant, person) },
		map[string]func() ([]string, error){nothing: says([]string(nil))})
}

func (d faultyDatabase) Undecided(ctx context.Context) ([]datastore.Row, error) {
	return call(d.f, "Undecided", func() ([]datastore.Row, error) { return d.Store.Undecided(ctx) },
		map[string]func() ([]datastore.Row, error){nothing: says([]datastore.Row(nil))})
}

func (d faultyDatabase) People(ctx context.Context) iter.Seq2[datastore.Person, error] {
	return lists(d.f, "People", d.Store.People(ctx), nothing, half, twice)
}

func (d faultyDatabase) Export(ctx context.Context, scope datastore.Scope) iter.Seq2[datastore.Record, error] {
	return lists(d.f, "Export", d.Store.Export(ctx, scope))
}

package privacy_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// A fault befalls one call of a store: the n-th from when it is armed.
type fault struct {
	kind string // "fails", "hangs", "lies"
	left int
	hung chan struct{} // closed when a call hangs
	free chan struct{} // closed when it may go on
}

// befalls says whether this call lies; the error is that of one that fails or
// has hung.
func (f *fault) befalls() (lies bool, err error) {
	if f.left == 0 {
		return false, nil
	}
	if f.left--; f.left > 0 {
		return false, nil
	}
	switch f.kind {
	case "fails":
		return false, errBlown
	case "hangs":
		close(f.hung)
		<-f.free
		return false, errBlown
	}
	return true, nil
}

// faultyDatabase is the database under a fault. That it lists nobody is beyond
// what anybody can notice: People fails and hangs, and does not lie.
type faultyDatabase struct {
	datastore.Transactional
	f *fault
}

func (d faultyDatabase) People(ctx context.Context) iter.Seq2[datastore.Person, error] {
	return func(yield func(datastore.Person, error) bool) {
		if _, err := d.f.befalls(); err != nil {
			yield(datastore.Person{}, err)
			return
		}
		for person, err := range d.Transactional.(datastore.People).People(ctx) {
			if !yield(person, err) {
				return
			}
		}
	}
}

func (d faultyDatabase) FindAll(ctx context.Context, scopes []datastore.Scope) ([]datastore.Row, error) {
	if lies, err := d.f.befalls(); lies || err != nil {
		return nil, err
	}
	return d.Transactional.FindAll(ctx, scopes)
}

func (d faultyDatabase) EraseIn(ctx context.Context, scopes []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	if lies, err := d.f.befalls(); lies || err != nil {
		return err
	}
	if err := d.Transactional.EraseIn(ctx, scopes, last); err != nil {
		return err
	}
	_, err := d.f.befalls() // done, and the answer is lost
	return err
}

func (d faultyDatabase) Flush(ctx context.Context) error {
	if lies, err := d.f.befalls(); lies || err != nil {
		return err
	}
	return d.Transactional.(datastore.Flusher).Flush(ctx)
}

// faultyStore is another store under a fault.
type faultyStore struct {
	datastore.Store
	f *fault
}

func (s faultyStore) Find(ctx context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	if lies, err := s.f.befalls(); lies || err != nil {
		return nil, err
	}
	return s.Store.Find(ctx, scope)
}

func (s faultyStore) Erase(ctx context.Context, scope datastore.Scope, found []datastore.Row) error {
	if lies, err := s.f.befalls(); lies || err != nil {
		return err
	}
	return s.Store.Erase(ctx, scope, found)
}

func (s faultyStore) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	if lies, err := s.f.befalls(); lies || err != nil {
		return 0, err
	}
	return s.Store.Remaining(ctx, scope, found)
}

// Each store fails, hangs and lies at each call of a replay once: the gate
// opens only when nothing is left of the erased, the call ends with its context,
// the next replay finishes, and nobody else loses anything.
func TestEveryFaultOfEveryStoreInAReplay(t *testing.T) {
	for _, kind := range []string{"fails", "hangs", "lies"} {
		for _, of := range []string{"database", "index"} {
			t.Run(of+" "+kind, func(t *testing.T) {
				for n := 1; ; n++ {
					if !oneFaultOfAReplay(t, kind, of, n) {
						require.Greater(t, n, 3, "calls of the %s", of)
						return
					}
				}
			})
		}
	}
}

func oneFaultOfAReplay(t *testing.T, kind, of string, n int) (befallen bool) {
	t.Helper()
	at := fmt.Sprintf("%s %s at call %d", of, kind, n)
	s, x := newSystem(t), &searchIndex{holds: map[string]bool{}}
	s.with(x)
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	both := s.activity("both "+ann, ann, bob)
	x.holds[ann], x.holds[bob] = true, true
	old := s.snapshot()
	s.erase(ann)
	s.restore(old)
	s.with(x)
	x.holds[ann] = kind != "lies" || of != "database" // of whom the database finds nothing nobody else tells
	f := &fault{kind: kind, hung: make(chan struct{}), free: make(chan struct{})}
	database, stores := s.cfg.Database, slices.Clone(s.cfg.Stores)
	if of == "database" {
		s.cfg.Database = faultyDatabase{database, f}
	} else {
		s.cfg.Stores[len(stores)-1] = faultyStore{stores[len(stores)-1], f}
	}
	s.reopen()
	gone := func() bool {
		return s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann)+s.count(`SELECT COUNT(*) FROM activity_persons WHERE person = ?`, ann) == 0 && !x.holds[ann]
	}

	f.left = n
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-f.hung:
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := s.desk.Replay(ctx)
	befallen = f.left == 0
	close(f.free)
	if err == nil {
		require.True(t, gone(), at)
	}
	if gate := s.desk.Ready(t.Context()); gate == nil {
		require.True(t, gone(), at)
	} else {
		require.ErrorIs(t, gate, privacy.ErrBehind, at)
	}
	s.cfg.Database, s.cfg.Stores = database, stores
	s.reopen() // another process
	_, err = s.desk.Replay(t.Context())
	require.NoError(t, err, at)
	require.NoError(t, s.desk.Ready(t.Context()), at)
	require.True(t, gone(), at)
	require.True(t, x.holds[bob], at)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, bob), at)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM activity_persons WHERE activity_id = ?`, both), at)
	require.Zero(t, s.notes("replay-"), at)
	return befallen
}

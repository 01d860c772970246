package privacytest_test

import (
	"context"
	"errors"
	"flag"
	"iter"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/privacytest"
)

// shelf is a store in memory with dated records, and with one fault.
type shelf struct {
	fault string
	held  []datastore.Row // Store is the tenant here
	keys  int
}

func (s *shelf) has(fault string) bool { return s.fault == fault }

func (s *shelf) fixture() privacytest.Fixture {
	return privacytest.Fixture{Store: s, Tenants: [2]string{"main", "second"}, Plant: func(_ *testing.T, tenant, person string) {
		s.keys++
		s.held = append(s.held, datastore.Row{Store: tenant, Person: person, Table: "shelf", Key: string(rune('a' + s.keys)), Class: datastore.Deleted, Created: time.Unix(int64(s.keys), 0)})
	}}
}

func (s *shelf) of(scope datastore.Scope, r datastore.Row) bool {
	return (r.Store == scope.Tenant || s.has("knows no tenants")) && r.Person == scope.Person
}

func (*shelf) Name() string { return "shelf" }

func (s *shelf) Find(_ context.Context, scope datastore.Scope) (rows []datastore.Row, err error) {
	for _, r := range s.held {
		if s.of(scope, r) && (scope.Covers(r) || s.has("takes what is newer")) {
			if r.Store = ""; s.has("has a class of its own") {
				r.Class = "gone"
			}
			if s.has("keeps for no reason") {
				r.Class = datastore.Kept
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (s *shelf) Export(_ context.Context, scope datastore.Scope) iter.Seq2[datastore.Record, error] {
	return func(yield func(datastore.Record, error) bool) {
		for _, r := range s.held {
			own := s.of(scope, r)
			if s.has("exports everybody's") && slices.ContainsFunc(s.held, func(r datastore.Row) bool { return s.of(scope, r) }) {
				own = true
			}
			if own && !s.has("exports nothing") && !yield(datastore.Record{Table: r.Table, Key: r.Key}, nil) {
				return
			}
		}
	}
}

func (s *shelf) Erase(_ context.Context, scope datastore.Scope, found []datastore.Row) error {
	before := len(s.held)
	s.held = slices.DeleteFunc(s.held, func(r datastore.Row) bool {
		known := slices.ContainsFunc(found, func(f datastore.Row) bool { return f.Key == r.Key })
		switch {
		case s.has("erases what was found alone") && len(found) > 0:
			return known
		case s.has("erases the table of what was found") && len(found) > 0:
			return true
		}
		return s.of(scope, r) && (scope.Covers(r) || s.has("takes what is newer"))
	})
	if s.has("minds what is gone") && len(s.held) == before {
		return errors.New("nothing there")
	}
	return nil
}

func (s *shelf) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	rows, err := s.Find(ctx, scope)
	switch {
	case s.has("reads back what was found alone"):
		rows = slices.DeleteFunc(rows, func(r datastore.Row) bool {
			return !slices.ContainsFunc(found, func(f datastore.Row) bool { return f.Key == r.Key })
		})
	case s.has("reads nothing back"):
		rows = nil
	case s.has("reads everybody's back"):
		return len(s.held), nil
	}
	return len(rows), err
}

// The judge lets a sound store pass, and none of those with a fault.
func TestTheJudgeFindsAStoreWithAFault(t *testing.T) {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	skipped := flag.Lookup("test.skip").Value.String() // what these are told to skip, the judge is not
	require.NoError(t, flag.Set("test.skip", ""))
	out := os.Stdout
	defer func() {
		os.Stdout = out
		require.NoError(t, flag.Set("test.skip", skipped))
		require.NoError(t, nowhere.Close())
	}()
	passes := func(fault string) bool {
		os.Stdout = nowhere // what it has against them is nobody's to read
		defer func() { os.Stdout = out }()
		return testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "store that " + fault, F: func(t *testing.T) {
			privacytest.Run(t, func(*testing.T) privacytest.Fixture { return (&shelf{fault: fault}).fixture() })
		}}})
	}
	require.True(t, passes("is sound"))
	for _, fault := range []string{
		"knows no tenants", "takes what is newer", "has a class of its own", "keeps for no reason", "exports nothing", "exports everybody's", "erases what was found alone",
		"erases the table of what was found", "minds what is gone", "reads back what was found alone", "reads nothing back", "reads everybody's back",
	} {
		if passes(fault) {
			t.Errorf("a store that %s passes", fault)
		}
	}
}

package encryptiontest_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// faulty is a key store with one fault.
type faulty struct {
	keystore.Store
	fault string
}

func (s *faulty) State(ctx context.Context) (keystore.State, error) {
	if s.fault == "does not answer" {
		return keystore.State{}, errors.New("away")
	}
	state, err := s.Store.State(ctx)
	switch s.fault {
	case "forgets the lease":
		state.Lease, state.LeaseWait = 0, 0
	case "forgets the barrier":
		state.Barrier = 0
	case "forgets the mark":
		state.Mark = ""
	}
	return state, err
}

func (s *faulty) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	if s.fault == "tells no tenants apart" {
		tenant = "t"
	}
	rows, err := s.Store.Owners(ctx, tenant, owners)
	switch s.fault {
	case "forgets seals":
		for i := range rows.Keys {
			rows.Keys[i].Seals = 0
		}
	case "forgets aliases":
		rows.Aliases = nil
	case "gives each owner back once for each key":
		rows.Owners = append(rows.Owners, rows.Owners...)
	case "gives keys and aliases of known owners only":
		rows.Keys = slices.DeleteFunc(rows.Keys, func(k keystore.KeyRow) bool {
			return !slices.ContainsFunc(rows.Owners, func(o keystore.OwnerRow) bool { return o.Owner == k.Owner })
		})
		rows.Aliases = slices.DeleteFunc(rows.Aliases, func(a keystore.AliasRow) bool {
			return !slices.ContainsFunc(rows.Owners, func(o keystore.OwnerRow) bool { return o.Owner == a.Alias })
		})
	case "answers for some owners":
		rows.Owners = rows.Owners[:min(len(rows.Owners), 100)]
	}
	return rows, err
}

func (s *faulty) Create(ctx context.Context, f func(keystore.Tx) error) error {
	if s.fault == "creates like it updates" {
		_, err := s.Store.Update(ctx, f)
		return err
	}
	return s.Store.Create(ctx, func(tx keystore.Tx) error { return f(&faultyTx{tx, s.fault}) })
}

func (s *faulty) Update(ctx context.Context, f func(keystore.Tx) error) (state keystore.State, err error) {
	if s.fault == "commits what failed" {
		var failed error
		state, err = s.Store.Update(ctx, func(tx keystore.Tx) error {
			failed = f(tx)
			return nil
		})
		return state, errors.Join(err, failed)
	}
	state, err = s.Store.Update(ctx, func(tx keystore.Tx) error { return f(&faultyTx{tx, s.fault}) })
	if s.fault == "answers the state of before" && err == nil {
		state.Sequence--
	}
	return state, err
}

func (s *faulty) Snapshot(ctx context.Context, f func(keystore.Tx) error) error {
	return s.Store.Snapshot(ctx, func(tx keystore.Tx) error { return f(&faultyTx{tx, s.fault}) })
}

type faultyTx struct {
	keystore.Tx
	fault string
}

func (t *faultyTx) Page(ctx context.Context, page keystore.Page) (keystore.Rows, error) {
	if t.fault == "pages have no end" {
		page.Limit = 1 << 20
	}
	rows, err := t.Tx.Page(ctx, page)
	if t.fault == "pages have no order" {
		slices.Reverse(rows.Keys)
		slices.Reverse(rows.Owners)
	}
	return rows, err
}

func (t *faultyTx) Write(ctx context.Context, change keystore.Change) error {
	switch t.fault {
	case "writes in a snapshot":
		_ = t.Tx.Write(ctx, change)
		return nil
	case "keeps what is removed":
		change.Remove = keystore.Rows{}
	case "narrows nobody":
		change.Narrows = false
	case "takes away with everything":
		change.Keeps = false
	case "takes nothing away":
		change.Keeps = true
	case "brings nothing back":
		change.Returns = false
	case "narrows everybody":
		change.Of = keystore.Scope{}
	case "loses indexes":
		change.Put.Indexes = nil
	}
	return t.Tx.Write(ctx, change)
}

// The judge lets the store in memory pass, and none of those with a fault.
func TestTheJudgeFindsAStoreWithAFault(t *testing.T) {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	out := os.Stdout
	defer func() {
		os.Stdout = out
		require.NoError(t, nowhere.Close())
	}()
	passes := func(fault string) bool {
		os.Stdout = nowhere // what it has against them is nobody's to read
		defer func() { os.Stdout = out }()
		return testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "store that " + fault, F: func(t *testing.T) {
			encryptiontest.Run(t, func(*testing.T) keystore.Store { return &faulty{encryptiontest.Keys(), fault} })
		}}})
	}
	require.True(t, passes("is sound"))
	for _, fault := range []string{
		"does not answer", "forgets the lease", "forgets the barrier", "forgets the mark", "tells no tenants apart", "forgets seals", "forgets aliases",
		"gives each owner back once for each key", "gives keys and aliases of known owners only", "answers for some owners", "creates like it updates", "commits what failed", "answers the state of before",
		"pages have no end", "pages have no order", "writes in a snapshot", "keeps what is removed",
		"narrows nobody", "takes away with everything", "takes nothing away", "brings nothing back", "narrows everybody", "loses indexes",
	} {
		if passes(fault) {
			t.Errorf("a store that %s passes", fault)
		}
	}
}

package encryptiontest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// patience is longer than any store takes for what the rules ask of it: who is
// not done by then waits for ever.
const patience = 5 * time.Minute

func create(ctx context.Context, s keystore.Store, rows keystore.Rows) error {
	return s.Create(ctx, func(tx keystore.Tx) error { return tx.Write(ctx, keystore.Change{Put: rows}) })
}

// newOwner is a live owner with a key that names its maker.
func newOwner(owner, maker string) keystore.Rows {
	return keystore.Rows{
		Owners: []keystore.OwnerRow{{Tenant: "t", Owner: owner, State: keystore.Live, Sequence: 1}},
		Keys:   []keystore.KeyRow{{Tenant: "t", Owner: owner, KeyVersion: 1, Wrapped: []byte(maker)}},
	}
}

func keyVersion() keystore.KeyVersionRow {
	return keystore.KeyVersionRow{Tenant: "t", KeyVersion: 1, State: keystore.Active, Created: time.UnixMicro(1).UTC()}
}

func prepared(t *testing.T, s keystore.Store) keystore.State {
	t.Helper()
	return write(t, s, keystore.Change{Put: keystore.Rows{KeyVersions: []keystore.KeyVersionRow{keyVersion()}}, Store: &keystore.State{Store: "id", Epoch: 1, KEK: "k"}})
}

func createLeavesWhatIsThere(t *testing.T, s keystore.Store) {
	t.Helper()
	before := prepared(t, s)
	must(t, create(t.Context(), s, newOwner("p", "first")))
	must(t, create(t.Context(), s, newOwner("p", "second")))
	rows, err := s.Owners(t.Context(), "t", []string{"p"})
	must(t, err)
	if len(rows.Keys) != 1 || string(rows.Keys[0].Wrapped) != "first" {
		t.Errorf("after two creations of one key the store holds %+v; the first one stays", rows.Keys)
	}
	write(t, s, keystore.Change{Put: keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: "t", Owner: "q", State: keystore.Tombstone, Sequence: 2}}}})
	must(t, create(t.Context(), s, keystore.Rows{Owners: newOwner("q", "").Owners}))
	rows, err = s.Owners(t.Context(), "t", []string{"q"})
	must(t, err)
	if len(rows.Owners) != 1 || rows.Owners[0].State != keystore.Tombstone {
		t.Errorf("a creation turned a tombstone into %+v; what is there stays as it is", rows.Owners)
	}
	must(t, s.Create(t.Context(), func(tx keystore.Tx) error {
		state, err := tx.State(t.Context())
		if err == nil && (state.Sequence != before.Sequence+1 || state.Store != "id") {
			t.Errorf("inside of Create the state is %+v; it must be that of the last Update", state)
		}
		return err
	}))
	after, err := s.State(t.Context())
	must(t, err)
	if after.Sequence != before.Sequence+1 || after.Barrier != before.Barrier {
		t.Errorf("creations moved the state from %+v to %+v; only the Update may", before, after)
	}
}

func createTakesOwnersAndKeysOnly(t *testing.T, s keystore.Store) {
	t.Helper()
	dead := newOwner("p", "x").Owners
	dead[0].State = keystore.Tombstone
	all := sample()
	for name, change := range map[string]keystore.Change{
		"a removal": {Remove: newOwner("p", "x")}, "a dead owner": {Put: keystore.Rows{Owners: dead}}, "a barrier": {Put: newOwner("p", "x"), Narrows: true},
		"a state row": {Store: &keystore.State{Store: "id"}}, "a keyset": {Put: keystore.Rows{Keysets: all.Keysets}},
		"a key version": {Put: keystore.Rows{KeyVersions: all.KeyVersions}}, "an alias": {Put: keystore.Rows{Aliases: all.Aliases}},
		"an index": {Put: keystore.Rows{Indexes: all.Indexes}}, "a mark": {Put: keystore.Rows{Marks: []keystore.MarkRow{{Sequence: 1, Mark: "m"}}}},
	} {
		err := s.Create(t.Context(), func(tx keystore.Tx) error {
			must(t, tx.Write(t.Context(), keystore.Change{Put: newOwner("kept", "x")}))
			return tx.Write(t.Context(), change)
		})
		if err == nil {
			t.Errorf("Create took %s; it takes live owners and keys only", name)
		}
	}
	emptyStore(t, s)
	rows, err := s.Owners(t.Context(), "t", []string{"kept", "p"})
	must(t, err)
	if len(rows.Owners)+len(rows.Keys) != 0 {
		t.Errorf("a Create that failed left %+v", rows)
	}
}

// creationsAgree lets many make keys of the same owners at once, each with a
// set of its own order: all succeed and find the same keys afterwards.
func creationsAgree(t *testing.T, s keystore.Store) {
	t.Helper()
	prepared(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	owners := make([]string, 30)
	for i := range owners {
		owners[i] = fmt.Sprint("p", i)
	}
	const makers = 8
	found := make([]string, makers)
	var wg sync.WaitGroup
	for maker := range makers {
		wg.Go(func() {
			var rows keystore.Rows
			for i := range owners {
				at := (7*i + 11*maker) % len(owners) // an order of its own: 7 and 30 have no common divisor
				one := newOwner(owners[at], fmt.Sprint("maker ", maker))
				rows.Owners, rows.Keys = append(rows.Owners, one.Owners...), append(rows.Keys, one.Keys...)
			}
			if err := create(ctx, s, rows); err != nil {
				t.Errorf("a creation beside others of the same owners failed: %v", err)
				return
			}
			back, err := s.Owners(ctx, "t", owners)
			if err != nil {
				t.Error(err)
			}
			found[maker] = fmt.Sprintf("%d owners, keys %v", len(back.Owners), back.Keys)
		})
	}
	wg.Wait()
	if len(slices.Compact(slices.Clone(found))) != 1 || !strings.HasPrefix(found[0], "30 owners") {
		t.Errorf("creations of the same owners read back different keys:\n%s", strings.Join(found, "\n"))
	}
}

// creationsKeepApart buries owners while others make keys for them without a
// pause. An Update has the store for itself, comes to its turn, and leaves no
// key under a tombstone.
func creationsKeepApart(t *testing.T, s keystore.Store) {
	t.Helper()
	prepared(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var inside atomic.Int64
	var stop atomic.Bool
	var returned sync.Map
	var wg sync.WaitGroup
	for maker := range 8 {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				owner := fmt.Sprintf("p%d", (maker+n)%5)
				own := fmt.Sprintf("own-%d-%d", maker, n)
				err := s.Create(ctx, func(tx keystore.Tx) error {
					inside.Add(1)
					defer inside.Add(-1)
					return makeWhereLive(ctx, t, tx, owner, own)
				})
				if err != nil {
					t.Errorf("a creation beside updates failed: %v", err)
					return
				}
				returned.Store(own, true)
			}
		})
	}
	for n := range 10 {
		var before []string
		returned.Range(func(own, _ any) bool { before = append(before, own.(string)); return true })
		if _, err := s.Update(ctx, func(tx keystore.Tx) error {
			if n := inside.Load(); n != 0 {
				t.Errorf("%d creations run inside of an Update; it must have the store for itself", n)
			}
			back, err := tx.Owners(ctx, "t", before)
			if err == nil && len(back.Keys) != len(before) {
				t.Errorf("an Update sees %d of %d keys that were created before it", len(back.Keys), len(before))
			}
			return bury(ctx, tx, fmt.Sprintf("p%d", n%5))
		}); err != nil {
			t.Errorf("an Update while creations keep coming: %v", err)
			break
		}
	}
	stop.Store(true)
	wg.Wait()
	rows, err := s.Owners(t.Context(), "t", []string{"p0", "p1", "p2", "p3", "p4"})
	must(t, err)
	if len(rows.Owners) != 5 || len(rows.Keys) != 0 {
		t.Errorf("after all were buried the store holds %+v; no key stands under a tombstone", rows)
	}
}

func makeWhereLive(ctx context.Context, t *testing.T, tx keystore.Tx, owner, own string) error {
	t.Helper()
	before, err := tx.State(ctx)
	if err != nil {
		return err
	}
	have, err := tx.Owners(ctx, "t", []string{owner})
	if err != nil {
		return err
	}
	put := newOwner(own, "x")
	if len(have.Owners) == 0 || have.Owners[0].State == keystore.Live {
		put.Keys = append(put.Keys, newOwner(owner, "x").Keys...)
		put.Owners = append(put.Owners, newOwner(owner, "x").Owners...)
	}
	if err := tx.Write(ctx, keystore.Change{Put: put}); err != nil {
		return err
	}
	after, err := tx.State(ctx)
	again, againErr := tx.Owners(ctx, "t", []string{owner})
	if err == nil && againErr == nil && (after.Sequence != before.Sequence || len(have.Owners) > 0 && again.Owners[0].State != have.Owners[0].State) {
		t.Error("an Update was committed while a creation ran")
	}
	return err
}

// bury makes a tombstone of an owner and removes its keys.
func bury(ctx context.Context, tx keystore.Tx, owner string) error {
	have, err := tx.Owners(ctx, "t", []string{owner})
	if err != nil {
		return err
	}
	return tx.Write(ctx, keystore.Change{
		Narrows: true, Remove: keystore.Rows{Keys: have.Keys},
		Put: keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: "t", Owner: owner, State: keystore.Tombstone, Sequence: 1}}},
	})
}

// eachTableForItself reads keys and aliases whose owner row, or whose key version, is
// not there, one owner at a time and several: an erasure has to find them.
func eachTableForItself(t *testing.T, s keystore.Store) {
	t.Helper()
	rows := sample()
	write(t, s, keystore.Change{Put: keystore.Rows{
		Owners:  []keystore.OwnerRow{{Tenant: "t", Owner: "row", State: keystore.Live, Sequence: 1}},
		Keys:    rows.Keys,
		Aliases: []keystore.AliasRow{{Tenant: "t", Alias: "merged", Owner: "p"}},
	}, Store: &keystore.State{Store: "id"}})
	for asked, want := range map[string][3]int{"row": {1, 0, 0}, "p": {0, 3, 0}, "merged": {0, 0, 1}, "row p merged": {1, 3, 1}, "p unknown": {0, 3, 0}} {
		inside, err := func() (back keystore.Rows, err error) {
			err = s.Snapshot(t.Context(), func(tx keystore.Tx) (err error) {
				back, err = tx.Owners(t.Context(), "t", strings.Fields(asked))
				return err
			})
			return back, err
		}()
		must(t, err)
		back, err := s.Owners(t.Context(), "t", strings.Fields(asked))
		must(t, err)
		for _, back := range []keystore.Rows{back, inside} {
			if got := [3]int{len(back.Owners), len(back.Keys), len(back.Aliases)}; got != want {
				t.Errorf("of %q %v owners, keys and aliases came back, want %v; each table is read for itself, so that an erasure finds the keys of whom the owner row is lost", asked, got, want)
			}
		}
	}
}

// manyOwners reads more owners at once than a statement has room for, of all
// lengths, some unknown, some twice.
func manyOwners(t *testing.T, s keystore.Store) {
	t.Helper()
	prepared(t, s)
	var rows keystore.Rows
	var asked []string
	for i := range 5000 {
		owner := fmt.Sprint(i) + strings.Repeat("x", i%200)
		if i%7 == 0 { // signs that mean something in SQL, JSON or an array
			owner += "\x01\t'\"\\{<&>},\u2028é"
		}
		asked = append(asked, owner, "unknown-"+owner)
		if i%3 == 0 {
			asked = append(asked, owner)
		}
		one := newOwner(owner, owner)
		rows.Owners, rows.Keys = append(rows.Owners, one.Owners...), append(rows.Keys, one.Keys...)
	}
	slices.Reverse(asked)
	must(t, create(t.Context(), s, rows))
	back, err := s.Owners(t.Context(), "t", asked)
	must(t, err)
	if len(back.Owners) != 5000 || len(back.Keys) != 5000 {
		t.Fatalf("of 5,000 owners and keys %d and %d came back", len(back.Owners), len(back.Keys))
	}
	for i, key := range back.Keys {
		if string(key.Wrapped) != key.Owner || back.Owners[i].Owner != key.Owner {
			t.Fatalf("owner %q came back with the key of %q; both are in the order of the owners' bytes", back.Owners[i].Owner, key.Wrapped)
		}
	}
}

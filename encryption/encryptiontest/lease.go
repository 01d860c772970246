package encryptiontest

import (
	"testing"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// lease: what a lease is, how long it is waited for, and the longest transaction come
// back to the microsecond, where Update answers, where it is read, and inside of each kind
// of transaction.
func lease(t *testing.T, s keystore.Store) {
	t.Helper()
	want := keystore.State{Store: "id", Lease: 1234567 * time.Microsecond, LeaseWait: time.Hour, LeaseSince: 1, LongestTransaction: 12345678 * time.Microsecond}
	check := func(where string, state keystore.State, err error) error {
		if err == nil && state.LongestTransaction != want.LongestTransaction {
			t.Errorf("%s gave a longest transaction of %v, want %v", where, state.LongestTransaction, want.LongestTransaction)
		}
		if err == nil && (state.Lease != want.Lease || state.LeaseWait != want.LeaseWait || state.LeaseSince != want.LeaseSince) {
			t.Errorf("%s gave a lease of %v, waited for %v, since %d; want %v, %v, %d", where, state.Lease, state.LeaseWait, state.LeaseSince, want.Lease, want.LeaseWait, want.LeaseSince)
		}
		return err
	}
	must(t, check("Update", write(t, s, keystore.Change{Store: &want}), nil))
	for _, change := range []keystore.Change{{Put: newOwner("p", "x")}, {Narrows: true}} { // which say nothing of it
		must(t, check("an Update of something else", write(t, s, change), nil))
	}
	state, err := s.State(t.Context())
	must(t, check("State", state, err))
	inside := func(where string) func(keystore.Tx) error {
		return func(tx keystore.Tx) error {
			state, err := tx.State(t.Context())
			return check(where, state, err)
		}
	}
	must(t, s.Create(t.Context(), inside("State in Create")))
	must(t, s.Snapshot(t.Context(), inside("State in Snapshot")))
	_, err = s.Update(t.Context(), inside("State in Update"))
	must(t, err)
}

// narrows: the mark of each Update says whose keys it narrowed, also where it
// is put again, and everyone's where two changes of one Update name others.
func narrows(t *testing.T, s keystore.Store) {
	t.Helper()
	one := keystore.Scope{Tenant: "t", Owners: []string{"p\"1", "P1", "\u00e4", "a\u0308"}}
	all := keystore.Scope{Tenant: "t"}
	change := func(of keystore.Scope) keystore.Change { return keystore.Change{Narrows: true, Of: of} }
	for _, c := range []struct {
		what    string
		changes []keystore.Change
		want    string
	}{
		{"an Update that narrows nothing", []keystore.Change{{Put: newOwner("p", "x")}}, keystore.NarrowsNothing},
		{"some owners", []keystore.Change{change(one)}, change(one).Narrowed(keystore.NarrowsNothing)},
		{"the same twice", []keystore.Change{change(one), change(one)}, change(one).Narrowed(keystore.NarrowsNothing)},
		{"a tenant", []keystore.Change{change(all), {Put: newOwner("q", "x")}}, `{"tenant":"t"}`},
		{"two scopes", []keystore.Change{change(one), change(all)}, ""},
		{"two scopes and the first again", []keystore.Change{change(one), change(all), change(one)}, ""},
		{"everyone", []keystore.Change{change(keystore.Scope{})}, ""},
	} {
		state, err := s.Update(t.Context(), func(tx keystore.Tx) error {
			for _, change := range c.changes {
				if err := tx.Write(t.Context(), change); err != nil {
					return err
				}
			}
			return nil
		})
		must(t, err)
		marks := historyOf(t, s)
		last := marks[len(marks)-1]
		if last.Sequence != state.Sequence || last.Narrows != c.want {
			t.Errorf("%s: the mark says %q, want %q", c.what, last.Narrows, c.want)
		}
		if moved := state.Barrier == state.Sequence && state.Taken == state.Sequence; moved != c.changes[0].Narrows {
			t.Errorf("%s: the barrier is %d after sequence %d", c.what, state.Barrier, state.Sequence)
		}
	}
}

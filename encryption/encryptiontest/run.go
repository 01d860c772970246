package encryptiontest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Run judges a key store. open returns a fresh, empty one each time.
func Run(t *testing.T, open func(t *testing.T) keystore.Store) {
	t.Helper()
	for name, rule := range map[string]func(t *testing.T, s keystore.Store){
		"empty": emptyStore, "round trip": roundTrip, "failed update": failedUpdate, "update without write": idleUpdate,
		"pages": pages, "keys are bytes": keysAreBytes, "serial sequence": serialSequence, "barrier": barrier, "snapshot": snapshot, "replace and remove": replaceAndRemove,
		"create leaves what is there": createLeavesWhatIsThere, "create takes owners and keys only": createTakesOwnersAndKeysOnly,
		"owners are what each table has": eachTableForItself, "creations agree": creationsAgree, "creations keep apart from updates": creationsKeepApart, "many owners": manyOwners,
		"history": history, "lease": lease, "whom a change narrows": narrows, "named mark": namedMark, "restored history": restoredHistory, "snapshots hold what marks promise": snapshotsHoldWhatMarksPromise,
	} {
		t.Run(name, func(t *testing.T) { rule(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

func write(t *testing.T, s keystore.Store, change keystore.Change) keystore.State {
	t.Helper()
	state, err := s.Update(t.Context(), func(tx keystore.Tx) error { return tx.Write(t.Context(), change) })
	must(t, err)
	return state
}

func sample() keystore.Rows {
	return keystore.Rows{
		Keysets: []keystore.KeysetRow{{Tenant: "t", Purpose: "wrap", Epoch: 1, KEK: "k", Version: 2, Former: []uint32{7, 0xffffffff}, Wrapped: []byte{0, 1}}},
		KeyVersions: []keystore.KeyVersionRow{
			{Tenant: "t", KeyVersion: 1, State: keystore.Retired, Created: time.UnixMicro(1763700000000000).UTC()},
			{Tenant: "t", KeyVersion: 0x80000000, State: keystore.Retired, Created: time.UnixMicro(1763700000000001).UTC()},
			{Tenant: "t", KeyVersion: 0xffffffff, State: keystore.Active, Created: time.UnixMicro(1763800000123456).UTC()},
		},
		Owners: []keystore.OwnerRow{{Tenant: "t", Owner: "p", State: keystore.Live, Sequence: 1}},
		Keys: []keystore.KeyRow{ // several, so that the owner and the alias could come back once for each
			{Tenant: "t", Owner: "p", KeyVersion: 1, Wrapped: []byte{4}},
			{Tenant: "t", Owner: "p", KeyVersion: 0x80000000, Wrapped: []byte{}},
			{Tenant: "t", Owner: "p", KeyVersion: 0xffffffff, Wrapped: []byte{1, 2, 3}, Seals: 1 << 32},
		},
		Aliases: []keystore.AliasRow{{Tenant: "t", Alias: "p", Owner: "q"}},
		Indexes: []keystore.IndexRow{{Tenant: "t", Table: "contacts", Index: "email", Version: 1, Root: 0xffffffff, Normaliser: "email/1", Bits: 32, State: keystore.IndexLive}},
	}
}

func emptyStore(t *testing.T, s keystore.Store) {
	t.Helper()
	state, err := s.State(t.Context())
	must(t, err)
	if state.Store != "" || state.Sequence != 0 {
		t.Errorf("a fresh store has state %+v; it must have no id and sequence 0", state)
	}
	rows, err := s.Owners(t.Context(), "t", []string{"p"})
	must(t, err)
	if len(rows.Owners) != 0 {
		t.Error("an unknown owner was returned; it must be left out")
	}
}

func roundTrip(t *testing.T, s keystore.Store) {
	t.Helper()
	state := write(t, s, keystore.Change{Put: sample(), Store: &keystore.State{Store: "id", Epoch: 3, KEK: "k", Retiring: []string{"a", "b"}}})
	if state.Sequence != 1 || state.Store != "id" || state.Epoch != 3 || len(state.Retiring) != 2 {
		t.Errorf("Update answered %+v; it must answer the state that it left", state)
	}
	tenant, err := s.Tenant(t.Context(), "t")
	must(t, err)
	owner, err := s.Owners(t.Context(), "t", []string{"p", "unknown", "p"})
	must(t, err)
	want := sample()
	got := keystore.Rows{Keysets: tenant.Keysets, KeyVersions: tenant.KeyVersions, Indexes: tenant.Indexes, Owners: owner.Owners, Keys: owner.Keys, Aliases: owner.Aliases}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("rows came back as\n%+v\nwant\n%+v", got, want)
	}
	other, err := s.Owners(t.Context(), "u", []string{"p"})
	must(t, err)
	if len(other.Owners)+len(other.Keys) != 0 {
		t.Error("an owner of another tenant was returned")
	}
}

func failedUpdate(t *testing.T, s keystore.Store) {
	t.Helper()
	boom := errors.New("boom")
	_, err := s.Update(t.Context(), func(tx keystore.Tx) error {
		must(t, tx.Write(t.Context(), keystore.Change{Put: sample()}))
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("Update answered %v; it must answer the error of its func", err)
	}
	emptyStore(t, s)
}

func idleUpdate(t *testing.T, s keystore.Store) {
	t.Helper()
	state, err := s.Update(t.Context(), func(keystore.Tx) error { return nil })
	must(t, err)
	if state.Sequence != 0 {
		t.Errorf("an update that writes nothing raised the sequence to %d", state.Sequence)
	}
	emptyStore(t, s)
}

func pages(t *testing.T, s keystore.Store) {
	t.Helper()
	var rows keystore.Rows
	for _, tenant := range []string{"a", "b"} {
		rows.KeyVersions = append(rows.KeyVersions, keystore.KeyVersionRow{Tenant: tenant, KeyVersion: 1}, keystore.KeyVersionRow{Tenant: tenant, KeyVersion: 2})
		for i := range 10 {
			owner := fmt.Sprintf("p%d", i)
			rows.Owners = append(rows.Owners, keystore.OwnerRow{Tenant: tenant, Owner: owner, State: keystore.Live})
			for g := range uint32(2) {
				rows.Keys = append(rows.Keys, keystore.KeyRow{Tenant: tenant, Owner: owner, KeyVersion: g + 1, Wrapped: []byte{1}})
			}
		}
	}
	write(t, s, keystore.Change{Put: rows})
	for _, c := range []struct {
		page keystore.Page
		want int
	}{
		{keystore.Page{Kind: keystore.KindKey, Limit: 7}, 40},
		{keystore.Page{Kind: keystore.KindKey, Tenant: "a", Limit: 7}, 20},
		{keystore.Page{Kind: keystore.KindKey, Tenant: "b", KeyVersion: 2, Limit: 3}, 10},
		{keystore.Page{Kind: keystore.KindOwner, Limit: 20}, 20},
		{keystore.Page{Kind: keystore.KindAlias, Limit: 5}, 0},
	} {
		seen, last := 0, ""
		must(t, s.Snapshot(t.Context(), func(tx keystore.Tx) error {
			for {
				got, err := tx.Page(t.Context(), c.page)
				if err != nil {
					return err
				}
				after := got.After(c.page.Kind)
				if after == nil {
					return nil
				}
				if n := len(got.Keys) + len(got.Owners); n > c.page.Limit {
					t.Errorf("page %+v holds %d rows; whoever asks for a page has room for its Limit", c.page, n)
				}
				seen += len(got.Keys) + len(got.Owners)
				if now := fmt.Sprint(after...); now <= last {
					t.Errorf("page %+v: %q follows %q; pages are in the order of the primary key", c.page, now, last)
				} else {
					last = now
				}
				c.page.After = after
			}
		}))
		if seen != c.want {
			t.Errorf("pages of %+v gave %d rows, want %d", c.page, seen, c.want)
		}
	}
}

// keysAreBytes pages through ids that a database takes for equal, or sorts
// otherwise, as soon as it compares text by the rules of a language.
func keysAreBytes(t *testing.T, s keystore.Store) {
	t.Helper()
	ids := []string{"b", "A", "a", "B", "\u00e4", "a\u0308", "_x", "Z", "1-2", "12", "p1", "p1 ", "P1", "\ufb01", "fi", "00", "0", "\u0130", "i"}
	put := keystore.Rows{KeyVersions: []keystore.KeyVersionRow{{Tenant: "t", KeyVersion: 1, State: keystore.Active, Created: time.UnixMicro(1).UTC()}}}
	for i, id := range ids {
		put.Owners = append(put.Owners, keystore.OwnerRow{Tenant: "t", Owner: id, State: keystore.Live, Sequence: int64(i)})
		put.Keys = append(put.Keys, keystore.KeyRow{Tenant: "t", Owner: id, KeyVersion: 1, Wrapped: []byte{byte(i)}})
	}
	write(t, s, keystore.Change{Put: put})
	var got []string
	must(t, s.Snapshot(t.Context(), func(tx keystore.Tx) error {
		page := keystore.Page{Kind: keystore.KindKey, Tenant: "t", Limit: 3}
		for {
			rows, err := tx.Page(t.Context(), page)
			if err != nil || len(rows.Keys) == 0 {
				return err
			}
			for _, row := range rows.Keys {
				got = append(got, row.Owner)
			}
			page.After = rows.After(keystore.KindKey)
		}
	}))
	if want := slices.Sorted(slices.Values(ids)); !slices.Equal(got, want) {
		t.Errorf("pages gave %q; ids are ordered by their bytes and none is left out: %q", got, want)
	}
	for i, id := range ids {
		rows, err := s.Owners(t.Context(), "t", []string{id})
		must(t, err)
		if len(rows.Owners) != 1 || rows.Owners[0].Sequence != int64(i) || len(rows.Keys) != 1 || rows.Keys[0].Wrapped[0] != byte(i) {
			t.Errorf("owner %q came back as %+v; an id is compared by its bytes", id, rows)
		}
	}
}

func serialSequence(t *testing.T, s keystore.Store) {
	t.Helper()
	var mu sync.Mutex
	seen := map[int64]bool{}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var inside int64
			state, err := s.Update(t.Context(), func(tx keystore.Tx) error {
				now, err := tx.State(t.Context())
				inside = now.Sequence
				if err != nil {
					return err
				}
				return tx.Write(t.Context(), keystore.Change{Put: keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: "t", Owner: fmt.Sprint(i), State: keystore.Live, Sequence: now.Sequence}}}})
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || state.Sequence != inside || seen[inside] {
				t.Errorf("update saw sequence %d, answered %d (%v); each change has one of its own, known inside", inside, state.Sequence, err)
			}
			seen[inside] = true
		})
	}
	wg.Wait()
	if len(seen) != 8 || !seen[1] || !seen[8] {
		t.Errorf("eight changes had the sequences %v; they must be 1 to 8", seen)
	}
}

func barrier(t *testing.T, s keystore.Store) {
	t.Helper()
	if state := write(t, s, keystore.Change{Put: sample()}); state.Barrier != 0 {
		t.Errorf("a change that narrows nothing moved the barrier to %d", state.Barrier)
	}
	if state := write(t, s, keystore.Change{Remove: keystore.Rows{Keys: sample().Keys}, Narrows: true}); state.Barrier != 2 {
		t.Errorf("the barrier is %d after a narrowing change of sequence 2", state.Barrier)
	}
	for _, c := range []struct {
		change          keystore.Change
		taken, returned int64 // of an Update of sequence 3, 4, ...
	}{
		{keystore.Change{Put: keystore.Rows{Keys: sample().Keys}, Narrows: true, Keeps: true, Returns: true}, 2, 3},
		{keystore.Change{Narrows: true, Keeps: true}, 2, 3},
		{keystore.Change{Narrows: true}, 5, 3},
		{keystore.Change{Put: sample(), Keeps: true, Returns: true}, 5, 3},
	} {
		state := write(t, s, c.change)
		if state.Taken != c.taken || state.Returned != c.returned {
			t.Errorf("%+v left taken %d, returned %d; want %d, %d", c.change, state.Taken, state.Returned, c.taken, c.returned)
		}
	}
	if state := write(t, s, keystore.Change{Store: &keystore.State{Store: "id"}}); state.Taken != 5 || state.Returned != 3 || state.Barrier != 5 {
		t.Errorf("another state row moved barrier, taken or returned: %+v", state)
	}
	state := write(t, s, keystore.Change{Store: &keystore.State{Store: "id", Sequence: 40}, Narrows: true})
	if state.Sequence != 40 || state.Barrier != 40 {
		t.Errorf("a restored state row gave %+v; sequence and barrier must be 40", state)
	}
	read, err := s.State(t.Context())
	must(t, err)
	if read.Sequence != state.Sequence || read.Barrier != state.Barrier || read.Taken != state.Taken || read.Returned != state.Returned || read.Mark != state.Mark {
		t.Errorf("State answers %+v, the Update before answered %+v: leases go by sequence, mark and barrier", read, state)
	}
}

func snapshot(t *testing.T, s keystore.Store) {
	t.Helper()
	err := s.Snapshot(t.Context(), func(tx keystore.Tx) error {
		if tx.Write(t.Context(), keystore.Change{Put: sample()}) == nil {
			t.Error("a snapshot took a write")
		}
		return nil
	})
	must(t, err)
	emptyStore(t, s)
}

func replaceAndRemove(t *testing.T, s keystore.Store) {
	t.Helper()
	write(t, s, keystore.Change{Put: sample()})
	changed := sample()
	changed.Keys[0].Wrapped, changed.Keys[0].Seals = []byte{9}, 7
	changed.Owners[0].State = keystore.Tombstone
	write(t, s, keystore.Change{Put: changed})
	rows, err := s.Owners(t.Context(), "t", []string{"p"})
	must(t, err)
	if len(rows.Keys) != len(changed.Keys) || !bytes.Equal(rows.Keys[0].Wrapped, []byte{9}) || rows.Keys[0].Seals != 7 || rows.Owners[0].State != keystore.Tombstone {
		t.Errorf("a put did not replace the row of the same key: %+v", rows)
	}
	write(t, s, keystore.Change{Remove: sample()})
	must(t, s.Snapshot(t.Context(), func(tx keystore.Tx) error {
		for _, kind := range []keystore.Kind{keystore.KindKeyset, keystore.KindKeyVersion, keystore.KindOwner, keystore.KindKey, keystore.KindAlias, keystore.KindIndex} {
			rows, err := tx.Page(t.Context(), keystore.Page{Kind: kind, Limit: 10})
			if err != nil || rows.After(kind) != nil {
				t.Errorf("rows of kind %s stayed after their removal (%v)", kind, err)
			}
		}
		merged, err := tx.Merged(t.Context(), "t", "q")
		if err != nil || len(merged) != 0 {
			t.Errorf("an alias stayed after its removal (%v)", err)
		}
		return nil
	}))
}

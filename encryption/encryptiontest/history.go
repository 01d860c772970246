package encryptiontest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// marksOf pages through the history.
func marksOf(ctx context.Context, tx keystore.Tx) ([]keystore.MarkRow, error) {
	var out []keystore.MarkRow
	page := keystore.Page{Kind: keystore.KindMark, Limit: 3}
	for {
		rows, err := tx.Page(ctx, page)
		if err != nil || len(rows.Marks) == 0 {
			return out, err
		}
		out, page.After = append(out, rows.Marks...), rows.After(keystore.KindMark)
	}
}

func historyOf(t *testing.T, s keystore.Store) []keystore.MarkRow {
	t.Helper()
	var out []keystore.MarkRow
	must(t, s.Snapshot(t.Context(), func(tx keystore.Tx) (err error) {
		out, err = marksOf(t.Context(), tx)
		return err
	}))
	return out
}

// history: each Update leaves its sequence and a mark of its own, nothing else
// does.
func history(t *testing.T, s keystore.Store) {
	t.Helper()
	var want []string
	for i := range 8 {
		var inside keystore.State
		state, err := s.Update(t.Context(), func(tx keystore.Tx) (err error) {
			if inside, err = tx.State(t.Context()); err != nil {
				return err
			}
			return tx.Write(t.Context(), keystore.Change{Put: newOwner(fmt.Sprint(i), "x")})
		})
		must(t, err)
		if state.Mark != inside.Mark || state.Sequence != inside.Sequence {
			t.Errorf("an Update saw the mark %q and answered %q", inside.Mark, state.Mark)
		}
		outside, err := s.State(t.Context())
		must(t, err)
		if outside.Mark != state.Mark {
			t.Errorf("the state has the mark %q after an Update that answered %q", outside.Mark, state.Mark)
		}
		want = append(want, fmt.Sprint(state.Sequence, " ", state.Mark))
		must(t, create(t.Context(), s, newOwner(fmt.Sprint("created ", i), "x")))
		_, err = s.Update(t.Context(), func(keystore.Tx) error { return nil })
		must(t, err)
		if _, err = s.Update(t.Context(), func(keystore.Tx) error { return errors.New("boom") }); err == nil {
			t.Error("Update answered nil although its func failed")
		}
	}
	var got []string
	seen := map[string]bool{}
	for _, row := range historyOf(t, s) {
		got = append(got, fmt.Sprint(row.Sequence, " ", row.Mark))
		if seen[row.Mark] || len(row.Mark) != 22 || row.Position {
			t.Errorf("mark %+v: each is 16 random bytes in base64url, and none is a position by itself", row)
		}
		seen[row.Mark] = true
	}
	if !slices.Equal(got, want) {
		t.Errorf("the history is\n%q\nwant\n%q\n(one for each Update that wrote, none for creations, failures and updates that wrote nothing)", got, want)
	}
}

// namedMark: a mark is put again as a position, and an old one is removed.
func namedMark(t *testing.T, s keystore.Store) {
	t.Helper()
	first := write(t, s, keystore.Change{Put: newOwner("p", "x")})
	state, err := s.Update(t.Context(), func(tx keystore.Tx) error {
		now, err := tx.State(t.Context())
		if err != nil {
			return err
		}
		return tx.Write(t.Context(), keystore.Change{
			Remove: keystore.Rows{Marks: []keystore.MarkRow{{Sequence: first.Sequence}}},
			Put:    keystore.Rows{Marks: []keystore.MarkRow{{Sequence: now.Sequence, Mark: now.Mark, Created: keyVersion().Created, Position: true}}},
		})
	})
	must(t, err)
	rows := historyOf(t, s)
	if len(rows) != 1 || rows[0] != (keystore.MarkRow{Sequence: state.Sequence, Mark: state.Mark, Created: keyVersion().Created, Position: true}) {
		t.Errorf("the history is %+v; it must hold the position and no longer the mark that was removed", rows)
	}
}

// restoredHistory: a store that takes over the sequence of another one has that
// one's history and mark, and nothing of the Update that brought them.
func restoredHistory(t *testing.T, s keystore.Store) {
	t.Helper()
	made := keyVersion().Created
	marks := []keystore.MarkRow{{Sequence: 38, Mark: "AAAAAAAAAAAAAAAAAAAAAA", Created: made, Position: true}, {Sequence: 40, Mark: "BBBBBBBBBBBBBBBBBBBBBA", Created: made}}
	state, err := s.Update(t.Context(), func(tx keystore.Tx) error {
		if err := tx.Write(t.Context(), keystore.Change{Put: keystore.Rows{Marks: marks}}); err != nil {
			return err
		}
		return tx.Write(t.Context(), keystore.Change{Narrows: true, Store: &keystore.State{Store: "id", Epoch: 1, Sequence: 40, KEK: "k"}})
	})
	must(t, err)
	if state.Sequence != 40 || state.Mark != marks[1].Mark {
		t.Errorf("a restored state row gave %+v; sequence 40 has the mark %q", state, marks[1].Mark)
	}
	if rows := historyOf(t, s); !slices.Equal(rows, marks) {
		t.Errorf("a restored history is %+v, want %+v", rows, marks)
	}
	next := write(t, s, keystore.Change{Put: newOwner("p", "x")})
	if rows := historyOf(t, s); next.Sequence != 41 || len(rows) != 3 || rows[2].Mark != next.Mark {
		t.Errorf("the Update after a restore gave %+v and the history %+v; it must go on from 40", next, rows)
	}
}

// snapshotsHoldWhatMarksPromise takes marks and snapshots while keys are
// created: a snapshot with a mark has every key that was created before it.
func snapshotsHoldWhatMarksPromise(t *testing.T, s keystore.Store) {
	t.Helper()
	prepared(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const makers, each, updates = 4, 40, 20
	var mu sync.Mutex
	created := map[string]bool{}
	made := make(chan bool, makers*each)     // a value for each creation, so that marks come among them
	promised := map[string]map[string]bool{} // by mark
	var work, copies sync.WaitGroup
	for maker := range makers {
		work.Go(func() {
			for n := range each {
				owner := fmt.Sprintf("p-%d-%d", maker, n)
				if err := create(ctx, s, newOwner(owner, "x")); err != nil {
					t.Errorf("create: %v", err)
					return
				}
				mu.Lock()
				created[owner] = true
				mu.Unlock()
				made <- true
			}
		})
	}
	work.Go(func() {
		for range updates {
			for range makers * each / updates {
				select {
				case <-made:
				case <-ctx.Done():
					t.Error("the keys were not made in time")
					return
				}
			}
			mu.Lock()
			before := maps.Clone(created)
			mu.Unlock()
			state, err := s.Update(ctx, func(tx keystore.Tx) error {
				now, err := tx.State(ctx)
				if err != nil {
					return err
				}
				return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Marks: []keystore.MarkRow{{Sequence: now.Sequence, Mark: now.Mark, Created: keyVersion().Created, Position: true}}}})
			})
			if err != nil {
				t.Errorf("update: %v", err)
				return
			}
			mu.Lock()
			promised[state.Mark] = before
			mu.Unlock()
		}
	})
	done := make(chan struct{})
	var seen []view
	copies.Go(func() {
		for last := false; !last; {
			select {
			case <-done:
				last = true
			default:
			}
			v, err := look(ctx, s)
			if err != nil {
				t.Errorf("snapshot: %v", err)
				return
			}
			seen = append(seen, v)
		}
	})
	work.Wait()
	close(done)
	copies.Wait()
	checks := 0
	for _, v := range seen {
		for _, mark := range v.marks {
			for owner := range promised[mark] {
				checks++
				if !v.keys[owner] {
					t.Fatalf("a snapshot has a mark, and lacks a key that was created before that mark")
				}
			}
		}
	}
	if checks == 0 {
		t.Error("no snapshot holds one of the marks")
	}
}

type view struct {
	marks []string
	keys  map[string]bool
}

// look reads as a key copy does: keys first, marks last.
func look(ctx context.Context, s keystore.Store) (view, error) {
	out := view{keys: map[string]bool{}}
	err := s.Snapshot(ctx, func(tx keystore.Tx) error {
		page := keystore.Page{Kind: keystore.KindKey, Limit: 50}
		for {
			rows, err := tx.Page(ctx, page)
			if err != nil {
				return err
			}
			if len(rows.Keys) == 0 {
				break
			}
			for _, row := range rows.Keys {
				out.keys[row.Owner] = true
			}
			page.After = rows.After(keystore.KindKey)
		}
		marks, err := marksOf(ctx, tx)
		for _, row := range marks {
			out.marks = append(out.marks, row.Mark)
		}
		return err
	})
	return out, err
}

package audittest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

func commits(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	e := about(t, "p1", 1)
	plain := e
	plain.ID, plain.Object, plain.Changes = about(t, "", 0).ID, audit.Ref("deal", "17"), nil
	must(t, j.record(e, plain))
	if r := j.sequence(); r.Sequenced != 2 {
		t.Errorf("%d events were sequenced, 2 were committed", r.Sequenced)
	}
	j.once(e, plain)
	proof, err := j.trail.Proof(t.Context(), e.ID)
	must(t, err)
	leaf, err := j.trail.Leaf(t.Context(), e.ID)
	must(t, err)
	if _, err := auditlog.Verify(auditlog.Trust{Key: j.config.Verifier}, leaf, proof); err != nil {
		t.Errorf("the proof of a committed event does not verify: %v", err)
	}
	past := j.past(audit.PersonRef("contact", "p1"), audit.Page{})
	if len(past) != 1 || len(past[0].Changes) != 1 || past[0].Changes[0].New != "new-1" {
		t.Errorf("the history of p1 is %+v; it must be the one event with its value", past)
	}
	if status, err := j.trail.Progress(t.Context()); err != nil || status.Queued != 0 || status.Size != status.Published {
		t.Errorf("Status says %+v, %v after everything was published", status, err)
	}
}

func rollsBack(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	e, enough := about(t, "p1", 1), errors.New("the sale was off")
	must(t, j.prepare(e))
	if err := j.attempt(nil, func(tx *sql.Tx) error {
		must(t, only(j.trail.Record(t.Context(), tx, e)))
		return enough
	}); !errors.Is(err, enough) {
		t.Fatalf("the transaction ended with %v", err)
	}
	for _, table := range []string{"events", "entries", "persons", "openings"} {
		if n := j.rows("crmguard_audit_" + table); n != 0 {
			t.Errorf("%d rows are left in %s after a rollback", n, table)
		}
	}
	if r := j.sequence(); r.Sequenced != 0 {
		t.Error("an event was sequenced whose transaction was rolled back")
	}
	must(t, j.record(e)) // its id is free
	j.sequence()
	j.once(e)
}

func retries(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	e := about(t, "p1", 1)
	must(t, j.record(e, e)) // also within one transaction
	must(t, j.record(e))
	other, foreign := e, e
	other.Reason = "another"
	foreign.Tenant = "other"
	for _, refused := range []audit.Event{other, foreign} {
		if err := j.record(refused); !errors.Is(err, audit.ErrConflict) {
			t.Errorf("another event under the id of a recorded one gave %v; it must be ErrConflict", err)
		}
	}
	j.sequence()
	if n := j.rows("crmguard_audit_openings"); n != 1 {
		t.Errorf("%d openings after retries of one event with one", n)
	}
	must(t, j.record(e))
	j.sequence()
	j.once(e)
}

// large records values that together are longer than a statement should be.
func large(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	e := about(t, "p1", 1)
	e.Changes = nil
	for n := range 8 {
		person := fmt.Sprintf("p%d", n)
		e.Changes = append(e.Changes, audit.Change{Path: "email", Who: person, Old: audit.Absent{}, New: strings.Repeat(person, 1<<18)})
	}
	must(t, j.record(e))
	j.sequence()
	j.once(e)
	past := j.past(audit.About("p7"), audit.Page{})
	if len(past) != 1 || len(past[0].Changes) != len(e.Changes) {
		t.Fatalf("an event about %d persons came back as %d", len(e.Changes), len(past))
	}
	for _, c := range past[0].Changes {
		if c.New != strings.Repeat(c.Who, 1<<18) {
			t.Errorf("a large value of %s came back as another one", c.Who)
		}
	}
}

// retriesBeside records one event in two transactions at once: one writes it,
// the other finds it.
func retriesBeside(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	var events []audit.Event
	var wg sync.WaitGroup
	fail := make(chan error, 64)
	for n := range 8 {
		e := about(t, fmt.Sprintf("p%d", n), n)
		events = append(events, e)
		for range 4 {
			wg.Go(func() { fail <- j.record(e) })
		}
	}
	wg.Wait()
	close(fail)
	for err := range fail {
		must(t, err)
	}
	j.sequence()
	j.once(events...)
}

// olderView records in transactions that began before another one committed
// the same event, or the first about the same person.
func olderView(t *testing.T, open func(t *testing.T) audit.Store) {
	for _, level := range []sql.IsolationLevel{sql.LevelDefault, sql.LevelReadCommitted, sql.LevelRepeatableRead} {
		j := newJudged(t, open(t))
		if j.oneWriter(t.Context()) {
			level = sql.LevelDefault // its only one
		}
		first, second := about(t, "p1", 1), about(t, "p1", 2)
		must(t, j.prepare(first, second))
		err := j.attempt(&sql.TxOptions{Isolation: level}, func(tx *sql.Tx) error {
			var n int
			if err := tx.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM crmguard_audit_events`).Scan(&n); err != nil {
				return err
			}
			must(t, j.record(first))
			if err := only(j.trail.Record(t.Context(), tx, second)); err != nil {
				return err
			}
			return only(j.trail.Record(t.Context(), tx, first))
		})
		if errors.Is(err, audit.ErrConflict) {
			t.Errorf("%s: the same event gave %v; it is a retry, whichever transaction was first", level, err)
		}
		must(t, j.record(second, first)) // where the database ended it, the application comes again
		j.sequence()
		j.once(first, second)
		if n := len(j.past(audit.About("p1"), audit.Page{})); n != 2 {
			t.Errorf("%s: the history of p1 has %d events of 2: the person has two surrogates", level, n)
		}
	}
}

// commitsLate commits the transaction that recorded first last.
func commitsLate(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	if j.oneWriter(t.Context()) {
		return // a transaction that recorded keeps all others from it
	}
	early, late := about(t, "p1", 1), about(t, "p2", 2)
	must(t, j.prepare(early, late))
	must(t, j.attempt(nil, func(tx *sql.Tx) error {
		must(t, only(j.trail.Record(t.Context(), tx, early)))
		must(t, j.record(late))
		j.sequence()
		return nil
	}))
	if r := j.sequence(); r.Sequenced != 1 {
		t.Errorf("%d events were sequenced after a late commit; it was lost behind what was committed before it", r.Sequenced)
	}
	j.once(early, late)
}

func writersAndSequencers(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	const writers, each = 16, 6
	var (
		mu          sync.Mutex
		committed   []audit.Event
		checkpoints = make(map[string]bool)
		done        atomic.Int32
		wg          sync.WaitGroup
	)
	fail := make(chan error, writers+2)
	for w := range writers {
		wg.Go(func() {
			defer done.Add(1)
			for i := range each {
				e := about(t, fmt.Sprintf("p%d", (w+i)%5), i)
				if err := j.record(e); err != nil {
					fail <- fmt.Errorf("a writer: %w", err)
					return
				}
				mu.Lock()
				committed = append(committed, e)
				mu.Unlock()
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for last := false; ; {
				if _, err := j.trail.RunOnce(t.Context()); err != nil {
					fail <- fmt.Errorf("a sequencer: %w", err)
					return
				}
				if signed, err := j.trail.Checkpoint(t.Context()); err == nil {
					mu.Lock()
					checkpoints[string(signed)] = true
					mu.Unlock()
				}
				if last {
					return
				}
				last = done.Load() == writers
			}
		})
	}
	wg.Wait()
	close(fail)
	for err := range fail {
		t.Error(err)
	}
	if len(committed) != writers*each {
		t.Errorf("%d of %d events were committed", len(committed), writers*each)
	}
	j.once(committed...)
	for signed := range checkpoints {
		r, err := auditlog.VerifyLog(t.Context(), j.sink.FS(), auditlog.Trust{Key: j.config.Verifier, Kept: []byte(signed)})
		must(t, err)
		if r.Verdict != auditlog.OK {
			t.Errorf("VerifyLog against a checkpoint that was published in between says %s: %+v; all are of one history", r.Verdict, r.Faults)
		}
	}
}

// spellings are ids that other orders of text take for each other, or put
// elsewhere.
func spellings() []string {
	return []string{"b", "A", "a", "B", "ä", "a\u0308", "Ä", "_x", "Z", "1-2", "12", "012", "p1", "p1 ", "P1", "ß", "ss", "İ", "i"}
}

func idsAreBytes(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	var events []audit.Event
	for n, id := range spellings() {
		person, deal := about(t, id, n), about(t, id, n)
		deal.Object = audit.Ref("deal", id)
		if id == "p1 " { // an object id shows no white space
			deal.Object = audit.Ref("deal", "p1_")
		}
		deal.Changes = nil
		must(t, j.record(person, deal))
		events = append(events, person, deal)
	}
	j.sequence()
	j.once(events...)
	for n, id := range spellings() {
		past := j.past(audit.About(id), audit.Page{})
		if len(past) != 1 || past[0].Leaf.ID != events[2*n].ID || past[0].Changes[0].Who != id {
			t.Errorf("person %q has %d events; the one of its own must be all: ids are bytes", id, len(past))
		}
		past = j.past(events[2*n+1].Object, audit.Page{})
		if len(past) != 1 || past[0].Leaf.ID != events[2*n+1].ID {
			t.Errorf("deal %q has %d events; the one of its own must be all: ids are bytes", id, len(past))
		}
	}
	must(t, j.trail.Erase(t.Context(), "main", "A"))
	j.sequence()
	if past := j.past(audit.Ref("deal", "A"), audit.Page{}); len(past) != 1 {
		t.Errorf("deal %q has %d events after the erasure of the person of that id, it had 1: the two have nothing to do with each other", "A", len(past))
	}
}

func erasesOne(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	var events []audit.Event
	for n, id := range spellings() {
		events = append(events, about(t, id, n))
	}
	shared := about(t, "a", 100)
	shared.Persons = []string{"a", "A"}
	events = append(events, shared)
	must(t, j.record(events...))
	must(t, j.trail.Erase(t.Context(), "main", "a"))
	must(t, j.trail.Erase(t.Context(), "main", "p1"))
	must(t, j.trail.Erase(t.Context(), "main", "p1")) // finds nothing
	j.sequence()
	j.once(events...)
	for n, id := range spellings() {
		past := j.past(audit.About(id), audit.Page{})
		switch {
		case id == "a" || id == "p1":
			if len(past) != 0 {
				t.Errorf("person %q was erased and has a history of %d", id, len(past))
			}
		case len(past) == 0 || past[len(past)-1].Changes[0].New != fmt.Sprintf("new-%d", n):
			t.Errorf("person %q lost the history when another one was erased", id)
		}
	}
	if err := j.record(shared); !errors.Is(err, audit.ErrConflict) {
		t.Errorf("a retry of an event about an erased person gave %v; what it would be compared by is gone", err)
	}
	if got := j.sound(nil).Openings[audit.OpeningErased]; got != 3 {
		t.Errorf("%d openings are erased, 3 were about the two persons", got)
	}
}

func pages(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	var want []string
	for n := range 11 {
		e := about(t, "p1", n)
		must(t, j.record(e, about(t, "p2", n)))
		want = append([]string{e.ID}, want...)
	}
	for _, of := range []audit.Object{audit.About("p1"), audit.PersonRef("contact", "p1")} {
		var got []string
		page := audit.Page{Size: 3}
		for {
			past := j.past(of, page)
			for _, e := range past {
				got = append(got, e.Leaf.ID)
			}
			if len(past) < page.Size {
				break
			}
			page.Before = past[len(past)-1].Cursor
			if len(got) == 6 { // what comes meanwhile is newer than every page to come
				must(t, j.record(about(t, "p1", 99)))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pages of 3 gave %d events, %v; each once and newest first are %v", len(got), got, want)
		}
		want = append([]string{j.past(of, audit.Page{Size: 1})[0].Leaf.ID}, want...)
	}
}

func reseals(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	const persons = 510 // more than a page
	var events []audit.Event
	for n := range persons {
		events = append(events, about(t, fmt.Sprintf("p%d", n), n), about(t, fmt.Sprintf("p%d", n), n))
	}
	const heads = persons + 1 // of what is about nobody, too
	must(t, j.record(events...))
	before := j.keys.Rotate()
	count, _, err := j.trail.OpeningHolders(t.Context(), "main", before)
	must(t, err)
	if count != heads {
		t.Errorf("%d heads are counted under their key version, of %d", count, heads)
	}
	report, err := j.trail.Reseal(t.Context(), func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
		plain, err := j.keys.Open(ctx, tenant, person, sealed, ad)
		if err != nil {
			return nil, err
		}
		return j.keys.Seal(ctx, tenant, person, plain, ad)
	})
	must(t, err)
	if report.Seen != heads || report.Resealed != heads {
		t.Errorf("resealing says %+v; there were %d heads, one a person, each once", report, heads)
	}
	if count, _, err = j.trail.OpeningHolders(t.Context(), "main", before); err != nil || count != 0 {
		t.Errorf("%d heads are left under the old key version (%v)", count, err)
	}
	j.sequence()
	j.once(events...)
}

// catchesUp puts a fresh store under a published log.
func catchesUp(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	first, second, third := about(t, "p1", 1), about(t, "p2", 2), about(t, "p1", 3)
	must(t, j.record(first, second))
	j.sequence()
	kept, err := j.trail.Checkpoint(t.Context())
	must(t, err)

	j.reopen(open(t))
	var behind *audit.BehindError
	if _, err := j.trail.RunOnce(t.Context()); !errors.As(err, &behind) {
		t.Fatalf("an empty store under a published log gave %v; it must be a BehindError", err)
	}
	must(t, j.record(third))
	for range 2 { // the second time there is nothing to do
		must(t, j.trail.CatchUp(t.Context()))
	}
	j.sequence()
	j.once(first, second, third)
	if report := j.sound(kept); report.Openings[audit.OpeningLost] != 2 {
		t.Errorf("openings after catching up are %v; the two of the lost database are lost", report.Openings)
	}
	leaf, err := j.trail.Leaf(t.Context(), first.ID)
	must(t, err)
	if !bytes.Contains(leaf, []byte(first.ID)) {
		t.Error("an entry that was read back is not in the store")
	}
}

func otherLog(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	other := &judged{t: t, config: j.config}
	other.config.Recoveries = 1
	signer, verifier, err := audit.GenerateKey(j.config.Name, 1)
	must(t, err)
	other.config.Verifier, other.config.Signer = verifier, signerOf(t, signer)
	if _, err := audit.Open(t.Context(), j.store, other.config); !errors.Is(err, audit.ErrOrigin) {
		t.Errorf("a store that holds a log was opened for another one: %v; it must be ErrOrigin", err)
	}
}

// losesLog takes the published files away: the database alone remembers that
// there were any.
func losesLog(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	must(t, j.record(about(t, "p1", 1)))
	j.sequence()
	j.sink.Set(nil)
	must(t, j.record(about(t, "p1", 2)))
	j.reopen(j.store)
	if _, err := j.trail.RunOnce(t.Context()); !errors.Is(err, audit.ErrLogLost) {
		t.Errorf("after the published files were lost a pass gave %v; it must be ErrLogLost, for a new log would hide the old one", err)
	}
}

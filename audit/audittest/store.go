package audittest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// RunStore is the judge of an [audit.Store]: it opens trails over what open
// returns, a fresh and empty store each time, and does a trail's whole work on
// it, with transactions of the store's own database. What it asks of the
// database: transactions that are there or not at all, text keys compared by
// bytes, and, on SQLite, a busy_timeout, without which writers that meet fail.
func RunStore(t *testing.T, open func(t *testing.T) audit.Store) {
	t.Helper()
	for _, rule := range []struct {
		name string
		run  func(t *testing.T, open func(t *testing.T) audit.Store)
	}{
		{"a commit is one entry", commits},
		{"a rollback leaves nothing", rollsBack},
		{"a retry changes nothing", retries},
		{"a retry beside the first call", retriesBeside},
		{"an older view of the database", olderView},
		{"a late commit", commitsLate},
		{"writers and sequencers", writersAndSequencers},
		{"ids are bytes", idsAreBytes},
		{"an erasure is of one person", erasesOne},
		{"large values", large},
		{"pages", pages},
		{"resealing", reseals},
		{"catching up", catchesUp},
		{"the log of another name", otherLog},
		{"a lost log is no new one", losesLog},
		{"what is lost is made anew", repairs},
	} {
		t.Run(rule.name, func(t *testing.T) { rule.run(t, open) })
	}
}

// judged is a trail over a store that is judged.
type judged struct {
	t      *testing.T
	store  audit.Store
	sink   *Sink
	keys   *Keys
	config audit.Config
	trail  *audit.Trail
}

func newJudged(t *testing.T, store audit.Store) *judged {
	t.Helper()
	j := &judged{t: t, store: store, sink: &Sink{}, keys: NewKeys()}
	signer, verifier, err := audit.GenerateKey("judge.example/audit", 0)
	must(t, err)
	j.config = audit.Config{
		Name: "judge.example/audit", Tenant: "main", Signer: signerOf(t, signer), Verifier: verifier, Sink: j.sink, Keys: j.keys,
		Fields: map[string][]string{"contact": {"email"}, "deal": {"email"}},
	}
	j.reopen(store)
	return j
}

func (j *judged) reopen(store audit.Store) {
	j.t.Helper()
	trail, err := audit.Open(j.t.Context(), store, j.config)
	must(j.t, err)
	j.store, j.trail = store, trail
}

func signerOf(t *testing.T, text string) note.Signer {
	t.Helper()
	signer, err := note.NewSigner(text)
	must(t, err)
	return signer
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// about is an event about a person, with an id of its own.
func about(t *testing.T, person string, n int) audit.Event {
	t.Helper()
	id, err := audit.NewID()
	must(t, err)
	return audit.Event{
		ID: id, Tenant: "main", Actor: "judge", Action: "contact.update", Object: audit.PersonRef("contact", person),
		Changes: audit.Diff(person, map[string]any{"email": fmt.Sprintf("old-%d", n)}, map[string]any{"email": fmt.Sprintf("new-%d", n)}),
	}
}

// attempt runs f in a transaction of the caller's and commits.
func (j *judged) attempt(options *sql.TxOptions, f func(tx *sql.Tx) error) error {
	ctx := j.t.Context()
	tx, err := j.store.DB().BeginTx(ctx, options)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// only leaves the error of a call that names its event, too.
func only(_ string, err error) error { return err }

// prepare is what comes before the transaction of a sale.
func (j *judged) prepare(events ...audit.Event) error {
	for _, e := range events {
		persons := append([]string{}, e.Persons...)
		for _, c := range e.Changes {
			if c.Who != "" {
				persons = append(persons, c.Who)
			}
		}
		if e.Object.Person {
			persons = append(persons, e.Object.ID)
		}
		if err := j.trail.Prepare(j.t.Context(), e.Tenant, persons...); err != nil && !errors.Is(err, audit.ErrInvalid) {
			return err
		}
	}
	return nil
}

// most is how often an application tries a transaction that the database ended
// in favour of another one.
const most = 100

// record does what applications do: the transaction again, with the same event,
// where the database ended it.
func (j *judged) record(events ...audit.Event) error {
	err := j.prepare(events...)
	if err != nil {
		return err
	}
	for range most {
		err = j.attempt(nil, func(tx *sql.Tx) error {
			for _, e := range events {
				if err := only(j.trail.Record(j.t.Context(), tx, e)); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil || errors.Is(err, audit.ErrConflict) || errors.Is(err, audit.ErrInvalid) || j.t.Context().Err() != nil {
			return err
		}
	}
	return err
}

func (j *judged) sequence() audit.Result {
	j.t.Helper()
	r, err := j.trail.RunOnce(j.t.Context())
	must(j.t, err)
	if len(r.Refused) > 0 {
		j.t.Errorf("the sequencer refused %+v; a queued row must come back as it was written", r.Refused)
	}
	return r
}

// once checks that the published log is sound and holds each of these events
// once, and nothing else of the application's.
func (j *judged) once(events ...audit.Event) {
	j.t.Helper()
	want := make(map[string]int)
	for _, e := range events {
		want[e.ID]++
	}
	for e, err := range auditlog.Entries(j.t.Context(), j.sink.FS()) {
		must(j.t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		must(j.t, err)
		if leaf.Kind == auditlog.KindEvent {
			want[leaf.ID]--
		}
	}
	for id, n := range want {
		if n != 0 {
			j.t.Errorf("event %s is in the log %d times more or less than it was committed", id, -n)
		}
	}
	j.sound(nil)
}

// sound checks log and store against each other and the kept checkpoint.
func (j *judged) sound(kept []byte) audit.StoreReport {
	j.t.Helper()
	report, err := j.trail.VerifyStore(j.t.Context(), kept)
	must(j.t, err)
	want := auditlog.OK
	if kept == nil {
		want = auditlog.Unanchored
	}
	if report.Verdict != want {
		j.t.Errorf("VerifyStore says %s and not %s: %+v", report.Verdict, want, report.Faults)
	}
	return report
}

func (j *judged) past(of audit.Object, page audit.Page) []audit.Entry {
	j.t.Helper()
	var out []audit.Entry
	for e, err := range j.trail.History(j.t.Context(), "main", of, page) {
		must(j.t, err)
		out = append(out, e)
	}
	return out
}

// rows counts what is in the tables.
func (j *judged) rows(table string) (n int) {
	j.t.Helper()
	must(j.t, j.store.DB().QueryRowContext(j.t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n))
	return n
}

// oneWriter says that the database lets one transaction write at a time, so
// that a test cannot hold two of them open.
func (j *judged) oneWriter(ctx context.Context) bool {
	var version string
	return j.store.DB().QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&version) == nil
}

package privacy

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Refusals of a replay.
var (
	ErrReplayLimit = errors.New("privacy: the replay would erase more than max(10, 1 %) of the people: look at what it found, then allow it (Config.AllowReplay)")
	ErrReplayLeft  = errors.New("privacy: the replay left something: the database stays closed")
	ErrNoPeople    = errors.New("privacy: no store lists its people, so a replay cannot find anyone")
)

// Replayed is what a replay found and did.
type Replayed struct {
	Entries int              // erasures that the ledger knows, voided ones left out
	People  int              // persons in the stores
	Back    int              // persons of whom something has come back
	Erased  int              // persons erased again
	Counts  []Count          // what has come back, and is erased again
	Undated []datastore.Row  // rows of erased persons of which nobody knows when they were created: left alone, and the gate is shut until Decide
	Newer   []datastore.Row  // rows of erased persons created afterwards: left alone
	Unread  int              // rows of which nobody can say whose they are, left alone: see datastore.ErrUnreadable, and mend them
	Shared  int              // persons known by something that somebody else is known by, too: rows that only it leads to are left alone
	Sealed  int              // persons known by something sealed whose key was destroyed: rows that only it leads to are not found
	Held    int              // persons under a hold: left alone
	Open    int              // intents that were never done: Execute them again
	Plans   int              // plans in the database that were made to forget their person
	Numbers map[string]int64 // counters that were behind, and were moved past these numbers
}

// Replay carries out again, in a restored database, every erasure that the
// ledger knows: of the same person ids, and of records created before the
// erasure only. It refuses when the ledger is behind a head kept elsewhere,
// moves the counters of numbered ids on before anything else, reads everything
// back, and only then raises the high-water mark. It may be called again at any
// time; where nothing came back it does nothing. After one that failed the gate
// stays shut until one has got through: a store that was down is asked again
// about everyone whom the others have erased, by whatever process, also where
// the database was restored once more.
//
// Called now and then ([Desk.Run]), it finds tables that were brought back beside
// the rest, and finishes what an obligation kept until its end.
//
// With ErrReplayLimit, ErrUndecided and errors of stores comes what was found.
func (d *Desk) Replay(ctx context.Context) (Replayed, error) {
	done, err := d.turn(ctx)
	if err != nil {
		return Replayed{}, err
	}
	defer done()
	r, err := d.readForReplay(ctx)
	if err != nil {
		return Replayed{}, err
	}
	if err := d.advance(ctx, r.ledger, r.report.Numbers); err != nil {
		return r.report, err
	}
	if err := r.search(ctx); err != nil {
		return r.report, err
	}
	if err := r.limit(ctx); err != nil {
		return r.report, err
	}
	if err := r.erase(ctx); err != nil {
		return r.report, err
	}
	if err := r.finish(ctx); err != nil {
		return r.report, err
	}
	d.observe(ctx, "privacy.replayed", float64(r.report.Erased))
	if len(r.report.Undated) > 0 {
		return r.report, ErrUndecided
	}
	return r.report, nil
}

// ReplayPlan is what Replay would do now: it changes nothing. Erased and Plans
// are zero. A store that does not answer is an error, and of what the others have
// found nothing is missing.
func (d *Desk) ReplayPlan(ctx context.Context) (Replayed, error) {
	r, err := d.readForReplay(ctx)
	if err != nil {
		return Replayed{}, err
	}
	err = r.search(ctx)
	return r.report, errors.Join(append(slices.Collect(maps.Values(r.failed)), err)...)
}

// replay carries one Replay from step to step.
type replay struct {
	d       *Desk
	ledger  *erasurelog.State
	now     time.Time
	targets []*target
	known   map[datastore.Person]*target // looked up already; nil is nobody of the ledger
	held    map[datastore.Person]bool    // passed over
	notes   unfinishedReplays            // of replays before, and of this one
	plans   []string                     // that have a note
	failed  map[string]error             // stores that are left out of the rest
	report  Replayed
}

// target is one person of the ledger found in the stores, or noted before.
type target struct {
	person     datastore.Person
	of         *target             // into whom this person was merged
	at         time.Time           // of the newest erasure
	refs       map[string]bool     // rows that its intents name
	listed     map[string]bool     // stores that list the person
	again      bool                // an earlier replay has begun, and a store was not done; or a store lists the person and finds nothing
	identities map[string][]string // by which the stores find the person besides
	before     []datastore.Row     // found by that one
	rows       []datastore.Row     // to be erased
	undated    []datastore.Row
	erase      map[tableKey]bool // rows that the intents or decisions say are older
}

type tableKey struct{ table, key string }

func (d *Desk) readForReplay(ctx context.Context) (*replay, error) {
	now := d.now() // what is lifted from here on is for the next one
	m, _, err := d.loadMark(ctx)
	if err != nil && !errors.Is(err, ErrMarkForged) {
		return nil, err
	}
	if err != nil {
		m = mark{} // all is carried out again
	}
	s, err := d.cfg.Ledger.Append(ctx, m.kept(), nothing)
	if err != nil {
		return nil, err
	}
	r := &replay{d: d, ledger: s, now: now, known: map[datastore.Person]*target{}, held: map[datastore.Person]bool{}, failed: map[string]error{}}
	for e := range s.Erasures() {
		r.report.Entries++
		if e.Status != erasurelog.Finished {
			r.report.Open++
		}
	}
	r.report.Numbers, err = d.numbersBehind(ctx, s)
	return r, err
}

// turn lets one replay of this process run at a time.
func (d *Desk) turn(ctx context.Context) (done func(), err error) {
	select {
	case d.replaying <- struct{}{}:
		return func() { <-d.replaying }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *replay) limit(ctx context.Context) error {
	erase := 0
	for _, t := range r.targets {
		if r.back(t) {
			erase++
		}
	}
	if erase <= max(10, r.report.People/100) {
		return nil
	}
	if r.d.cfg.AllowReplay == nil {
		return ErrReplayLimit
	}
	return r.d.cfg.AllowReplay(ctx, erase, r.report.People)
}

// back reports whether something of the person may have come back.
func (r *replay) back(t *target) bool { return len(t.rows) > 0 || t.again || r.blind() }

// blind reports whether a store erases what nobody can count: then everyone
// who is matched counts.
func (r *replay) blind() bool {
	for _, store := range r.d.stores() {
		if f, is := datastore.AsFunc(store); is && f.Remaining == nil {
			return true
		}
	}
	return false
}

// finish makes restored plans forget whom the ledger has erased, raises the
// mark, and forgets the notes.
func (r *replay) finish(ctx context.Context) error {
	plans, orphans, err := r.forgotten(ctx)
	if err != nil {
		return err
	}
	undecided := r.undecided()
	if _, err := r.d.noteReplay(ctx, append(undecided, r.postponed()...)); err != nil {
		return err
	}
	h := r.ledger.Head()
	err = r.d.recorded(ctx, r.tenants(), func(tx *sql.Tx) error {
		locked, err := r.d.lockMark(ctx, tx)
		if err != nil {
			return err
		}
		for id, state := range plans {
			err := r.d.scrub(ctx, tx, id, state)
			if err != nil && !errors.Is(err, ErrPlanForged) { // which nobody can execute
				return err
			}
		}
		if err := r.d.raiseAll(ctx, tx, locked, h, r.now, len(undecided) == 0); err != nil {
			return err
		}
		for _, tenant := range r.tenants() {
			if err := r.d.recordHead(ctx, tx, h, tenant, "privacy.replay"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.report.Plans = len(plans)
	r.d.flush(ctx)
	return errors.Join(r.d.cfg.Ledger.Forget(ctx, r.notes.names()...), r.d.forget(ctx, slices.AppendSeq(orphans, maps.Keys(plans))...))
}

// flush lets the database truncate what still shows a plan's person id (a
// write-ahead log). Where readers are in the way, the next one does it.
func (d *Desk) flush(ctx context.Context) {
	if f, ok := d.database.(datastore.Flusher); ok && tell(ctx, d, d.database.Name(), "flush", aboutReplay, f.Flush) != nil {
		d.observe(ctx, "privacy.unflushed", 1, slog.String("store", d.database.Name()))
	}
}

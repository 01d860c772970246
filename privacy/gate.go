package privacy

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Refusals of the boot gate.
var (
	// ErrBehind says that the ledger knows erasures that have not been carried out
	// in this database: it was restored, by whatever tool, or an erasure has begun
	// that not every store has answered, or is Partial. Remedy: call Replay, or Execute what was begun.
	ErrBehind = errors.New("privacy: database is behind the erasure ledger")
	// ErrUnderWay comes with ErrBehind where that is all there is to it: what this
	// database has not seen the end of was begun here, and the database has erased.
	// Remedy: none while it is young (GateError.Since), afterwards Execute what it names.
	ErrUnderWay = errors.New("privacy: an erasure has begun here, and not every other store has answered")
	// ErrUndecided says that rows of erased persons came back of which nobody
	// knows whether they are older than the erasure. Remedy: Decide about each of
	// Replayed.Undated, then Replay.
	ErrUndecided = errors.New("privacy: rows of erased persons came back without a creation time: decide about each, then call Replay")
	// ErrNumbers says that the database would give out numbers again that erased
	// persons had. Remedy: Replay moves the sequences on.
	ErrNumbers = errors.New("privacy: a sequence of the database is behind the highest number that was given out: keep writers out and call Replay")
)

// GateError carries both positions of a refusal to serve.
type GateError struct {
	Mark      int64 // entries that the database has seen
	Head      int64 // entries that the ledger has
	Pending   int   // persons with whom a replay that failed is not done
	Undecided int   // rows that wait for Decide
	Err       error // ErrBehind or ErrUndecided

	UnderWay []string  // with ErrUnderWay: the plans that this database has begun, has erased, and waits for
	Since    time.Time // of their oldest entry in the ledger that waits
}

// Error names the remedy.
func (e *GateError) Error() string {
	switch {
	case e.Pending > 0:
		return fmt.Sprintf("%v: a replay did not get through every store; remedy: keep readers out, mend the store and call Replay again", e.Err)
	case e.Undecided > 0:
		return fmt.Sprintf("%v (%d rows)", e.Err, e.Undecided)
	case len(e.UnderWay) > 0:
		return fmt.Sprintf("%v: %v, since %s; remedy: none while that is not long ago, then Execute it", e.Err, ErrUnderWay, e.Since.Format(time.RFC3339))
	}
	return fmt.Sprintf("%v: the database has seen %d of %d entries; remedy: keep readers out and call Replay, or Execute what was begun here", e.Err, e.Mark, e.Head)
}

// Unwrap returns the sentinels.
func (e *GateError) Unwrap() []error {
	if len(e.UnderWay) > 0 {
		return []error{e.Err, ErrUnderWay}
	}
	return []error{e.Err}
}

// Gate is what the boot gate found when it let the application serve.
type Gate struct {
	Entries    int64     // entries of the ledger that this database has seen
	Unanchored bool      // no head kept elsewhere agreed: a roll-back of database and ledger together would go unnoticed
	Warning    string    // empty, or why it opened although it could not look, or was told not to: show it to somebody
	Until      time.Time // with a Warning: the gate refuses from then on
	Opening    *Opening  // the order by which alone it is open
}

// Ready is the boot gate: nil means that every erasure of the ledger has been
// carried out in this database and the other stores. It refuses with ErrBehind
// after a restore, and with a ledger error when the ledger itself is wrong.
// [Desk.Gate] says what a nil leaves open, such as a ledger that has not been
// readable for less than Config.Grace: show its Warning to somebody.
//
// It is asked before serving, and by a health check at any time. That one goes on
// answering that all is well where the error is ErrUnderWay, too, and
// [GateError].Since is not longer ago than an erasure takes: the database has nothing
// of the person any more, and was not restored. Whoever starts waits.
func (d *Desk) Ready(ctx context.Context) error {
	_, err := d.Gate(ctx)
	return err
}

// Gate is Ready with its findings. It is asked at every start, and may be asked
// at any time: of what the ledger has since the last look it reads the tail.
func (d *Desk) Gate(ctx context.Context) (Gate, error) {
	if err := d.db.Primary(ctx, d.db); err != nil { // it may have seen what is gone, and open the gate for it
		return Gate{}, mute("asking the database", err)
	}
	gate, refused := d.look(ctx)
	if refused == nil {
		return gate, nil
	}
	opening, err := d.opened(ctx, refused)
	if err != nil || opening == nil {
		return Gate{}, errors.Join(refused, err)
	}
	d.observe(ctx, "privacy.opened_anyway", 1)
	return Gate{Unanchored: true, Warning: refused.Error(), Until: opening.Until, Opening: opening}, nil
}

// look is the gate without orders from anybody.
func (d *Desk) look(ctx context.Context) (Gate, error) {
	m, set, err := d.loadMark(ctx)
	if err != nil {
		return Gate{}, err
	}
	s, err := d.cfg.Ledger.Read(ctx, m.kept()...)
	_, silent := errors.AsType[*erasurelog.AnchorError](err) // it anchors nothing
	switch {
	case errors.Is(err, erasurelog.ErrUnreachable) && set:
		return d.unreachable(ctx, m, err)
	case err != nil && !silent:
		return Gate{}, err
	}
	err = d.carriedOut(ctx, m, s)
	if err != nil && s.Head().N > m.head.N {
		if m, err = d.settledMark(ctx); err == nil {
			err = d.carriedOut(ctx, m, s)
		}
	}
	if err != nil {
		return Gate{}, errors.Join(err, d.distrust(ctx))
	}
	now := d.now()
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		locked, err := d.lockMark(ctx, tx)
		if err != nil {
			return err
		}
		if err := d.replayedMeanwhile(ctx, locked, s); err != nil {
			return err
		}
		return d.raiseAll(ctx, tx, locked, s.Head(), time.Time{}, true)
	})
	if err != nil {
		return Gate{}, err
	}
	d.looked.set(fromMicros(now.UnixMicro()))
	return Gate{Entries: s.Head().N, Unanchored: silent || len(s.Anchors()) == 0}, nil
}

// replayedMeanwhile refuses where a replay has begun since the gate looked: one notes
// whom it is about before it takes the grace away, for which it waits for the mark.
func (d *Desk) replayedMeanwhile(ctx context.Context, locked mark, s *erasurelog.State) error {
	open, err := d.unfinished(ctx)
	if err == nil && open.pending() > 0 {
		err = &GateError{Mark: locked.head.N, Head: s.Head().N, Pending: open.pending(), Err: ErrBehind}
	}
	return err
}

// settledMark is the mark once nobody is about to raise it: an erasure whose
// intent stands in the ledger may be committing this moment.
func (d *Desk) settledMark(ctx context.Context) (m mark, err error) {
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		locked, err := d.lockMark(ctx, tx)
		if err != nil {
			return err
		}
		m, _, err = d.believed(ctx, locked)
		return err
	})
	return m, err
}

// carriedOut says what of the ledger this database lacks.
func (d *Desk) carriedOut(ctx context.Context, m mark, s *erasurelog.State) error {
	open, err := d.unfinished(ctx)
	if err != nil {
		return err
	}
	refusal := &GateError{Mark: m.head.N, Head: s.Head().N, Pending: open.pending(), Undecided: open.undecided(), Err: ErrBehind}
	behind := s.Head().N > m.head.N
	switch {
	case refusal.Pending > 0, behind && refusal.Undecided > 0:
		return refusal
	case refusal.Undecided > 0:
		refusal.Err = ErrUndecided
		return refusal
	}
	if behind {
		if refusal.UnderWay, refusal.Since, err = d.underWay(ctx, s, m); err != nil || len(refusal.UnderWay) == 0 {
			return cmp.Or(err, error(refusal))
		}
	}
	numbers, err := d.numbersBehind(ctx, s)
	switch {
	case err != nil:
		return err
	case len(numbers) > 0 && behind:
		refusal.UnderWay = nil
		return refusal
	case len(numbers) > 0:
		return ErrNumbers
	case behind:
		return refusal
	}
	return nil
}

// underWay names the plans that are all that this database lacks of the ledger: it has
// erased, and not every other store has answered. None where it lacks anything else, or
// a hold keeps one from its end.
func (d *Desk) underWay(ctx context.Context, s *erasurelog.State, m mark) (plans []string, since time.Time, err error) {
	for e := range s.After(m.head.N) {
		begun, settled, err := d.progress(ctx, d.db, s, e, "")
		switch {
		case err != nil || !begun && !settled:
			return nil, since, err
		case settled || slices.Contains(plans, e.Plan):
			continue
		}
		_, p, err := d.planned(ctx, e.Plan)
		if err != nil {
			return nil, since, err
		}
		if _, held, err := d.held(ctx, s, p.Tenant, p.persons()); err != nil || held {
			return nil, since, err
		}
		if plans = append(plans, e.Plan); since.IsZero() {
			since = e.At
		}
	}
	return plans, since, nil
}

// unreachable lets a database serve that shows that it was not restored, for the
// grace time after the ledger was last seen.
func (d *Desk) unreachable(ctx context.Context, m mark, cause error) (Gate, error) {
	anchors, _ := d.cfg.Ledger.Anchors(ctx) // one that does not answer shows nothing
	gate, err := d.grace(m, anchors, cause)
	if err == nil {
		d.observe(ctx, "privacy.ledger_unreachable", 1)
	}
	return gate, err
}

func (d *Desk) grace(m mark, anchors []erasurelog.Kept, cause error) (Gate, error) {
	if i := slices.IndexFunc(anchors, func(a erasurelog.Kept) bool { return a.Head.N > m.head.N }); i >= 0 {
		return Gate{}, errors.Join(&GateError{Mark: m.head.N, Head: anchors[i].Head.N, Err: ErrBehind}, cause)
	}
	if !unrestored(m, d.looked.get()) {
		return Gate{}, cause
	}
	until := m.seen.Add(d.cfg.grace())
	if now := d.now(); !now.Before(until) || now.Before(m.seen) {
		return Gate{}, cause
	}
	return Gate{Entries: m.head.N, Unanchored: true, Warning: cause.Error(), Until: until}, nil
}

package privacy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// ErrBehind says that the ledger knows erasures that have not been carried out
// in this database: it was restored, by whatever tool, or a process ended with
// an erasure begun or Partial. Remedy: call Replay, or Execute what was begun.
var ErrBehind = errors.New("privacy: database is behind the erasure ledger")

// GateError carries both positions of a refusal to serve.
type GateError struct {
	Mark    int64 // entries that the database has seen
	Head    int64 // entries that the ledger has
	Pending int   // persons with whom a replay that failed is not done
	Err     error
}

// Error names the remedy.
func (e *GateError) Error() string {
	if e.Pending > 0 {
		return fmt.Sprintf("%v: a replay did not get through every store; remedy: keep readers out, mend the store and call Replay again", e.Err)
	}
	return fmt.Sprintf("%v: the database has seen %d of %d entries; remedy: keep readers out and call Replay", e.Err, e.Mark, e.Head)
}

// Unwrap returns the sentinel.
func (e *GateError) Unwrap() error { return e.Err }

// Gate is what the boot gate found when it let the application serve.
type Gate struct {
	Entries    int64     // entries of the ledger that this database has seen
	Unanchored bool      // no head kept elsewhere agreed: a roll-back of database and ledger together would go unnoticed
	Warning    string    // empty, or why the gate could not look
	Until      time.Time // with a Warning: the gate refuses from then on
}

// Ready is the boot gate: nil means that every erasure of the ledger has
// been carried out in this database. It refuses with ErrBehind after a
// restore, and with a ledger error when the ledger itself is wrong. See
// [Desk.Gate] for what a nil leaves open.
func (d *Desk) Ready(ctx context.Context) error {
	_, err := d.Gate(ctx)
	return err
}

// Gate is Ready with its findings.
func (d *Desk) Gate(ctx context.Context) (Gate, error) {
	if err := d.db.Primary(ctx, d.db); err != nil { // it may have seen what is gone, and open the gate for it
		return Gate{}, mute("asking the database", err)
	}
	m, set, err := d.loadMark(ctx)
	if err != nil {
		return Gate{}, err
	}
	pending, err := d.pending(ctx)
	if err != nil {
		return Gate{}, err
	}
	if len(pending) > 0 {
		return Gate{}, &GateError{Mark: m.head.N, Head: m.head.N, Pending: len(pending), Err: ErrBehind}
	}
	heads, err := d.cfg.Ledger.Anchors(ctx)
	asked := err == nil // an anchor that does not answer anchors nothing
	s, err := d.cfg.Ledger.Read(ctx, m.kept()...)
	if _, silent := errors.AsType[*erasurelog.AnchorError](err); silent {
		err = nil
	}
	if errors.Is(err, erasurelog.ErrUnreachable) && set {
		return d.unreachable(ctx, m, heads, err)
	}
	if err != nil {
		return Gate{}, err
	}
	if s.Head().N > m.head.N {
		return Gate{}, &GateError{Mark: m.head.N, Head: s.Head().N, Err: ErrBehind}
	}
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		if err := d.lockMark(ctx, tx); err != nil {
			return err
		}
		return d.raise(ctx, tx, s.Head())
	})
	if err != nil {
		return Gate{}, err
	}
	return Gate{Entries: s.Head().N, Unanchored: len(heads) == 0 || !asked}, nil
}

// unreachable lets a database serve that shows no sign of a restore, for the
// grace time after the ledger was last seen. A head kept elsewhere that is
// ahead of the database is such a sign.
func (d *Desk) unreachable(ctx context.Context, m mark, heads []erasurelog.Kept, cause error) (Gate, error) {
	gate, err := d.grace(m, heads, cause)
	if err == nil {
		d.observe(ctx, "privacy.ledger_unreachable", 1)
	}
	return gate, err
}

func (d *Desk) grace(m mark, heads []erasurelog.Kept, cause error) (Gate, error) {
	for _, h := range heads {
		if h.Head.N > m.head.N {
			return Gate{}, errors.Join(&GateError{Mark: m.head.N, Head: h.Head.N, Err: ErrBehind}, cause)
		}
	}
	// A ledger that is not there at all is how a restored machine begins. It is
	// waited for only where a head kept elsewhere says that nothing is missing.
	if len(heads) == 0 && errors.Is(cause, fs.ErrNotExist) {
		return Gate{}, cause
	}
	until := m.seen.Add(d.cfg.grace())
	if now := d.now(); !now.Before(until) || now.Before(m.seen) {
		return Gate{}, cause
	}
	return Gate{Entries: m.head.N, Unanchored: true, Warning: cause.Error(), Until: until}, nil
}

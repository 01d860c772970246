package privacy

import (
	"context"
	"errors"
	"log/slog"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// ErrNoRow says that no replay has listed that row: decide about those of
// Replayed.Undated.
var ErrNoRow = errors.New("privacy: no replay lists that row as undated")

// Decision says of a row of an erased person, of which nothing says when it was
// created and which the ledger does not name, whether it is older than the
// erasure. It came back with a restore, or was made since.
type Decision struct {
	Tenant, Person string // Row.Person of Replayed.Undated, and its tenant
	Table, Key     string
	Erase          bool   // it is older; otherwise it stays
	By             string // the principal who decides, from the session
	Because        string // a code, never free text
}

// Decide records what is to become of an undated row, in the ledger and in the
// audit trail. The next [Desk.Replay] carries it out, and opens the gate when it
// was the last one. Whoever decides again overrules. It outlives a restore.
func (d *Desk) Decide(ctx context.Context, c Decision) error {
	if err := errors.Join(validID("tenant", c.Tenant), validPerson(c.Person), validPrincipal(c.By)); err != nil {
		return err
	}
	if !reasonCode.MatchString(c.Because) {
		return ErrReason
	}
	if err := d.allow(ctx, "privacy.decide", "person/"+c.Person); err != nil {
		return err
	}
	open, err := d.unfinished(ctx)
	if err != nil {
		return err
	}
	if !open.asks(c) {
		return ErrNoRow
	}
	drawn, err := uuid.NewV7()
	if err != nil {
		return mute("drawing an id", err)
	}
	op, outcome := erasurelog.Newer, "keep"
	if c.Erase {
		op, outcome = erasurelog.Older, "erase"
	}
	attrs := []slog.Attr{slog.String("reason", c.Because), slog.String("outcome", outcome)}
	return d.entered(ctx, c.Tenant, "privacy.decide", attrs, func(s *erasurelog.State) (*erasurelog.Entry, error) {
		if len(s.Plan(drawn.String())) > 0 {
			return nil, nil // the commit after it failed
		}
		e := &erasurelog.Entry{Op: op, Plan: drawn.String(), Because: c.Because}
		w := digesting{ctx: ctx, d: d, tenant: c.Tenant, entry: e}
		w.about(c.Person, nil)
		e.Refs = []string{w.digest(erasurelog.KindRef, erasurelog.RowID(c.Table, c.Key))}
		e.By = w.digest(erasurelog.KindPrincipal, []byte(c.By))
		return e, w.err
	})
}

// asks says whether a replay has listed the row of a decision.
func (u unfinishedReplays) asks(c Decision) bool {
	for _, p := range u.persons() {
		for _, row := range p.Undated {
			if p.Tenant == c.Tenant && p.Person == c.Person && row.Table == c.Table && row.Key == c.Key {
				return true
			}
		}
	}
	return false
}

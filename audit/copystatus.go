package audit

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// copyRead is what Status has found of a copy.
type copyRead struct {
	of      *duplicate
	tree    tlog.Tree // its checkpoint; that of its last turn, where one is going on
	err     error     // it could not be read
	filling bool      // its turn is going on
	silent  bool      // it does not come back
	failed  time.Time // since when it cannot be filled; zero: it can
	why     error
}

// copiesFirst reads the checkpoints of the copies, all at once and before that of
// the published log, which is never behind them. It waits for Config.Interval and limit
// at most, and asks none that this process has asked and that has not answered.
func (t *Trail) copiesFirst(ctx context.Context, limit time.Duration) []copyRead {
	works := make([]<-chan struct{}, 0, len(t.copies))
	for _, c := range t.copies {
		if work := c.begin(t.now(), true, func() { t.ask(context.WithoutCancel(ctx), c) }); work != nil { // others may wait for it, too
			works = append(works, work)
		}
	}
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t.await(waiting, works)
	out := make([]copyRead, 0, len(t.copies))
	for _, c := range t.copies {
		c.mu.Lock()
		read := copyRead{of: c, tree: c.head, failed: c.failing, why: c.err}
		switch {
		case !c.busy:
			read.err = c.unread
		case c.asking:
			read.silent = true
		default:
			read.filling, read.silent = true, away(t.now(), c.moved) > t.late()
		}
		c.mu.Unlock()
		out = append(out, read)
	}
	return out
}

// ask reads the checkpoint of a copy.
func (t *Trail) ask(ctx context.Context, c *duplicate) {
	_, tree, _, err := t.checkpointIn(ctx, timed{Sink: c.sink, back: func() {}})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unread = err; err == nil {
		c.head = tree
	}
}

// copyFinding says how far a copy is behind; below 0 is ahead.
func (t *Trail) copyFinding(ctx context.Context, read copyRead, v view, logErr error, now time.Time) (Finding, error) {
	f := Finding{Name: "audit.copies", Subject: read.of.name, Unit: "entries"}
	err := read.err
	if v.read {
		f.Value = float64(v.head.N - read.tree.N)
	}
	if err == nil && logErr == nil { // otherwise audit.log says that there is nothing to compare it with
		err = t.continues(ctx, read.tree, v.head)
	}
	if err == nil {
		err, f.Since = read.why, read.failed
	}
	switch {
	case read.silent:
		f.Remedy = "this copy does not answer, and nobody waits for it: bring its store back, and it is filled by itself"
	case err != nil:
		f.Remedy = copyRemedy(err)
	case f.Value > 0:
		since, err := t.sequencedAt(ctx, read.tree.N)
		if err != nil {
			return f, err
		}
		f.Since = since
		switch late := since.IsZero() || away(now, since) > t.late(); {
		case late && read.filling:
			f.Level, f.Remedy = HealthNotice, "this copy is far behind, and is being filled"
			return f, nil
		case late:
			f.Remedy = "this copy is behind: is Run running, and where it is, what does audit.log say?"
		}
	}
	if f.Remedy != "" {
		f.Level = HealthAlarm
	}
	return f, nil
}

// copyRemedy says what to do about a copy that cannot be read or filled.
func copyRemedy(err error) string {
	for _, known := range []struct {
		err    error
		remedy string
	}{
		{auditlog.ErrRolledBack, "this copy has entries that the published log does not have: find out which of the two is true before anything is removed; nothing is written to it"},
		{auditlog.ErrForked, "this copy and the published log are two histories: stop, and find out with VerifyStore which is true; nothing is written to the copy"},
		{auditlog.ErrMalformed, "the checkpoint of this copy is empty or ends too early: verify the copy, then remove its checkpoint, and it is filled by itself"},
		{auditlog.ErrNotSigned, "the checkpoint of this copy is signed by another key: is it the folder of another log? Nothing is written to it"},
		{auditlog.ErrTampered, "this copy cannot be filled: the database or its checkpoint was changed, see audit.log and VerifyStore"},
	} {
		if errors.Is(err, known.err) {
			return known.remedy
		}
	}
	return "this copy cannot be read or written: bring its store back, and it is filled by itself"
}

// sequencedAt is when an entry got its place; zero where nobody knows.
func (t *Trail) sequencedAt(ctx context.Context, index int64) (time.Time, error) {
	var sequenced sql.NullInt64
	if _, err := t.one(ctx, t.db, []any{&sequenced}, `SELECT filed FROM crmguard_audit_entries WHERE idx = ?`, index); err != nil || !sequenced.Valid {
		return time.Time{}, err
	}
	return time.UnixMicro(sequenced.Int64).UTC(), nil
}

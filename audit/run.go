package audit

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Run repeats [Trail.RunOnce] every Config.Interval until the context ends, or
// until the log may not go on: then the error says what the operator must do, a
// [BehindError] of a restored database at once, and it is observed as
// audit.run.failed, too. Read what Run returns while the process works, not only at
// its end: events are recorded without it, and wait. What may pass (a locked database, a full disk) is observed and tried again, and
// so is, for a minute, a published log that is behind what is known of it: a cache
// may be.
func (t *Trail) Run(ctx context.Context) error {
	if err := t.ready(); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var wait patience
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		r, err := t.RunOnce(ctx)
		if err != nil && ctx.Err() == nil {
			t.observe(ctx, "audit.run.failed", 1, slog.Bool("beat", errors.Is(err, ErrHead)))
		}
		if wait.ends(err, t.lateFor) {
			return err
		}
		if r.more && err == nil {
			timer.Reset(0) // good rows may stand behind those
			continue
		}
		timer.Reset(t.config.Interval)
	}
}

func permanent(err error) bool {
	for _, sentinel := range []error{auditlog.ErrForked, auditlog.ErrRolledBack, ErrBehind, ErrLogLost, auditlog.ErrTampered, ErrOrigin, ErrInvalid, ErrNotOpen} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// Progress says how far the log has come; [Trail.Status] says what is wrong.
type Progress struct {
	Size      int64     // entries in the log
	Published int64     // entries under the published checkpoint
	Queued    int64     // events that wait for the sequencer
	Oldest    time.Time // when the oldest of them was recorded; zero if none
	Beat      time.Time // when the newest beat was made; zero if none
}

// Progress reads the state, all of one moment: while events are recorded and filed
// Size and Queued together never fall, and where nothing is queued and Published is
// Size everything that was recorded by then is published. (The published checkpoint
// is read first, and may be older than the rest.)
func (t *Trail) Progress(ctx context.Context) (Progress, error) {
	if err := t.ready(); err != nil {
		return Progress{}, err
	}
	head, err := t.head(ctx)
	if err != nil {
		return Progress{}, err
	}
	var queued int64
	var body []byte
	waits := ` FROM crmguard_audit_events WHERE idx IS NULL AND seq > ` + t.drainedNow()
	s, err := t.storedWith(ctx, t.db, `, (SELECT COUNT(*)`+waits+`), (SELECT `+upTo(mostBody, "body")+waits+` ORDER BY seq LIMIT 1)`, &queued, &body)
	if err == nil {
		err = t.genuine(ctx, s)
	}
	if err != nil {
		return Progress{}, err
	}
	out := Progress{Size: s.N, Published: head.N, Queued: queued, Oldest: recordedAt(body)}
	if s.beat > 0 {
		out.Beat = time.UnixMicro(s.beat).UTC()
	}
	return out, nil
}

// queueLength counts the events that wait, and says when the first of them was
// recorded: as its leaf says, whoever wrote it.
func (t *Trail) queueLength(ctx context.Context) (n int64, oldest time.Time, err error) {
	if _, err := t.one(ctx, t.db, []any{&n}, `SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL AND seq > `+t.drainedNow()); err != nil || n == 0 {
		return n, oldest, err
	}
	var body []byte
	if _, err := t.one(ctx, t.db, []any{&body}, `SELECT `+upTo(mostBody, "body")+` FROM crmguard_audit_events WHERE idx IS NULL AND seq > `+t.drainedNow()+` ORDER BY seq LIMIT 1`); err != nil {
		return n, oldest, err
	}
	return n, recordedAt(body), nil
}

// recordedAt is when a waiting row was recorded, as its leaf says.
func recordedAt(body []byte) (at time.Time) {
	if b, err := auditlog.ParseRowBody(body); err == nil {
		if leaf, err := auditlog.ParseLeaf(b.Leaf); err == nil {
			at = leaf.At
		}
	}
	return at
}

package audit

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/hanging"
	"github.com/crmguard/crmguard/audit/internal/merkle"
	"github.com/crmguard/crmguard/internal/health"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Finding is one thing that [Trail.Status] has looked at. Its fields:
//
//	Name    string    // as the package comment lists it
//	Subject string    // what it is about; "" is all
//	Level   HealthOK, HealthNotice or HealthAlarm, in this order; String is "ok", "notice", "alarm"
//	Value   float64   // what was measured
//	Unit    string    // of Value: "s", or what is counted
//	Since   time.Time // since when it is so; zero where that is not known
//	Remedy  string    // what to do; "" where nothing is to be done
//
// String is one line for people, Compare sorts the worst first, and it goes
// into encoding/json and log/slog as it is. All packages have this one type, so
// one page shows all.
type Finding = health.Finding

// The levels of a Finding. They are ordered: the worst of many is their max.
const (
	HealthOK     = health.OK     // looked at, and well
	HealthNotice = health.Notice // well for now, and somebody should know
	HealthAlarm  = health.Alarm  // a promise does not hold, or will not for long
)

// Status says how the trail is: every finding of the package comment, those
// that are well included. The error says that the database cannot be read; a
// sink or a kept checkpoint that cannot is a finding, and so is one that does not
// answer: each is waited for up to ten seconds, or a quarter of the time that ctx
// leaves, and the database is asked before any of them.
func (t *Trail) Status(ctx context.Context) ([]Finding, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	s, err := t.stored(ctx, t.db)
	if err != nil && !errors.Is(err, auditlog.ErrTampered) {
		return nil, err
	}
	now := t.now()
	ofDatabase, err := t.databaseFindings(ctx, s, now)
	if err != nil {
		return nil, err
	}
	limit := waitEach(ctx)
	kept := t.keptFirst(ctx, limit) // first: it is never ahead of what is published
	copied := t.copiesFirst(ctx, limit)
	v, logErr := t.lookWithin(ctx, limit)
	if logErr == nil {
		s = v.state
		if v.back {
			logErr = auditlog.ErrRolledBack
		}
	}
	unpublished := Finding{Name: "audit.unpublished", Unit: "entries"}
	if logErr == nil {
		if unpublished, err = t.unpublishedFinding(ctx, s, v.head, now); err != nil {
			return nil, err
		}
	}
	out := append(ofDatabase,
		unpublished, faultFinding(Finding{Name: "audit.log", Value: float64(v.head.N), Unit: "entries"}, logErr),
		t.keptFinding(ctx, limit, kept, v))
	mirror, has, err := t.mirrorFinding(ctx, s, v.head, now)
	if err != nil {
		return nil, err
	}
	if has {
		out = append(out, mirror)
	}
	for _, read := range copied {
		f, err := t.copyFinding(ctx, read, v, logErr, now)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, ctx.Err() // what was cancelled would be taken for a fault of the sink
}

// databaseFindings are those that need no store but the database.
func (t *Trail) databaseFindings(ctx context.Context, s state, now time.Time) ([]Finding, error) {
	queue, err := t.queueFinding(ctx, now)
	if err != nil {
		return nil, err
	}
	clock, err := t.clockFinding(ctx, queue)
	if err != nil {
		return nil, err
	}
	aside, err := t.asideFindings(ctx)
	if err != nil {
		return nil, err
	}
	unmapped, err := t.unmappedFinding(ctx)
	if err != nil {
		return nil, err
	}
	heads, err := t.headsFinding(ctx)
	if err != nil {
		return nil, err
	}
	captured, err := t.capturedFindings(ctx, now)
	if err != nil {
		return nil, err
	}
	erased, err := t.erasedFinding(ctx)
	if err != nil {
		return nil, err
	}
	settings, err := t.db.Health(ctx, "audit.store")
	if err != nil {
		return nil, err
	}
	pruned, err := t.prunedFinding(ctx, s)
	if err != nil {
		return nil, err
	}
	out := append([]Finding{queue, t.beatFinding(s, queue, now), clock, unmapped, heads, erased, t.gapFinding()}, aside...)
	out = append(append(out, captured...), pruned...)
	out = append(out, t.passes.Findings(now, t.late())...)
	return append(out, settings...), nil
}

// late is how long an event may wait although the sequencer runs.
func (t *Trail) late() time.Duration { return max(10*t.config.Interval, t.config.BeatEvery) }

// away is the distance of two moments: a clock that was set back must not keep
// what waits from ever being late.
func away(now, then time.Time) time.Duration { return now.Sub(then).Abs() }

// queueFinding counts the events without a place in the log. One that somebody
// parks by a place that the log does not have is found by VerifyStore.
func (t *Trail) queueFinding(ctx context.Context, now time.Time) (Finding, error) {
	f := Finding{Name: "audit.queue", Unit: "events"}
	waiting, oldest, err := t.queueLength(ctx)
	if err != nil {
		return f, err
	}
	f.Value, f.Since = float64(waiting), oldest
	if waiting > 0 && away(now, oldest) > t.late() {
		f.Level = HealthAlarm
		f.Remedy = "events wait for their place in the log, and may be removed unnoticed until then: is Run running, what does RunOnce refuse, and what does VerifyStore say?"
	}
	return f, nil
}

func (t *Trail) unpublishedFinding(ctx context.Context, s state, head tlog.Tree, now time.Time) (Finding, error) {
	f := Finding{Name: "audit.unpublished", Value: float64(s.N - head.N), Unit: "entries"}
	if s.N == head.N {
		return f, nil
	}
	var sequenced sql.NullInt64
	if _, err := t.one(ctx, t.db, []any{&sequenced}, `SELECT filed FROM crmguard_audit_entries WHERE idx = ?`, head.N); err != nil {
		return f, err
	}
	if sequenced.Valid {
		f.Since = time.UnixMicro(sequenced.Int64).UTC()
	}
	if !sequenced.Valid || away(now, f.Since) > t.late() {
		f.Level = HealthAlarm
		f.Remedy = "entries are not under a published checkpoint, so the database alone vouches for them: see the error of RunOnce"
	}
	return f, nil
}

func (t *Trail) beatFinding(s state, queue Finding, now time.Time) Finding {
	f := Finding{Name: "audit.beat.age", Unit: "s"}
	if s.beat > 0 {
		f.Since = time.UnixMicro(s.beat).UTC()
		f.Value = now.Sub(f.Since).Seconds()
	}
	// Without entries since the newest beat none is due, however old it is. The
	// first entries are late when the queue is.
	due := s.N > s.beatSize || queue.Value > 0
	if s.beat == 0 {
		due = queue.Level == HealthAlarm || s.N > 0
	}
	if due && away(now, f.Since) > t.config.BeatEvery+t.late() {
		f.Level = HealthAlarm
		f.Remedy = "no beat anchors the other stores: is Run running, and does each store of Heads answer?"
	}
	return f
}

// keptRead is what was found of the kept checkpoint.
type keptRead struct {
	tree   tlog.Tree
	found  bool
	err    error
	signed bool // what cannot be read was there, and is not one of this log
}

func (t *Trail) keptFirst(ctx context.Context, limit time.Duration) keptRead {
	k, err := hanging.Ask(ctx, &t.asked.kept, limit, func(ctx context.Context) (keptRead, error) {
		tree, found, err := t.kept(ctx)
		return keptRead{tree: tree, found: found}, err
	})
	k.err, k.signed = err, errors.Is(err, auditlog.ErrTampered)
	return k
}

func (t *Trail) keptFinding(ctx context.Context, limit time.Duration, k keptRead, v view) Finding {
	f := Finding{Name: "audit.kept", Value: float64(k.tree.N), Unit: "entries"}
	switch {
	case k.signed:
		f.Level, f.Remedy = HealthAlarm, "the kept checkpoint is not one of this log: find out who changed it"
	case errors.Is(k.err, hanging.ErrSilent):
		f.Level, f.Remedy = HealthAlarm, "the store of the kept checkpoint does not answer, and nothing is signed without it: bring it back"
	case k.err != nil:
		f.Level, f.Remedy = HealthAlarm, "the kept checkpoint cannot be read, and nothing is signed without it: bring its store back"
	case !k.found:
		f.Level = HealthAlarm
		f.Remedy = "whoever has database and published folder can begin the log anew, without a key and unnoticed: keep checkpoints in another administrative domain, and set Config.Kept"
	case v.read: // otherwise audit.log says that there is nothing to compare it with
		_, err := hanging.Ask(ctx, &t.asked.compared, limit, func(ctx context.Context) (struct{}, error) {
			reader := merkle.Source(merkle.Files(t.config.Sink.ReadFile).Hashes).Reader(ctx, v.head)
			return struct{}{}, anchored(reader, v.head, k.tree)
		})
		return faultFinding(f, err)
	}
	return f
}

// faultFinding is f, or the alarm that an error of the log is. The text of the
// error stays out of it: a sink's may quote anything.
func faultFinding(f Finding, err error) Finding {
	if err == nil {
		return f
	}
	f.Level = HealthAlarm
	f.Remedy = "the published log cannot be read: bring its store back; see the error of RunOnce"
	if _, database := errors.AsType[*sqldb.DriverError](err); database {
		f.Remedy = "the database cannot be read: see the error of RunOnce"
	}
	for _, known := range []struct {
		err    error
		remedy string
	}{
		{hanging.ErrSilent, "the published log does not answer: bring its store back"},
		{errTags, "the key service does not answer, so that nobody knows whether the database was changed: bring it back"},
		{auditlog.ErrForked, "two histories exist: stop, and find out with VerifyStore which is true"},
		{auditlog.ErrRolledBack, "the log is shorter than what was kept or seen of it: bring back the folder and the database that were published"},
		{ErrBehind, "the database is an older one than the published log: call CatchUp before anything is served"},
		{ErrLogLost, "the published log is gone: bring the folder back (is its disk mounted?), or Republish it"},
		{auditlog.ErrMalformed, "the published checkpoint is empty or ends too early: Republish it, or bring the folder back"},
		{auditlog.ErrNotSigned, "the checkpoint is signed by another key: take the verifier key of this log"},
		{ErrOrigin, "key, tables or folder belong to another log"},
		{auditlog.ErrTampered, "the published log or the database was changed: stop, run VerifyStore, and compare with the kept checkpoint"},
	} {
		if errors.Is(err, known.err) {
			f.Remedy = known.remedy
			break
		}
	}
	return f
}

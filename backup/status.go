package backup

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/health"
)

// Finding is one thing that [Repository.Status] has looked at. Its fields:
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

const defaultMaxAge = 26 * time.Hour

func (c Config) maxAge() time.Duration {
	if c.MaxAge == 0 {
		return defaultMaxAge
	}
	return c.MaxAge
}

// stale says whether a moment is further away than MaxAge, on either side: a
// clock that was wrong must not keep a job that stopped from being noticed.
func (c Config) stale(then time.Time) bool {
	return c.maxAge() > 0 && c.now().Sub(then).Abs() > c.maxAge()
}

// Status says how the repository in this store is: every finding of the package
// comment, those that are well included. It reads snapshots and locks, not the
// data; [Repository.Check] does. A store that does not answer is a finding; the
// error is that of a context that ended.
func (r *Repository) Status(ctx context.Context) ([]Finding, error) {
	findings, _, err := r.status(ctx)
	return findings, err
}

func (r *Repository) status(ctx context.Context) ([]Finding, []Snapshot, error) {
	store := Finding{Name: "backup.store", Subject: r.Name(), Value: 1, Unit: "stores"}
	failed := func(err error) ([]Finding, []Snapshot, error) {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		store.Level, store.Value = HealthAlarm, 0
		store.Remedy = "the store does not answer: bring it back; see the error of Snapshots"
		switch {
		case errors.Is(err, ErrGone):
			store.Remedy = "the store's place is not there: mount the disk"
		case errors.Is(err, ErrCorrupt), errors.Is(err, fs.ErrNotExist):
			store.Remedy = "the store does not hold this repository any more: is another disk in its place? Else bring the file config back from a mirror"
		}
		return []Finding{store}, nil, nil
	}
	if err := r.checkPlace(ctx); err != nil {
		return failed(err)
	}
	snapshots, damaged, err := r.readSnapshots(ctx)
	if err != nil {
		return failed(err)
	}
	locks, err := r.lockFinding(ctx)
	if err != nil {
		return failed(err)
	}
	broken := Finding{Name: "backup.snapshots.damaged", Subject: r.Name(), Value: float64(len(damaged)), Unit: "snapshots"}
	if len(damaged) > 0 {
		broken.Level, broken.Remedy = HealthAlarm, "snapshots cannot be read: run Check, and bring the files that it names back from a mirror"
	}
	out := append([]Finding{store, broken}, r.ages(snapshots)...)
	out = append(out, locks)
	return append(out, r.checked.findings(r.Name())...), snapshots, nil
}

// ages are the ages of the newest snapshot of each job.
func (r *Repository) ages(snapshots []Snapshot) []Finding {
	sum := Finding{Name: "backup.snapshot.age", Subject: r.Name(), Unit: "s"}
	if len(snapshots) == 0 {
		sum.Level, sum.Remedy = HealthAlarm, "there is no snapshot at all: run a job"
		return []Finding{sum}
	}
	newest := map[string]time.Time{} // oldest first, so the last one stays
	for _, s := range snapshots {
		newest[s.Job] = s.Time
	}
	var jobs []Finding
	for job, at := range newest {
		if job == "" {
			job = "(another program)"
		}
		f := Finding{Name: sum.Name, Subject: r.Name() + "/" + job, Value: r.cfg.now().Sub(at).Seconds(), Unit: sum.Unit, Since: at}
		if r.cfg.stale(at) {
			f.Level = HealthAlarm
			f.Remedy = "the job has not made a snapshot for longer than Config.MaxAge: see the error of its runs; if it is no more, its snapshots may go"
			if f.Value < 0 {
				f.Remedy = "the newest snapshot is from the future: set the clock right, or remove that snapshot everywhere"
			}
		}
		jobs = append(jobs, f)
		sum.Value = max(sum.Value, f.Value)
	}
	return health.List(sum, jobs)
}

// lockFinding counts the locks whose holder has not renewed them, and those that
// a wrong clock dated into the future.
func (r *Repository) lockFinding(ctx context.Context) (Finding, error) {
	f := Finding{Name: "backup.locks.dead", Subject: r.Name(), Unit: "locks"}
	files, err := listIDs(ctx, r.store, lockFolder)
	if err != nil {
		return f, err
	}
	for id := range files {
		document, err := r.loadFile(ctx, lockFolder, id)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) {
			continue // released meanwhile, or nobody's: Check names it
		} else if err != nil {
			return f, err
		}
		var held lockJSON
		if json.Unmarshal(document, &held) != nil {
			continue
		}
		age := r.cfg.now().Sub(held.Time)
		if age.Abs() <= lockStale {
			continue
		}
		f.Value++
		if f.Since.IsZero() || held.Time.Before(f.Since) {
			f.Since = held.Time
		}
		switch {
		case held.Exclusive:
			f.Level = HealthAlarm
			f.Remedy = "no job begins: if nobody works on the repository any more, run `restic unlock`"
			if age < 0 {
				f.Remedy = "no job begins, and the lock is from the future: set the clocks right; if nobody works on the repository any more, run `restic unlock --remove-all`"
			}
		case f.Level == HealthOK:
			f.Level = HealthNotice
			f.Remedy = "a job ended without removing its lock: the next run removes those of this package, `restic unlock` the others"
			if age < 0 {
				f.Remedy = "a lock is from the future, and never becomes too old: set the clocks right; if nobody works on the repository any more, run `restic unlock --remove-all`"
			}
		}
	}
	return f, nil
}

// Status is the Status of the job's repositories, and how far their stores are
// behind each other.
func (j *Job) Status(ctx context.Context) ([]Finding, error) {
	if err := j.validate(); err != nil {
		return nil, err
	}
	var out []Finding
	held := make([]map[string]bool, len(j.Repositories))
	all := map[string]Snapshot{}
	for i, r := range j.Repositories {
		findings, snapshots, err := r.status(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, findings...)
		if findings[0].Level != HealthOK {
			continue // what it holds is not known
		}
		held[i] = map[string]bool{}
		for _, s := range snapshots {
			held[i][s.ID], all[s.ID] = true, s
		}
	}
	for i, r := range j.Repositories {
		if held[i] != nil {
			out = append(out, r.behind(held[i], all))
		}
	}
	return out, nil
}

func (r *Repository) behind(held map[string]bool, all map[string]Snapshot) Finding {
	f := Finding{Name: "backup.mirror.behind", Subject: r.Name(), Unit: "snapshots"}
	for id, s := range all {
		if held[id] {
			continue
		}
		f.Value++
		if f.Since.IsZero() || s.Time.Before(f.Since) {
			f.Since = s.Time
		}
	}
	if f.Value > 0 {
		f.Level = HealthNotice
		if r.cfg.stale(f.Since) {
			f.Level = HealthAlarm
		}
		f.Remedy = "the store lacks snapshots that another one holds: the next run of the job copies them; see Result.Stores for why it did not"
	}
	return f
}

// pastCheck remembers the last check of this process.
type pastCheck struct {
	mu       sync.Mutex
	at       time.Time // zero: none
	problems int
}

func (p *pastCheck) took(report *CheckReport, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.problems = now, len(report.Problems)
}

func (p *pastCheck) findings(store string) []Finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.IsZero() {
		return nil
	}
	f := Finding{Name: "backup.check.problems", Subject: store, Value: float64(p.problems), Unit: "problems", Since: p.at}
	if p.problems > 0 {
		f.Level, f.Remedy = HealthAlarm, "files are damaged or missing: bring those that the report of Check names back from a mirror, and check again"
	}
	return []Finding{f}
}

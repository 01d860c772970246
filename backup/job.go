package backup

import (
	"context"
	"log/slog"
	"regexp"
	"time"
)

// Job copies several sources into one snapshot of one or several
// repositories.
type Job struct {
	// Name groups the snapshots: lower-case letters, digits, '-', '_', '.'.
	Name string
	// Repositories come from one Create (or Open of each of its stores): they
	// share id and master key, and receive the same bytes.
	Repositories []*Repository
	// Sources are read one after the other, in this order. Database first,
	// files after, so that no row points at a file that the backup lacks.
	Sources []Source
	// Positions are read around the sources and go into the manifest.
	Positions Positions
	// KeyCopy returns nil only when a verified key copy covers the position.
	// It may make that copy. Required when Positions.Keys is set.
	KeyCopy func(ctx context.Context, position []byte) error
	// KeyVersions counts sealed values by tenant and key version in what
	// the sources hold. It is asked before and after the sources are read and
	// the union counts. nil says that nothing is sealed.
	KeyVersions func(ctx context.Context) (map[string]map[uint32]int64, error)
	// App and Schema are the application's version and its schema's.
	App, Schema string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Observe receives measurements; nil is silence.
	Observe func(ctx context.Context, name string, value float64, attrs ...slog.Attr)
}

// Positions are heads of other packages, opaque here. Each must be text; nil
// funcs leave the member out of the manifest.
type Positions struct {
	Keys   func(ctx context.Context) ([]byte, error) // read after the sources: vault.Position
	Ledger func(ctx context.Context) ([]byte, error) // read before the sources: desk.LedgerHead
	Trail  func(ctx context.Context) ([]byte, error) // read before the sources: trail.Checkpoint
}

// Result is what a run did. Keep Snapshot and Manifest outside the
// repository, in the audit trail for instance: only there does the loss of a
// whole snapshot show.
type Result struct {
	Snapshot string // id, 64 hex digits
	Manifest string // SHA-256 of the manifest, hex
	Files    int    // files read
	Bytes    int64  // bytes read
	Added    int64  // bytes of new files in each store
	Started  time.Time
	Took     time.Duration
	Stores   []StoreResult // one a repository, in the job's order
}

// StoreResult is what one store received.
type StoreResult struct {
	Store  string
	Files  int   // new files, the snapshot's included
	Bytes  int64 // their size
	Copied int   // files it lacked and got from another store
	// Problems are what was found damaged or missing on the way (*FileError),
	// and snapshots of another store that could not be copied whole. All of it
	// was left alone. The new snapshot leans on nothing of it, older ones may:
	// run Check.
	Problems []error
	// Err is nil when this store holds the snapshot. A store that lost packs
	// fails as long as another one is whole.
	Err error
}

// RunOnce reads the sources and commits one snapshot. When some stores failed
// and others hold the snapshot it returns the result and an error that wraps
// ErrStore; in every other case of an error there is no snapshot, unless the
// error says that one could not be removed.
func (j *Job) RunOnce(ctx context.Context) (*Result, error) {
	if err := j.validate(); err != nil {
		return nil, err
	}
	started := j.now()
	r := &run{job: j, started: started.UTC().Round(0), mono: time.Now(), fan: &fanout{}}
	for _, repo := range j.Repositories {
		r.fan.targets = append(r.fan.targets, newTarget(repo))
	}
	result, err := r.do(ctx)
	for _, t := range r.fan.targets {
		t.end()
		store := t.report()
		if store.Err != nil {
			j.observe(ctx, "backup.store.failed", 1, slog.String("store", t.repo.Name()))
		}
		if n := len(store.Problems); n > 0 {
			j.observe(ctx, "backup.store.problems", float64(n), slog.String("store", t.repo.Name()))
		}
	}
	if result == nil {
		return nil, err
	}
	result.Took = j.now().Sub(started)
	j.observe(ctx, "backup.run.seconds", result.Took.Seconds(), slog.String("job", j.Name))
	j.observe(ctx, "backup.run.files", float64(result.Files), slog.String("job", j.Name))
	j.observe(ctx, "backup.run.bytes", float64(result.Bytes), slog.String("job", j.Name))
	j.observe(ctx, "backup.run.added", float64(result.Added), slog.String("job", j.Name))
	return result, err
}

var jobName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// validate refuses what would fail late or mean something else than it says.
func (j *Job) validate() error {
	if !jobName.MatchString(j.Name) {
		return badConfig("Job.Name is 1 to 64 lower-case letters, digits, '.', '_', '-'")
	}
	if len(j.Repositories) == 0 || len(j.Sources) == 0 {
		return badConfig("a job needs at least one repository and one source")
	}
	stores := map[string]bool{}
	for _, r := range j.Repositories {
		if r == nil || r.cfg.Manifests == nil {
			return badConfig("a job's repositories are opened with Config.Manifests or a MachineKey")
		}
		if !r.sharesKey(j.Repositories[0]) {
			return badConfig("a job's repositories share one id and master key: make them with one Create, or Mirror")
		}
		if r.config.Version != writeVersion {
			return ErrVersion
		}
		if stores[r.Name()] {
			return badConfig("a job's repositories are in different stores")
		}
		stores[r.Name()] = true
	}
	names := map[string]bool{}
	for _, s := range j.Sources {
		if s == nil || !sourceName.MatchString(s.Name()) || names[s.Name()] || s.Kind() == "" || s.Kind() == KindTable {
			return badConfig("a source has a bad name or kind, or a name twice")
		}
		names[s.Name()] = true
	}
	if (j.Positions.Keys == nil) != (j.KeyCopy == nil) {
		return badConfig("Positions.Keys and KeyCopy go together: a position that no key copy covers restores nothing")
	}
	return nil
}

func (j *Job) now() time.Time { return Config{Now: j.Now}.now() }

func (j *Job) observe(ctx context.Context, name string, value float64, attrs ...slog.Attr) {
	Config{Observe: j.Observe}.observe(ctx, name, value, attrs...)
}

package backup_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// ward is a repository in memory, or two, whose clock can be moved.
type ward struct {
	t      *testing.T
	key    backup.MachineKey
	ahead  time.Duration
	stores []*backuptest.Memory
	repos  []*backup.Repository
	job    *backup.Job
}

func newWard(t *testing.T, names ...string) *ward {
	w := &ward{t: t, key: backup.NewMachineKey()}
	var stores []backup.Store
	for _, name := range names {
		w.stores = append(w.stores, backuptest.NewMemory(name))
		stores = append(stores, w.stores[len(w.stores)-1])
	}
	var err error
	w.repos, err = backup.Create(t.Context(), w.config(), stores...)
	require.NoError(t, err)
	w.job = nightly(w.repos, backup.Folder("files", smallTree(t)))
	w.job.Now = w.now
	return w
}

func (w *ward) now() time.Time { return time.Now().Add(w.ahead) }

func (w *ward) config() backup.Config {
	c := config(w.key)
	c.Now = w.now
	return c
}

func (w *ward) open(store backup.Store) *backup.Repository {
	w.t.Helper()
	repo, err := backup.Open(w.t.Context(), store, w.config())
	require.NoError(w.t, err)
	return repo
}

func levels(t *testing.T, findings []backup.Finding, err error) map[string]int {
	t.Helper()
	require.NoError(t, err)
	out := map[string]int{}
	for _, f := range findings {
		require.Equal(t, f.Level == backup.HealthOK, f.Remedy == "", "what is not well has a remedy: %v", f)
		out[f.Name+" "+f.Subject] = int(f.Level)
	}
	return out
}

func (w *ward) levels(r *backup.Repository) map[string]int {
	w.t.Helper()
	findings, err := r.Status(w.t.Context())
	return levels(w.t, findings, err)
}

func (w *ward) found(r *backup.Repository, name string) backup.Finding {
	w.t.Helper()
	findings, err := r.Status(w.t.Context())
	require.NoError(w.t, err)
	for _, f := range findings {
		if f.Name == name {
			return f
		}
	}
	w.t.Fatalf("no finding %s in %v", name, findings)
	return backup.Finding{}
}

func TestASoundRepositorySaysWhatItLookedAt(t *testing.T) {
	w := newWard(t, "a")
	mustRun(t, w.job)
	sound := map[string]int{
		"backup.store a": 0, "backup.snapshots.damaged a": 0, "backup.snapshot.age a": 0, "backup.snapshot.age a/nightly": 0, "backup.locks.dead a": 0,
	}
	require.Equal(t, sound, w.levels(w.repos[0]))
	_, err := w.repos[0].Check(t.Context(), backup.Structure)
	require.NoError(t, err)
	sound["backup.check.problems a"] = 0
	require.Equal(t, sound, w.levels(w.repos[0]))
	sound["backup.mirror.behind a"] = 0
	findings, err := w.job.Status(t.Context())
	require.Equal(t, sound, levels(t, findings, err))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.repos[0].Status(ctx)
	require.ErrorIs(t, err, context.Canceled, "what was stopped is no fault of the store")
}

func TestAJobThatMadeNoSnapshotIsFound(t *testing.T) {
	w := newWard(t, "a")
	require.Equal(t, 2, w.levels(w.repos[0])["backup.snapshot.age a"], "no job has run at all")
	mustRun(t, w.job)
	weekly := nightly(w.repos, backup.Folder("files", smallTree(t)))
	weekly.Name, weekly.Now = "weekly", w.now
	mustRun(t, weekly)
	w.ahead = 27 * time.Hour
	mustRun(t, w.job)
	got := w.levels(w.repos[0])
	require.Equal(t, []int{2, 0, 2}, []int{got["backup.snapshot.age a"], got["backup.snapshot.age a/nightly"], got["backup.snapshot.age a/weekly"]})
	require.InDelta(t, 27*3600, w.found(w.repos[0], "backup.snapshot.age").Value, 600)
	mustRun(t, weekly)
	require.Equal(t, 0, w.levels(w.repos[0])["backup.snapshot.age a"])

	w.ahead = -10 * 365 * 24 * time.Hour
	require.Equal(t, 2, w.levels(w.repos[0])["backup.snapshot.age a/weekly"], "a snapshot from the future hides that its job stopped")
	w.ahead = 40 * 24 * time.Hour
	c := w.config()
	c.MaxAge = -1
	patient, err := backup.Open(t.Context(), w.stores[0], c)
	require.NoError(t, err)
	require.Equal(t, 0, w.levels(patient)["backup.snapshot.age a"])
}

func TestLocksOfDeadJobsAreFoundUntilTheyAreGone(t *testing.T) {
	w := newWard(t, "a")
	var killed *backuptest.Memory // as the job left it that was killed here
	w.job.Sources = append(w.job.Sources, script{"s", func(context.Context, *backup.Writer) error {
		killed = w.stores[0].Clone()
		return nil
	}})
	mustRun(t, w.job)
	repo := w.open(killed)
	require.Equal(t, 0, w.levels(repo)["backup.locks.dead a"], "it may be alive")
	w.ahead = 31 * time.Minute
	f := w.found(repo, "backup.locks.dead")
	require.Equal(t, backup.HealthNotice, f.Level)
	require.EqualValues(t, 1, f.Value)
	other := nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t)))
	other.Now = w.now
	mustRun(t, other)
	require.Equal(t, 0, w.levels(repo)["backup.locks.dead a"])

	require.NoError(t, backup.PutLock(t.Context(), repo, true, "elsewhere", w.now().Add(-time.Hour)))
	require.Equal(t, 2, w.levels(repo)["backup.locks.dead a"])
	_, err := other.RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrLocked)
	for _, name := range kinds(killed)["locks"] {
		killed.Set(name, nil)
	}
	require.Equal(t, 0, w.levels(repo)["backup.locks.dead a"])

	// A clock that was ten years ahead: such a lock keeps jobs out until then.
	for _, exclusive := range []bool{false, true} {
		require.NoError(t, backup.PutLock(t.Context(), repo, exclusive, "elsewhere", w.now().Add(10*365*24*time.Hour)))
		f := w.found(repo, "backup.locks.dead")
		require.Equal(t, exclusive, f.Level == backup.HealthAlarm)
		require.NotEqual(t, backup.HealthOK, f.Level)
		require.Contains(t, f.Remedy, "future")
	}
}

func TestDamageIsFoundUntilItIsMended(t *testing.T) {
	w := newWard(t, "a")
	mustRun(t, w.job)
	repo := w.repos[0]
	name := kinds(w.stores[0])["snapshots"][0]
	whole := w.stores[0].Files()[name]
	w.stores[0].Set(name, []byte("damaged"))
	got := w.levels(repo)
	require.Equal(t, []int{2, 2}, []int{got["backup.snapshots.damaged a"], got["backup.snapshot.age a"]})
	_, err := repo.Check(t.Context(), backup.Structure)
	require.ErrorIs(t, err, backup.ErrCorrupt)
	require.Equal(t, 2, w.levels(repo)["backup.check.problems a"])
	w.stores[0].Set(name, whole)
	require.Equal(t, 0, w.levels(repo)["backup.snapshots.damaged a"])
	_, err = repo.Check(t.Context(), backup.Structure)
	require.NoError(t, err)
	require.Equal(t, 0, w.levels(repo)["backup.check.problems a"])
}

func TestAStoreThatIsNotThisRepositoryAnyMoreIsFound(t *testing.T) {
	w := newWard(t, "a")
	mustRun(t, w.job)
	repo := w.repos[0]
	own := w.stores[0].Files()["config"]
	w.stores[0].Set("config", nil)
	require.Equal(t, map[string]int{"backup.store a": 2}, w.levels(repo))
	other := newWard(t, "b")
	w.stores[0].Set("config", other.stores[0].Files()["config"])
	require.Equal(t, map[string]int{"backup.store a": 2}, w.levels(repo), "another disk in its place")
	w.stores[0].Set("config", own)
	require.Equal(t, 0, w.levels(repo)["backup.store a"])

	dir := t.TempDir()
	local := create(t, fixedKey, filepath.Join(dir, "disk", "repo"))[0]
	unmounted := filepath.Join(dir, "elsewhere")
	require.NoError(t, os.Rename(filepath.Join(dir, "disk", "repo"), unmounted))
	require.Contains(t, w.found(local, "backup.store").Remedy, "mount")
	require.NoError(t, os.Rename(unmounted, filepath.Join(dir, "disk", "repo")))
	require.Equal(t, backup.HealthOK, w.found(local, "backup.store").Level)
}

func TestAMirrorThatIsBehindIsFoundUntilItHasCaughtUp(t *testing.T) {
	w := newWard(t, "a", "b")
	mustRun(t, w.job)
	alone := nightly(w.repos[:1], w.job.Sources...)
	alone.Now = w.now
	w.ahead = time.Hour
	mustRun(t, alone)
	status := func() map[string]int {
		findings, err := w.job.Status(t.Context())
		return levels(t, findings, err)
	}
	got := status()
	require.Equal(t, []int{0, 1}, []int{got["backup.mirror.behind a"], got["backup.mirror.behind b"]})
	w.ahead = 28 * time.Hour
	require.Equal(t, 2, status()["backup.mirror.behind b"])
	own := w.stores[1].Files()["config"]
	w.stores[1].Set("config", nil)
	require.NotContains(t, status(), "backup.mirror.behind b", "what it holds is not known")
	require.Equal(t, 2, status()["backup.store b"])
	w.stores[1].Set("config", own)
	mustRun(t, w.job)
	require.Equal(t, 0, status()["backup.mirror.behind b"])
}

// Paths of what was backed up may name people; findings do not.
func TestFindingsOfARepositoryHoldNoPerson(t *testing.T) {
	w := newWard(t, "a")
	dir := filepath.Join(t.TempDir(), "secret person")
	write(t, filepath.Join(dir, "secret.txt"), []byte("secret"))
	w.job.Sources = []backup.Source{backup.Folder("files", dir)}
	mustRun(t, w.job)
	require.NoError(t, backup.PutLock(t.Context(), w.repos[0], true, "secret-host", w.now().Add(-time.Hour)))
	for _, name := range kinds(w.stores[0])["data"] {
		w.stores[0].Set(name, []byte("damaged"))
	}
	_, err := w.repos[0].Check(t.Context(), backup.ReadAll)
	require.Error(t, err)
	findings, err := w.repos[0].Status(t.Context())
	require.NoError(t, err)
	text, err := json.Marshal(findings)
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret")
}

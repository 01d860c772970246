package backup_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
)

var november = time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)

// settable is a clock that a test sets.
type settable struct{ at time.Time }

func (s *settable) now() time.Time { return s.at }

func timed(t *testing.T, repos []*backup.Repository) (*backup.Job, *settable) {
	t.Helper()
	clock := &settable{november}
	job := nightly(repos, backup.Folder("files", smallTree(t)))
	job.Now = clock.now
	return job, clock
}

func times(t *testing.T, repo *backup.Repository) (out []time.Time) {
	t.Helper()
	snapshots, err := repo.Snapshots(t.Context())
	require.NoError(t, err)
	for _, s := range snapshots {
		out = append(out, s.Time)
	}
	return out
}

// The time of a snapshot is that of its run, and the manifest says the same,
// also when another machine's clock is a little ahead.
func TestASnapshotCarriesTheTimeOfItsRun(t *testing.T) {
	repo, _ := memoryRepo(t)
	job, clock := timed(t, []*backup.Repository{repo})
	mustRun(t, job)
	clock.at = november.Add(-29 * time.Minute)
	job.Sources = append(job.Sources, script{"slow", func(context.Context, *backup.Writer) error {
		clock.at = clock.at.Add(5 * time.Minute)
		return nil
	}})
	second := mustRun(t, job)
	require.Equal(t, []time.Time{november.Add(-29 * time.Minute), november}, times(t, repo))
	m, err := repo.Manifest(t.Context(), second.Snapshot)
	require.NoError(t, err)
	require.Equal(t, "2026-11-01T01:31:00.000000Z", m.Started)
}

func TestAClockBehindTheNewestSnapshotIsRefused(t *testing.T) {
	for _, behind := range []time.Duration{31 * time.Minute, time.Hour, 10 * 365 * 24 * time.Hour} {
		repo, memory := memoryRepo(t)
		job, clock := timed(t, []*backup.Repository{repo})
		first := mustRun(t, job)
		before := memory.Files()
		clock.at = november.Add(-behind)
		result, err := job.RunOnce(t.Context())
		require.Nil(t, result)
		require.ErrorIs(t, err, backup.ErrClock)
		var file *backup.FileError
		require.ErrorAs(t, err, &file)
		require.Equal(t, "snapshots/"+first.Snapshot, file.File)
		require.ErrorContains(t, err, "restic forget "+first.Snapshot[:8])
		require.Equal(t, before, memory.Files())
	}
}

// A clock ten years ahead, and then set right: nothing is committed beside
// the snapshot of the future until somebody has removed it, so expiring by
// age never meets both.
func TestAClockThatWasAheadIsNamedByTheNextRun(t *testing.T) {
	key, dir := backup.NewMachineKey(), filepath.Join(t.TempDir(), "a")
	repo := create(t, key, dir)[0]
	job, clock := timed(t, []*backup.Repository{repo})
	mustRun(t, job)
	clock.at = november.AddDate(10, 0, 0)
	future := mustRun(t, job)
	clock.at = november.AddDate(0, 0, 1)
	_, err := job.RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrClock)
	require.ErrorContains(t, err, future.Snapshot)
	require.Len(t, times(t, repo), 2)
	restic(t, dir, key.Password(), "forget", future.Snapshot)
	want := []time.Time{november}
	for day := 1; day < 10; day++ {
		clock.at = november.AddDate(0, 0, day)
		mustRun(t, job)
		want = append(want, clock.at)
	}
	restic(t, dir, key.Password(), "forget", "--keep-within", "30d", "--prune")
	restic(t, dir, key.Password(), "forget", "--keep-daily", "30", "--prune")
	require.Equal(t, want, times(t, repo))
	require.Contains(t, restic(t, dir, key.Password(), "check", "--read-data"), "no errors were found")
}

// An hour ahead: refused for as long as the order would be wrong.
func TestAClockThatWasAnHourAhead(t *testing.T) {
	repo, _ := memoryRepo(t)
	job, clock := timed(t, []*backup.Repository{repo})
	clock.at = november.Add(time.Hour)
	mustRun(t, job)
	clock.at = november.Add(10 * time.Minute)
	_, err := job.RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrClock)
	clock.at = november.Add(2 * time.Hour)
	mustRun(t, job)
	require.Equal(t, []time.Time{november.Add(time.Hour), november.Add(2 * time.Hour)}, times(t, repo))
}

func TestAClockThatIsSetDuringTheRun(t *testing.T) {
	for name, c := range map[string]struct {
		to   time.Time
		want error
	}{
		"back an hour":      {november.Add(-time.Hour), backup.ErrClock},
		"back ten years":    {november.AddDate(-10, 0, 0), backup.ErrClock},
		"forward an hour":   {november.Add(time.Hour), backup.ErrLockLost},
		"forward ten years": {november.AddDate(10, 0, 0), backup.ErrLockLost},
	} {
		t.Run(name, func(t *testing.T) {
			repo, memory := memoryRepo(t)
			job, clock := timed(t, []*backup.Repository{repo})
			job.Sources = append(job.Sources, script{"s", func(context.Context, *backup.Writer) error {
				clock.at = c.to
				return nil
			}})
			_, err := job.RunOnce(t.Context())
			require.ErrorIs(t, err, c.want)
			requireNothing(t, repo, memory)
		})
	}
}

func TestAClockThatShowsNoYear(t *testing.T) {
	repo, memory := memoryRepo(t)
	job, clock := timed(t, []*backup.Repository{repo})
	for _, at := range []time.Time{{}, time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		clock.at = at
		_, err := job.RunOnce(t.Context())
		require.ErrorIs(t, err, backup.ErrClock)
		requireNothing(t, repo, memory)
	}
}

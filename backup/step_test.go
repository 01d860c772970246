package backup_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// needy is a job whose manifest names all that one can.
func needy(repos []*backup.Repository, source backup.Source) *backup.Job {
	job := nightly(repos, script{"db", func(ctx context.Context, w *backup.Writer) error {
		if err := w.Table(backup.Table{Name: "contacts", Stripped: []string{"email_index"}}); err != nil {
			return err
		}
		return source.Snapshot(ctx, w)
	}})
	head := func(text string) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) { return []byte(text), nil }
	}
	job.Positions = backup.Positions{Keys: head("key 7"), Ledger: head("ledger 7"), Trail: head("trail 7")}
	job.KeyCopy = func(context.Context, []byte) error { return nil }
	return job
}

// What the manifest names must be met by a step, or nothing is restored: an
// erased person must not come back because somebody forgot the replay.
func TestARestoreWithoutAStepThatItsManifestNeedsIsRefused(t *testing.T) {
	memory := backuptest.NewMemory("a")
	repo := memoryRepos(t, fixedKey, memory)[0]
	result := mustRun(t, needy([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
	m, err := repo.Manifest(t.Context(), result.Snapshot)
	require.NoError(t, err)
	require.Equal(t, []backup.Need{backup.NeedKeys, backup.NeedIndexes, backup.NeedTrail, backup.NeedLedger}, m.Needs())
	without, err := backup.Open(t.Context(), memory, backup.Config{Key: backup.NewPassphrase(fixedKey.Password())})
	require.NoError(t, err)
	all := meeting()
	for i, lacking := range all {
		for name, c := range map[string]struct {
			repo  *backup.Repository
			steps []backup.Step
			needs []backup.Need
		}{
			"one is missing":            {repo, slices.Delete(slices.Clone(all), i, i+1), []backup.Need{lacking.Meets}},
			"its name alone":            {repo, append(slices.Delete(slices.Clone(all), i, i+1), backup.Step{Name: lacking.Name, Run: lacking.Run}), []backup.Need{lacking.Meets}},
			"none":                      {repo, nil, m.Needs()},
			"nothing vouches for steps": {without, nil, m.Needs()},
		} {
			t.Run(string(lacking.Meets)+" "+name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "x")
				_, err := c.repo.Restore(t.Context(), result.Snapshot, dir, c.steps...)
				var need *backup.NeedError
				require.ErrorAs(t, err, &need)
				require.ErrorIs(t, err, backup.ErrStep)
				require.Equal(t, c.needs, need.Needs)
				require.ErrorContains(t, err, string(lacking.Meets))
				require.NoDirExists(t, dir)
				require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed)
			})
		}
	}
	dir := filepath.Join(t.TempDir(), "x")
	_, err = repo.Restore(t.Context(), result.Snapshot, dir, all...)
	require.NoError(t, err)
	require.NoError(t, backup.Opened(dir))
	_, err = repo.Restore(t.Context(), result.Snapshot, t.TempDir(), backup.Step{Name: "x", Meets: "something", Run: all[0].Run})
	require.ErrorIs(t, err, backup.ErrConfig)

	// A look without steps is a copy that never passes for a restore.
	files, err := without.Files(t.Context(), result.Snapshot)
	require.NoError(t, err)
	look := filepath.Join(t.TempDir(), "look")
	require.NoError(t, os.CopyFS(look, files))
	require.ErrorIs(t, backup.Opened(look), backup.ErrClosed)
}

// A manifest of another tagger is read where only the Key is at hand, and
// nothing vouches for it. What it asks for must be done all the same, with that
// tagger.
func TestAManifestOfAnotherTaggerStillNeedsItsSteps(t *testing.T) {
	memory, vault := backuptest.NewMemory("a"), backup.NewMachineKey().Manifests()
	repos, err := backup.Create(t.Context(), backup.Config{Key: fixedKey, Manifests: vault}, memory)
	require.NoError(t, err)
	mustRun(t, needy(repos, backup.Folder("files", smallTree(t))))
	alone := open(t, memory, backup.Config{Key: fixedKey})
	_, err = restore(t, alone)
	var need *backup.NeedError
	require.ErrorAs(t, err, &need)
	require.Len(t, need.Needs, 4)
	_, err = restore(t, alone, meeting()...)
	require.ErrorIs(t, err, backup.ErrManifest)
	m, err := alone.Manifest(t.Context(), backup.Latest) // names the key copy that the vault needs
	require.NoError(t, err)
	require.Equal(t, "key 7", m.KeyPosition)
	report, err := restore(t, open(t, memory, backup.Config{Key: fixedKey, Manifests: vault}), meeting()...)
	require.NoError(t, err)
	require.True(t, report.Verified)
}

// The mark is judged by the manifest beside it, not by its being there.
func TestAMarkThatDoesNotMeetTheManifestOpensNothing(t *testing.T) {
	repo, _ := memoryRepo(t)
	result := mustRun(t, needy([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
	dir := filepath.Join(t.TempDir(), "x")
	_, err := repo.Restore(t.Context(), result.Snapshot, dir, meeting()...)
	require.NoError(t, err)
	require.NoError(t, backup.Opened(dir))
	path := filepath.Join(dir, ".crmguard", "opened.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var mark map[string]any
	require.NoError(t, json.Unmarshal(data, &mark))
	for _, met := range [][]string{nil, {"keys", "indexes", "trail"}} {
		mark["met"] = met
		changed, err := json.Marshal(mark)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, changed, 0o600))
		require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed)
		require.ErrorContains(t, backup.Opened(dir), "ledger")
	}
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.NoError(t, backup.Opened(dir))
	require.NoError(t, os.Remove(filepath.Join(dir, ".crmguard", "manifest.json")))
	require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed)
}

// The newest snapshot of which job? Nobody guesses.
func TestLatestIsOfOneJob(t *testing.T) {
	repo, _ := memoryRepo(t)
	repos := []*backup.Repository{repo}
	read := func(id string) (string, error) {
		files, err := repo.Files(t.Context(), id)
		if err != nil {
			return "", err
		}
		data, err := fs.ReadFile(files, "s/f")
		return string(data), err
	}
	run := func(job, text string) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "f"), []byte(text))
		mustRun(t, &backup.Job{Name: job, Repositories: repos, Sources: []backup.Source{backup.Folder("s", dir)}})
	}
	_, err := read(backup.Latest)
	require.ErrorIs(t, err, backup.ErrNoSnapshot)
	require.NotContains(t, err.Error(), "job", "none was asked for")
	_, err = read(backup.LatestOf("crm"))
	require.ErrorIs(t, err, backup.ErrNoSnapshot)
	run("crm", "old crm")
	run("crm", "crm")
	for _, id := range []string{backup.Latest, backup.LatestOf("crm")} {
		text, err := read(id)
		require.NoError(t, err)
		require.Equal(t, "crm", text)
	}
	run("logs", "logs")
	for job, want := range map[string]string{"crm": "crm", "logs": "logs"} {
		text, err := read(backup.LatestOf(job))
		require.NoError(t, err)
		require.Equal(t, want, text)
	}
	for _, id := range []string{backup.Latest, backup.LatestOf("other"), backup.LatestOf("")} {
		_, err = read(id)
		require.ErrorIs(t, err, backup.ErrNoSnapshot)
	}
	for what, ask := range map[string]func() error{
		"restore": func() error {
			_, err := repo.Restore(t.Context(), backup.Latest, filepath.Join(t.TempDir(), "x"))
			return err
		},
		"manifest": func() error { _, err := repo.Manifest(t.Context(), backup.Latest); return err },
	} {
		require.ErrorContains(t, ask(), `job "crm", job "logs"`, what)
	}

	// What another program put there is not of our job, and newer.
	alone := memoryRepos(t, fixedKey, backuptest.NewMemory("b"))
	repo, repos = alone[0], alone
	run("crm", "crm")
	_, err = backup.PutSnapshot(t.Context(), repo, func(save func(string, bool) string) string { return save(`{"nodes":[]}`, true) })
	require.NoError(t, err)
	_, err = read(backup.Latest)
	require.ErrorContains(t, err, "another program")
	text, err := read(backup.LatestOf("crm"))
	require.NoError(t, err)
	require.Equal(t, "crm", text)
}

package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// oneFile is a source of one file of one byte.
func oneFile(path string) backup.Source {
	return script{"s", func(_ context.Context, w *backup.Writer) error {
		return w.File(path, info{size: 1}, strings.NewReader("x"))
	}}
}

// What a limit allows is restored, and what lies beyond is refused before
// anything is committed.
func TestNothingIsCommittedThatOurReaderRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("a/", n) + "f" }
	for name, c := range map[string]struct {
		good, bad backup.Source
	}{
		"path":          {oneFile(deep(999)), oneFile(deep(1000))},
		"name":          {oneFile(strings.Repeat("n", 255)), oneFile(strings.Repeat("n", 256))},
		"name of bytes": {oneFile(strings.Repeat("客", 85)), oneFile(strings.Repeat("客", 86))},
		"folder": {script{"s", func(_ context.Context, w *backup.Writer) error {
			return w.Dir(strings.Repeat("a/", 998)+"a", info{mode: fs.ModeDir | 0o700})
		}}, script{"s", func(_ context.Context, w *backup.Writer) error {
			return w.Dir(strings.Repeat("a/", 999)+"a", info{mode: fs.ModeDir | 0o700})
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			repo, memory := memoryRepo(t)
			_, err := nightly([]*backup.Repository{repo}, c.bad).RunOnce(t.Context())
			require.ErrorIs(t, err, backup.ErrLimit)
			require.ErrorIs(t, err, backup.ErrSource)
			requireNothing(t, repo, memory)
			result := mustRun(t, nightly([]*backup.Repository{repo}, c.good))
			mustCheck(t, repo)
			if strings.Contains(name, "name") { // depth is checked by the same walk, and much faster
				_, err = repo.Restore(t.Context(), result.Snapshot, filepath.Join(t.TempDir(), "restored"))
				require.NoError(t, err)
			}
		})
	}
}

// A folder listing grows with its entries, and is one blob.
func TestAFolderOfTooManyFilesIsRefused(t *testing.T) {
	repo, memory := memoryRepo(t)
	_, err := nightly([]*backup.Repository{repo}, script{"s", func(_ context.Context, w *backup.Writer) error {
		rest := strings.Repeat("\x01", 249) // which a listing writes with five characters each
		for i := range 100_000 {
			if err := w.File(fmt.Sprintf("folder of Anna/%06d", i)+rest, info{size: 0}, strings.NewReader("")); err != nil {
				return err
			}
		}
		return nil
	}}).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrLimit)
	var source *backup.SourceError
	require.ErrorAs(t, err, &source)
	require.Equal(t, "folder of Anna", source.Path)
	require.NotContains(t, err.Error(), "Anna", "file names can be personal data")
	requireNothing(t, repo, memory)
}

func TestAManifestThatCannotBeReadIsNotCommitted(t *testing.T) {
	keyVersions := func(n int, count int64) func(context.Context) (map[string]map[uint32]int64, error) {
		return func(context.Context) (map[string]map[uint32]int64, error) {
			out := map[string]map[uint32]int64{}
			for i := range n {
				out[fmt.Sprintf("%01000d", i)] = map[uint32]int64{1: count}
			}
			return out, nil
		}
	}
	for name, c := range map[string]struct {
		change func(job *backup.Job)
		want   error
	}{
		"too long":       {func(j *backup.Job) { j.KeyVersions = keyVersions(17_000, 1) }, backup.ErrLimit},
		"a number":       {func(j *backup.Job) { j.KeyVersions = keyVersions(1, 1<<53) }, backup.ErrManifest},
		"text, no UTF-8": {func(j *backup.Job) { j.App = "\xff" }, backup.ErrManifest},
		"name of a table": {func(j *backup.Job) {
			j.Sources[0] = script{"s", func(_ context.Context, w *backup.Writer) error { return w.Table(backup.Table{Name: "\xff"}) }}
		}, backup.ErrManifest},
	} {
		t.Run(name, func(t *testing.T) {
			repo, memory := memoryRepo(t)
			job := nightly([]*backup.Repository{repo}, oneFile("a"))
			c.change(job)
			_, err := job.RunOnce(t.Context())
			require.ErrorIs(t, err, c.want)
			requireNothing(t, repo, memory)
		})
	}
	// A tagger that does not recognise its own tags: no restore would either.
	memory := backuptest.NewMemory("a")
	repos, err := backup.Create(t.Context(), backup.Config{Key: fixedKey, Manifests: forgetfulTagger{testTagger}}, memory)
	require.NoError(t, err)
	_, err = nightly(repos, oneFile("a")).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrManifest)
	requireNothing(t, repos[0], memory)
}

type forgetfulTagger struct{ tagger }

func (forgetfulTagger) Verify(context.Context, []byte, []byte) error { return errors.New("bad tag") }

// Content without end is read for as long as it was promised, and no longer.
func TestAFileWithoutEndIsNotReadOn(t *testing.T) {
	repo, memory := memoryRepo(t)
	_, err := nightly([]*backup.Repository{repo}, script{"s", func(_ context.Context, w *backup.Writer) error {
		return w.File("a", info{size: 1000}, endless{})
	}}).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrChanged)
	requireNothing(t, repo, memory)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// Many tiny files fill a pack by their number, long before their bytes do.
func TestManySmallFilesMakeReadablePacks(t *testing.T) {
	repo, memory := memoryRepo(t)
	mustRun(t, nightly([]*backup.Repository{repo}, script{"s", func(_ context.Context, w *backup.Writer) error {
		for i := range 25_000 {
			name := fmt.Sprintf("%08d", i)
			if err := w.File(name, info{size: 8}, strings.NewReader(name)); err != nil {
				return err
			}
		}
		return nil
	}}))
	require.Len(t, kinds(memory)["data"], 4, "three of data and one of listings")
	mustCheck(t, repo)
}

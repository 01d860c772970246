package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

func step() backup.Step {
	return backup.Step{Name: "replay", Run: func(context.Context, string) error { return nil }}
}

// restore restores the newest snapshot into a new folder.
func restore(t *testing.T, repo *backup.Repository, steps ...backup.Step) (*backup.RestoreReport, error) {
	t.Helper()
	return repo.Restore(t.Context(), backup.Latest, filepath.Join(t.TempDir(), "staging"), steps...)
}

func open(t *testing.T, store backup.Store, cfg backup.Config) *backup.Repository {
	t.Helper()
	repo, err := backup.Open(t.Context(), store, cfg)
	require.NoError(t, err)
	return repo
}

// TestAMachineKeyIsEnough backs up and restores with nothing but the key.
func TestAMachineKeyIsEnough(t *testing.T) {
	key, store := backup.NewMachineKey(), backuptest.NewMemory("a")
	repos, err := backup.Create(t.Context(), backup.Config{Key: key}, store)
	require.NoError(t, err)
	mustRun(t, nightly(repos, backup.Folder("files", smallTree(t))))

	repo := open(t, store, backup.Config{Key: key})
	mirror, err := repo.Mirror(t.Context(), backuptest.NewMemory("b"))
	require.NoError(t, err)
	mustRun(t, nightly([]*backup.Repository{repo, mirror}, backup.Folder("files", smallTree(t))))
	for _, r := range []*backup.Repository{repos[0], repo, mirror} {
		report, err := restore(t, r, step())
		require.NoError(t, err)
		require.True(t, report.Verified)
		check, err := r.Check(t.Context(), backup.ReadAll)
		require.NoError(t, err)
		require.Empty(t, check.Problems)
		require.Empty(t, check.NotRead)
	}
	_, err = restore(t, open(t, store, backup.Config{Key: key, Manifests: testTagger}))
	require.ErrorIs(t, err, backup.ErrManifest, "a manifest belongs to its tagger")
}

// eitherTagger tags with now and verifies with both.
type eitherTagger struct{ now, before backup.Tagger }

func (e eitherTagger) Tag(ctx context.Context, data []byte) ([]byte, error) {
	return e.now.Tag(ctx, data)
}

func (e eitherTagger) Verify(ctx context.Context, data, tag []byte) error {
	err := e.now.Verify(ctx, data, tag)
	if errors.Is(err, fs.ErrNotExist) {
		return e.before.Verify(ctx, data, tag)
	}
	return err
}

// TestManifestsMoveOnToAnotherTagger does what MachineKey.Manifests tells; the
// tagger of another key stands for that of a vault.
func TestManifestsMoveOnToAnotherTagger(t *testing.T) {
	key, store, vault := backup.NewMachineKey(), backuptest.NewMemory("a"), backup.NewMachineKey().Manifests()
	repos, err := backup.Create(t.Context(), backup.Config{Key: key}, store)
	require.NoError(t, err)
	first := mustRun(t, nightly(repos, backup.Folder("files", smallTree(t))))
	both := open(t, store, backup.Config{Key: key, Manifests: eitherTagger{vault, key.Manifests()}})
	second := mustRun(t, nightly([]*backup.Repository{both}, backup.Folder("files", smallTree(t))))
	for _, id := range []string{first.Snapshot, second.Snapshot} {
		report, err := both.Restore(t.Context(), id, filepath.Join(t.TempDir(), "staging"), step())
		require.NoError(t, err)
		require.True(t, report.Verified)
	}
	_, _, err = both.KeyHolders(t.Context(), "main", 7)
	require.NoError(t, err)

	// In a disaster the key may be all there is: the newer snapshot comes back,
	// unverified, and no step runs on it.
	alone := open(t, store, backup.Config{Key: key})
	report, err := restore(t, alone)
	require.NoError(t, err)
	require.Equal(t, second.Snapshot, report.Snapshot)
	require.False(t, report.Verified)
	require.Nil(t, report.Manifest)
	_, err = restore(t, alone, step())
	require.ErrorIs(t, err, backup.ErrManifest)
	require.ErrorContains(t, err, "another key")
	check, err := alone.Check(t.Context(), backup.ReadAll)
	require.NoError(t, err)
	require.Empty(t, check.Problems)
	require.Len(t, check.NotRead, 1)
	m, err := alone.Manifest(t.Context(), backup.Latest) // names the key copy that the vault needs
	require.NoError(t, err)
	require.Equal(t, "nightly", m.Job)

	// A tagger that was handed in is a demand.
	demanding := open(t, store, backup.Config{Key: key, Manifests: key.Manifests()})
	_, err = restore(t, demanding)
	require.ErrorIs(t, err, backup.ErrManifest)
	_, err = demanding.Manifest(t.Context(), backup.Latest)
	require.ErrorIs(t, err, backup.ErrManifest)
}

// A manifest that was changed is never taken for one of another tagger.
func TestAForgedManifestIsRefusedWithTheKeyAlone(t *testing.T) {
	repos, err := backup.Create(t.Context(), backup.Config{Key: fixedKey}, backuptest.NewMemory("a"))
	require.NoError(t, err)
	mustRun(t, nightly(repos, backup.Folder("files", smallTree(t))))
	fsys, err := repos[0].Files(t.Context(), backup.Latest)
	require.NoError(t, err)
	data, err := fs.ReadFile(fsys, ".crmguard/manifest.json")
	require.NoError(t, err)
	_, err = backup.DecodeManifest(t.Context(), data, fixedKey.Manifests())
	require.NoError(t, err)
	require.Contains(t, string(data), `"job":"nightly"`)
	data = bytes.Replace(data, []byte(`"job":"nightly"`), []byte(`"job":"weekly"`), 1)
	_, err = backup.DecodeManifest(t.Context(), data, fixedKey.Manifests())
	require.ErrorIs(t, err, backup.ErrManifest)
	require.ErrorContains(t, err, "does not verify")
}

func TestAPassphraseVouchesForNoManifest(t *testing.T) {
	repos, err := backup.Create(t.Context(), backup.Config{Key: backup.NewPassphrase("a password")}, backuptest.NewMemory("a"))
	require.NoError(t, err)
	_, err = nightly(repos, backup.Folder("files", smallTree(t))).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrConfig)
	_, err = restore(t, repos[0], step())
	require.ErrorIs(t, err, backup.ErrConfig, "no steps on data that nothing vouches for")
	require.Nil(t, backup.MachineKey{}.Manifests())
}

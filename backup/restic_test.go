package backup_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
)

// The foreign program agrees: what we write, restic checks and restores.
func TestResticChecksAndRestoresWhatWeWrite(t *testing.T) {
	source, a, b := t.TempDir(), filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	oddTree(t, source)
	key := backup.NewMachineKey()
	repos := create(t, key, a, b)
	first := mustRun(t, nightly(repos, backup.Folder("files", source)))
	write(t, filepath.Join(source, "later"), []byte("later"))
	mustRun(t, nightly(repos, backup.Folder("files", source)))

	require.Equal(t, tree(t, a), tree(t, b), "mirrored stores have identical bytes")
	for _, dir := range []string{a, b} {
		out := restic(t, dir, key.Password(), "check", "--read-data")
		require.Contains(t, out, "no errors were found")
		target := t.TempDir()
		restic(t, dir, key.Password(), "restore", "latest", "--target", target)
		require.Equal(t, tree(t, source), tree(t, filepath.Join(target, "files")))
		require.Contains(t, restic(t, dir, key.Password(), "dump", "latest", "/.crmguard/manifest.json"), `"job":"nightly"`)
		require.Contains(t, restic(t, dir, key.Password(), "snapshots", "--tag", "job:nightly"), first.Snapshot[:8])

		restored := filepath.Join(t.TempDir(), "restored")
		store, err := backup.Open(t.Context(), localStore(t, dir), config(key))
		require.NoError(t, err)
		report, err := store.Restore(t.Context(), backup.Latest, restored)
		require.NoError(t, err)
		require.True(t, report.Verified)
		require.Equal(t, tree(t, source), tree(t, filepath.Join(restored, "files")))
		require.NoError(t, backup.Opened(restored))
	}
	// restic maintains our repository, and we still read it.
	restic(t, a, key.Password(), "forget", "--keep-last", "1", "--prune")
	restic(t, a, key.Password(), "rebuild-index")
	repo, err := backup.Open(t.Context(), localStore(t, a), config(key))
	require.NoError(t, err)
	report, err := repo.Check(t.Context(), backup.ReadAll)
	require.NoError(t, err)
	require.Equal(t, 1, report.Snapshots)
}

func TestWeReadWhatResticWrote(t *testing.T) {
	const password = "a password of a person"
	source, dir := t.TempDir(), filepath.Join(t.TempDir(), "r")
	oddTree(t, source)
	require.NoError(t, os.Symlink("empty", filepath.Join(source, "link")))
	for _, version := range []string{"1", "2"} {
		dir := dir + version
		restic(t, dir, password, "init", "--repository-version", version)
		restic(t, dir, password, "backup", source)

		repo, err := backup.Open(t.Context(), localStore(t, dir), backup.Config{Key: backup.NewPassphrase(password)})
		require.NoError(t, err)
		report, err := repo.Check(t.Context(), backup.ReadAll)
		require.NoError(t, err)
		require.Positive(t, report.Blobs)
		target := filepath.Join(t.TempDir(), "restored")
		restored, err := repo.Restore(t.Context(), backup.Latest, target)
		require.NoError(t, err)
		require.False(t, restored.Verified, "there is no manifest to verify against")
		require.Equal(t, tree(t, source), tree(t, filepath.Join(target, source)))
	}
}

func TestResticAndWeShareARepository(t *testing.T) {
	const password = "another password"
	source, dir := t.TempDir(), filepath.Join(t.TempDir(), "r")
	write(t, filepath.Join(source, "f"), noise(3, 5<<20))
	restic(t, dir, password, "init")
	restic(t, dir, password, "backup", source)
	repo, err := backup.Open(t.Context(), localStore(t, dir), config(backup.NewPassphrase(password)))
	require.NoError(t, err)
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", source)))
	restic(t, dir, password, "backup", source)
	require.Contains(t, restic(t, dir, password, "check", "--read-data"), "no errors were found")
	snapshots, err := repo.Snapshots(t.Context())
	require.NoError(t, err)
	require.Len(t, snapshots, 3)
	report, err := repo.Check(t.Context(), backup.ReadAll)
	require.NoError(t, err)
	require.Len(t, report.NotRead, 2, "snapshots of another program have no manifest, and that is said")
}

// The program that we did not write respects our lock, and we leave none.
func TestResticHonoursOurLock(t *testing.T) {
	source, dir := smallTree(t), filepath.Join(t.TempDir(), "r")
	key := backup.NewMachineKey()
	repos := create(t, key, dir)
	mustRun(t, nightly(repos, backup.Folder("files", source)))
	restic(t, dir, key.Password(), "prune")
	mustRun(t, nightly(repos, &holding{backup.Folder("files", source), func() {
		cmd := exec.CommandContext(t.Context(), "restic", "-r", dir, "--no-cache", "prune")
		cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+key.Password())
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "already locked")
	}}))
	restic(t, dir, key.Password(), "prune")
}

// A prune moves blobs that somebody is just reading, without a lock: whoever
// has opened a snapshot that is kept reads on.
func TestReadingGoesOnBesideAPrune(t *testing.T) {
	source, dir := t.TempDir(), filepath.Join(t.TempDir(), "r")
	key := backup.NewMachineKey()
	write(t, filepath.Join(source, "a"), noise(1, 3<<20))
	write(t, filepath.Join(source, "b"), noise(2, 3<<20))
	repos := create(t, key, dir)
	first := mustRun(t, nightly(repos, backup.Folder("files", source)))
	require.NoError(t, os.Remove(filepath.Join(source, "a")))
	second := mustRun(t, nightly(repos, backup.Folder("files", source)))
	files, err := repos[0].Files(t.Context(), second.Snapshot)
	require.NoError(t, err)
	packs := only(t, filepath.Join(dir, "data"))
	restic(t, dir, key.Password(), "forget", first.Snapshot, "--prune", "--max-unused", "0")
	require.NotEqual(t, packs, only(t, filepath.Join(dir, "data")), "it moved what it kept")
	data, err := fs.ReadFile(files, "files/b")
	require.NoError(t, err)
	require.Equal(t, noise(2, 3<<20), data)
}

// Where one damaged file stops the other program altogether, we restore what
// it does not carry; once what Check names is gone, both are content.
func TestWeRestoreBesideDamageThatStopsRestic(t *testing.T) {
	source, dir := t.TempDir(), filepath.Join(t.TempDir(), "r")
	key := backup.NewMachineKey()
	repos := create(t, key, dir)
	write(t, filepath.Join(source, "f"), []byte("content"))
	result := mustRun(t, nightly(repos, backup.Folder("files", source)))
	restic(t, dir, key.Password(), "check", "--read-data")
	for _, folder := range []string{"snapshots", "index", "keys"} {
		write(t, filepath.Join(dir, folder, ".DS_Store"), []byte("x"))
		write(t, filepath.Join(dir, folder, backup.HashName([]byte("junk"))), []byte("junk"))
	}
	_, err := repos[0].Restore(t.Context(), result.Snapshot, filepath.Join(t.TempDir(), "x"))
	require.NoError(t, err)
	report, err := repos[0].Check(t.Context(), backup.ReadAll)
	require.ErrorIs(t, err, backup.ErrCorrupt)
	require.Len(t, report.Problems, 3)
	require.Len(t, report.Foreign, 3)
	for _, problem := range report.Problems {
		var file *backup.FileError
		require.ErrorAs(t, problem, &file)
		require.NoError(t, os.Remove(filepath.Join(dir, file.File)))
	}
	for _, foreign := range report.Foreign {
		name, _, _ := strings.Cut(foreign, ":")
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
	require.Contains(t, restic(t, dir, key.Password(), "check", "--read-data"), "no errors were found")
}

// frozen copies the repository of testdata, which must open.
func frozen(t *testing.T) (dir string, key backup.MachineKey) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "frozen")
	require.NoError(t, os.CopyFS(dir, os.DirFS("testdata/repository")))
	password, err := os.ReadFile("testdata/repository-password")
	require.NoError(t, err)
	key, err = backup.ParseMachineKey(strings.TrimSpace(string(password)))
	require.NoError(t, err)
	return dir, key
}

func TestFrozenRepositoryOpens(t *testing.T) {
	dir, key := frozen(t)
	before := tree(t, dir)
	repo, err := backup.Open(t.Context(), localStore(t, dir), backup.Config{Key: key, Manifests: tagger{"k"}})
	require.NoError(t, err)
	report, err := repo.Check(t.Context(), backup.ReadAll, "d4f909085103d2b08c9b2d078217a2b3afd973e94bf0da8c5ff7c2384d72fa1c")
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, []int{report.Snapshots, report.Packs})
	target := filepath.Join(t.TempDir(), "x")
	restored, err := repo.Restore(t.Context(), "d4f909085103", target, meeting()...)
	require.NoError(t, err)
	require.True(t, restored.Verified)
	require.Equal(t, before, tree(t, dir), "reading changes nothing")
	note, err := os.ReadFile(filepath.Join(target, "files", "客户", "note <1>.txt"))
	require.NoError(t, err)
	require.Equal(t, "Grüße\n", string(note))
	m := restored.Manifest
	require.Equal(t, "crm.example/audit/1\n7\nAAAA\n\n— crm.example/audit/1 AAAA\n", m.AuditCheckpoint)
	// Digests computed by a Python program.
	require.Equal(t, "bnsEZL439FTjN0miko17JStFGZlJZJ964y95o5p-R8Y", m.Sources[1].Digest)
	require.Equal(t, "CBjzESFdMUcL_wy2vhM7aZJyOIy7_lQ8IBOr3988sPY", m.Sources[2].Digest)
	require.Equal(t, "om4szJl74ACwAy8DJG6E9QMZA149nLjteFBXUL9KvL4", m.Sources[3].Digest)
	count, _, err := repo.KeyHolders(t.Context(), "main", 0x01020304)
	require.NoError(t, err)
	require.Equal(t, 1, count)

	require.Contains(t, restic(t, dir, key.Password(), "check", "--read-data"), "no errors were found")
	// What is written today still dedupes against it and lives beside it.
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", filepath.Join(target, "files"))))
	_, err = repo.Check(t.Context(), backup.ReadAll)
	require.NoError(t, err)
}

package backup_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// tinyRepo is a repository of a few kilobytes with every kind of file.
func tinyRepo(tb testing.TB) (*backuptest.Memory, backup.MachineKey, *backup.Result) {
	tb.Helper()
	key, dir, memory := backup.NewMachineKey(), tb.TempDir(), backuptest.NewMemory("a")
	write(tb, filepath.Join(dir, "a"), []byte("first"))
	write(tb, filepath.Join(dir, "sub", "b"), noise(7, 300))
	repos := memoryRepos(tb, key, memory)
	mustRun(tb, nightly(repos, backup.Folder("files", dir)))
	write(tb, filepath.Join(dir, "c"), []byte("third"))
	// A lock of another run that is under way.
	locks := map[string][]byte{}
	result := mustRun(tb, nightly(repos, &holding{backup.Folder("files", dir), func() {
		for name, data := range memory.Files() {
			if strings.HasPrefix(name, "locks/") {
				locks[name] = data
			}
		}
	}}))
	for name, data := range locks {
		memory.Set(name, data)
	}
	return memory, key, result
}

func kinds(memory *backuptest.Memory) map[string][]string {
	out := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(memory.Files())) {
		folder, _, _ := strings.Cut(name, "/")
		out[folder] = append(out[folder], name)
	}
	return out
}

func TestEverySingleBitFlipIsFound(t *testing.T) {
	memory, key, _ := tinyRepo(t)
	repo := reopen(t, key, memory)
	_, err := repo.Check(t.Context(), backup.ReadAll)
	require.NoError(t, err, "no false alarm")
	all := kinds(memory)
	require.Len(t, all, 6)
	for kind, names := range all {
		for _, name := range names {
			whole := memory.Files()[name]
			step := max(1, len(whole)/25)
			for i := range whole {
				if i%step != 0 && i >= 4 && i < len(whole)-4 {
					continue
				}
				flipped := slices.Clone(whole)
				flipped[i] ^= 1 << (i % 8)
				memory.Set(name, flipped)
				report, err := repo.Check(t.Context(), backup.ReadAll)
				require.ErrorIs(t, err, backup.ErrCorrupt, "%s byte %d", kind, i)
				var file *backup.FileError
				require.ErrorAs(t, report.Problems[0], &file)
				require.Equal(t, name, file.File)
			}
			memory.Set(name, whole)
		}
	}
	_, err = repo.Check(t.Context(), backup.ReadAll)
	require.NoError(t, err)
}

func TestTruncatedDeletedAndSwappedFilesAreFound(t *testing.T) {
	memory, key, result := tinyRepo(t)
	repo := reopen(t, key, memory)
	for kind, names := range kinds(memory) {
		for i, name := range names {
			whole := memory.Files()[name]
			other := memory.Files()[names[(i+1)%len(names)]]
			for what, data := range map[string][]byte{"truncated": whole[:len(whole)-1], "empty": {}, "longer": append(slices.Clone(whole), 0), "deleted": nil, "swapped": other} {
				if (what == "swapped" && len(names) == 1) || (what == "deleted" && kind == "locks") {
					continue // a lock may go at any time
				}
				memory.Set(name, data)
				known := []string{}
				if kind == "snapshots" {
					known = append(known, result.Snapshot, strings.TrimPrefix(name, "snapshots/"))
				}
				for _, depth := range []backup.Depth{backup.ReadAll, backup.Structure} {
					if depth == backup.Structure && what == "swapped" && len(other) == len(whole) {
						continue
					}
					_, err := repo.Check(t.Context(), depth, known...)
					require.ErrorIs(t, err, backup.ErrCorrupt, "%s %s, depth %d", what, name, depth)
				}
			}
			memory.Set(name, whole)
		}
	}
	memory.Set("index/readme.txt", []byte("x"))
	report, err := repo.Check(t.Context(), backup.Structure)
	require.NoError(t, err, "it harms nothing")
	require.Equal(t, []string{"index/readme.txt: a file that does not belong here"}, report.Foreign)
}

func TestStructureSaysWhatItDidNotRead(t *testing.T) {
	memory, key, result := tinyRepo(t)
	repo := reopen(t, key, memory)
	report, err := repo.Check(t.Context(), backup.Structure, result.Snapshot)
	require.NoError(t, err)
	require.Len(t, report.NotRead, 1)
	require.Contains(t, report.NotRead[0], "content of")
	full, err := repo.Check(t.Context(), backup.ReadAll, result.Snapshot)
	require.NoError(t, err)
	require.Empty(t, full.NotRead)
	var size int64
	for _, data := range memory.Files() {
		size += int64(len(data))
	}
	require.Equal(t, size, full.Bytes, "every byte of every file was read")
	require.Equal(t, 2, full.Snapshots)
	_, err = repo.Check(t.Context(), backup.Depth(7))
	require.ErrorIs(t, err, backup.ErrConfig)
}

// Nothing inside the repository shows that a whole snapshot is gone.
func TestADeletedSnapshotIsFoundOnlyFromOutside(t *testing.T) {
	memory, key, result := tinyRepo(t)
	memory.Set("snapshots/"+result.Snapshot, nil)
	repo := reopen(t, key, memory)
	_, err := repo.Check(t.Context(), backup.ReadAll)
	require.NoError(t, err)
	_, err = repo.Check(t.Context(), backup.ReadAll, result.Snapshot)
	require.ErrorIs(t, err, backup.ErrCorrupt)
	require.ErrorContains(t, err, result.Snapshot)
}

func TestWrongKeyAndDamageChangeNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	source := smallTree(t)
	key := backup.NewMachineKey()
	mustRun(t, nightly(create(t, key, dir), backup.Folder("files", source)))
	open := func(key backup.Key) error {
		repo, err := backup.Open(t.Context(), localStore(t, dir), config(key))
		if err == nil {
			_, err = repo.Restore(t.Context(), backup.Latest, filepath.Join(t.TempDir(), "x"))
		}
		return err
	}
	before := tree(t, dir)
	require.ErrorIs(t, open(backup.NewMachineKey()), backup.ErrPassword)
	require.ErrorContains(t, open(backup.NewMachineKey()), dir, "the error names the place")
	require.ErrorIs(t, open(backup.NewPassphrase("wrong")), backup.ErrPassword)
	require.ErrorIs(t, open(nil), backup.ErrConfig)
	require.NoError(t, open(backup.NewPassphrase(key.Password())), "the digits are the password")
	require.Equal(t, before, tree(t, dir))

	keys, err := os.ReadDir(filepath.Join(dir, "keys"))
	require.NoError(t, err)
	path := filepath.Join(dir, "keys", keys[0].Name())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, data[1:], 0o600))
	before = tree(t, dir)
	require.ErrorIs(t, open(key), backup.ErrCorrupt)
	require.NoError(t, os.Remove(path))
	require.ErrorIs(t, open(key), backup.ErrCorrupt)
	require.NotEqual(t, before, tree(t, dir))

	nowhere := filepath.Join(t.TempDir(), "nowhere")
	_, err = backup.Open(t.Context(), localStore(t, nowhere), config(key))
	require.ErrorIs(t, err, backup.ErrNoRepository)
	_, err = os.Stat(nowhere)
	require.ErrorIs(t, err, os.ErrNotExist)
}

package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// holding does something while a source is being read.
type holding struct {
	backup.Source
	during func()
}

func (h *holding) Snapshot(ctx context.Context, w *backup.Writer) error {
	h.during()
	return h.Source.Snapshot(ctx, w)
}

// script is a source that does what it is told.
type script struct {
	name string
	do   func(ctx context.Context, w *backup.Writer) error
}

func (s script) Name() string                                         { return s.name }
func (s script) Kind() string                                         { return "script" }
func (s script) Snapshot(ctx context.Context, w *backup.Writer) error { return s.do(ctx, w) }

type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Unix(1, 0) }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

var fixedKey, _ = backup.ParseMachineKey("010203" + strings.Repeat("00", 29))

func memoryRepo(tb testing.TB) (*backup.Repository, *backuptest.Memory) {
	tb.Helper()
	memory := backuptest.NewMemory("a")
	return memoryRepos(tb, fixedKey, memory)[0], memory
}

func requireNothing(t *testing.T, repo *backup.Repository, memory *backuptest.Memory) {
	t.Helper()
	snapshots, err := repo.Snapshots(context.Background())
	require.NoError(t, err)
	require.Empty(t, snapshots)
	for name := range memory.Files() {
		require.False(t, strings.HasPrefix(name, "locks/"), "the lock is removed on every path")
	}
}

func TestAFailedSourceMakesNoSnapshot(t *testing.T) {
	boom := errors.New("boom")
	for name, do := range map[string]func(ctx context.Context, w *backup.Writer) error{
		"error": func(context.Context, *backup.Writer) error { return boom },
		"error after files": func(_ context.Context, w *backup.Writer) error {
			return errors.Join(w.File("a", info{size: 1}, strings.NewReader("x")), boom)
		},
		"error of the reader": func(_ context.Context, w *backup.Writer) error {
			return w.File("a", info{size: 100}, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(boom)))
		},
		"swallowed error of the reader": func(_ context.Context, w *backup.Writer) error {
			_ = w.File("a", info{size: 1}, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(boom)))
			return nil
		},
		"shorter": func(_ context.Context, w *backup.Writer) error {
			return w.File("a", info{size: 2}, strings.NewReader("x"))
		},
		"longer": func(_ context.Context, w *backup.Writer) error {
			return w.File("a", info{size: 0}, strings.NewReader("x"))
		},
		"parent":     func(_ context.Context, w *backup.Writer) error { return w.File("../a", info{}, strings.NewReader("")) },
		"absolute":   func(_ context.Context, w *backup.Writer) error { return w.File("/a", info{}, strings.NewReader("")) },
		"dot":        func(_ context.Context, w *backup.Writer) error { return w.File("a/./b", info{}, strings.NewReader("")) },
		"NUL":        func(_ context.Context, w *backup.Writer) error { return w.File("a\x00", info{}, strings.NewReader("")) },
		"not a file": func(_ context.Context, w *backup.Writer) error { return w.File("a", info{mode: fs.ModeSymlink}, nil) },
		"bad folder": func(_ context.Context, w *backup.Writer) error { return w.Dir("..", info{mode: fs.ModeDir}) },
		"no table":   func(_ context.Context, w *backup.Writer) error { return w.Table(backup.Table{}) },
		"out of order": func(_ context.Context, w *backup.Writer) error {
			return errors.Join(w.File("b", info{}, strings.NewReader("")), w.File("a", info{}, strings.NewReader("")))
		},
		"twice": func(_ context.Context, w *backup.Writer) error {
			return errors.Join(w.File("a", info{}, strings.NewReader("")), w.File("a", info{}, strings.NewReader("")))
		},
		"file and folder": func(_ context.Context, w *backup.Writer) error {
			return errors.Join(w.File("a", info{}, strings.NewReader("")), w.File("a/b", info{}, strings.NewReader("")))
		},
		"file then Dir": func(_ context.Context, w *backup.Writer) error {
			return errors.Join(w.File("a", info{}, strings.NewReader("")), w.Dir("a", info{mode: fs.ModeDir}))
		},
		"folder then file": func(_ context.Context, w *backup.Writer) error {
			return errors.Join(w.Dir("a", info{mode: fs.ModeDir}), w.File("a", info{}, strings.NewReader("")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			repo, memory := memoryRepo(t)
			good := backup.Folder("good", smallTree(t))
			result, err := nightly([]*backup.Repository{repo}, good, script{"bad", do}).RunOnce(t.Context())
			require.Nil(t, result)
			require.ErrorIs(t, err, backup.ErrSource)
			var source *backup.SourceError
			require.ErrorAs(t, err, &source)
			require.Equal(t, "bad", source.Source)
			requireNothing(t, repo, memory)
		})
	}
}

func TestAWriterDoesNotOutliveItsSource(t *testing.T) {
	repo, _ := memoryRepo(t)
	var kept *backup.Writer
	mustRun(t, nightly([]*backup.Repository{repo}, script{"s", func(_ context.Context, w *backup.Writer) error {
		kept = w
		return nil
	}}))
	require.Error(t, kept.File("a", info{}, strings.NewReader("")))
	require.Error(t, kept.Dir("a", info{}))
	require.Error(t, kept.Table(backup.Table{Name: "x"}))
}

func TestFolderRefusesWhatItCannotHold(t *testing.T) {
	repo, memory := memoryRepo(t)
	dir := smallTree(t)
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link of Anna")))
	_, err := nightly([]*backup.Repository{repo}, backup.Folder("files", dir)).RunOnce(t.Context())
	var source *backup.SourceError
	require.ErrorAs(t, err, &source)
	require.Equal(t, "link of Anna", source.Path)
	require.NotContains(t, err.Error(), "Anna", "file names can be personal data")
	requireNothing(t, repo, memory)
	_, err = nightly([]*backup.Repository{repo}, backup.Folder("files", filepath.Join(dir, "nothing of Anna"))).RunOnce(t.Context())
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotContains(t, err.Error(), "Anna")
}

// A file that changes under the reader's hands makes the snapshot impossible.
func TestAFileThatChangesWhileReadIsDetected(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string){
		"grown": func(t *testing.T, path string) { t.Helper(); appendTo(t, path, "more") },
		"rewritten": func(t *testing.T, path string) {
			t.Helper()
			write(t, path, noise(99, 4<<20))
			require.NoError(t, os.Chtimes(path, time.Now(), time.Now().Add(time.Second)))
		},
		"shrunk":  func(t *testing.T, path string) { t.Helper(); require.NoError(t, os.Truncate(path, 5)) },
		"deleted": func(t *testing.T, path string) { t.Helper(); require.NoError(t, os.Remove(path)) },
		"replaced": func(t *testing.T, path string) {
			t.Helper()
			stat, err := os.Stat(path)
			require.NoError(t, err)
			write(t, path+".new", noise(3, 40<<20))
			require.NoError(t, os.Chtimes(path+".new", stat.ModTime(), stat.ModTime()))
			require.NoError(t, os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			write(t, path, noise(3, 40<<20)) // the first pack is written while the file is being read
			memory := backuptest.NewMemory("a")
			hooked := &onFirstPack{Memory: memory, do: func() { change(t, path) }}
			repo := memoryRepos(t, backup.NewMachineKey(), hooked)[0]
			_, err := nightly([]*backup.Repository{repo}, backup.Folder("files", dir)).RunOnce(t.Context())
			require.ErrorIs(t, err, backup.ErrChanged)
			requireNothing(t, repo, memory)
		})
	}
}

type onFirstPack struct {
	*backuptest.Memory
	do func()
}

func (o *onFirstPack) Put(ctx context.Context, name string, data []byte) error {
	if strings.HasPrefix(name, "data/") && o.do != nil {
		o.do()
		o.do = nil
	}
	return o.Memory.Put(ctx, name, data)
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, errors.Join(err, f.Close()))
}

func TestNoKeyCopyNoSnapshot(t *testing.T) {
	repo, memory := memoryRepo(t)
	job := nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t)))
	job.Positions.Keys = func(context.Context) ([]byte, error) { return []byte(`{"epoch":1,"sequence":7,"store":"s"}`), nil }
	_, err := job.RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrConfig, "a position needs a check of its copy")
	covered := false
	job.KeyCopy = func(_ context.Context, position []byte) error {
		require.Contains(t, string(position), `"sequence":7`)
		if !covered {
			return errors.New("the newest copy has sequence 6")
		}
		return nil
	}
	result, err := job.RunOnce(t.Context())
	require.Nil(t, result)
	require.ErrorIs(t, err, backup.ErrKeyCopy)
	requireNothing(t, repo, memory)
	covered = true
	mustRun(t, job)
}

// The manifest is what formats.md says, computed here by other code.
func TestManifest(t *testing.T) {
	repo, _ := memoryRepo(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "b"), []byte("one"))
	write(t, filepath.Join(dir, "a-b"), []byte("two")) // sorts before a/b
	var order []string
	head := func(name, value string) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) {
			order = append(order, name)
			return []byte(value), nil
		}
	}
	job := nightly([]*backup.Repository{repo}, &holding{backup.Folder("files", dir), func() { order = append(order, "source") }})
	job.Now = func() time.Time { return time.Date(2026, 11, 22, 1, 2, 3, 4_005_999, time.FixedZone("x", 3600)) }
	job.Positions = backup.Positions{Keys: head("keys", `{"epoch":1}`), Ledger: head("ledger", `{"n":3}`), Trail: head("trail", "crm/1\n7\nabc\n\n— sig\n")}
	job.KeyCopy = func(context.Context, []byte) error {
		order = append(order, "copy")
		return nil
	}
	counts := int64(0)
	job.KeyVersions = func(context.Context) (map[string]map[uint32]int64, error) {
		order = append(order, "key versions")
		counts++
		return map[string]map[uint32]int64{"main": {4294967295: 5 - counts, 7: counts, 9: 0}}, nil
	}
	result := mustRun(t, job)
	require.Equal(t, []string{"ledger", "trail", "key versions", "source", "key versions", "keys", "copy"}, order)

	fsys, err := repo.Files(t.Context(), backup.Latest)
	require.NoError(t, err)
	data, err := fs.ReadFile(fsys, ".crmguard/manifest.json")
	require.NoError(t, err)
	lp := func(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }
	sum := sha256.Sum256([]byte(lp("a-b") + "\x00\x00\x00\x00\x00\x00\x00\x03two" + lp("a/b") + "\x00\x00\x00\x00\x00\x00\x00\x03one"))
	digest, err := testTagger.Tag(t.Context(), append([]byte(lp("crmguard/manifest/rows/v1")), sum[:]...))
	require.NoError(t, err)
	plain := `{"app":"1.0","audit_checkpoint":"crm/1\n7\nabc\n\n— sig\n","chunker":{"max":8388608,"min":524288,"name":"fastcdc-v1.0.0","normal":1048576},` +
		`"generations":[{"count":2,"generation":7,"tenant":"main"},{"count":4,"generation":4294967295,"tenant":"main"}],` +
		`"job":"nightly","key_position":"{\"epoch\":1}","ledger_head":"{\"n\":3}",`
	rest := `"schema":"7","sources":[{"digest":"` + base64.RawURLEncoding.EncodeToString(digest) + `","kind":"folder","name":"files","rows":2}],"started":"2026-11-22T00:02:03.004005Z","v":1}`
	mac, err := testTagger.Tag(t.Context(), []byte(lp("crmguard/manifest/v1")+plain+rest))
	require.NoError(t, err)
	require.Equal(t, plain+`"mac":"`+base64.RawURLEncoding.EncodeToString(mac)+`",`+rest, string(data))
	full := sha256.Sum256(data)
	require.Equal(t, result.Manifest, hex.EncodeToString(full[:]))

	m, err := repo.Manifest(t.Context(), result.Snapshot[:8])
	require.NoError(t, err)
	require.EqualValues(t, 4294967295, m.KeyVersions[1].KeyVersion)
	count, where, err := repo.KeyHolders(t.Context(), "main", 7)
	require.NoError(t, err)
	require.Equal(t, 1, count)
	require.Contains(t, where, result.Snapshot[:8])
	for _, none := range []uint32{8, 9} {
		count, where, err = repo.KeyHolders(t.Context(), "main", none)
		require.NoError(t, err)
		require.Zero(t, count)
		require.Empty(t, where)
	}
	_, _, err = repo.KeyHolders(t.Context(), "", 7)
	require.ErrorIs(t, err, backup.ErrConfig)
}

// A key version that is asked for while a backup runs: the values may be read
// already, although no snapshot says so yet. Its destruction must wait.
func TestARunningBackupHoldsEveryKeyVersion(t *testing.T) {
	repo, _ := memoryRepo(t)
	keyVersions := map[string]map[uint32]int64{"main": {7: 3}}
	ask := func(keyVersion uint32) (int, string) {
		count, where, err := repo.KeyHolders(context.Background(), "main", keyVersion)
		require.NoError(t, err)
		return count, where
	}
	job := nightly([]*backup.Repository{repo}, script{"s", func(context.Context, *backup.Writer) error {
		keyVersions = map[string]map[uint32]int64{"main": {8: 3}} // all was resealed meanwhile
		count, where := ask(7)
		require.Equal(t, 1, count)
		require.Contains(t, where, "running")
		return nil
	}})
	job.KeyVersions = func(context.Context) (map[string]map[uint32]int64, error) { return keyVersions, nil }
	count, _ := ask(7)
	require.Zero(t, count, "nothing runs yet")
	mustRun(t, job)
	for _, keyVersion := range []uint32{7, 8} {
		count, where := ask(keyVersion)
		require.Equal(t, 1, count, "the snapshot holds both")
		require.Contains(t, where, "snapshots")
	}
	count, _ = ask(9)
	require.Zero(t, count)
}

func TestManifestsOfOthersAreRefused(t *testing.T) {
	repo, memory := memoryRepo(t)
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
	fsys, err := repo.Files(t.Context(), backup.Latest)
	require.NoError(t, err)
	data, err := fs.ReadFile(fsys, ".crmguard/manifest.json")
	require.NoError(t, err)
	_, err = backup.DecodeManifest(t.Context(), data, testTagger)
	require.NoError(t, err)
	_, err = backup.DecodeManifest(t.Context(), data, tagger{"another"})
	require.ErrorIs(t, err, backup.ErrManifest)
	for _, edit := range []string{`"rows":2|"rows":3`, `"v":1|"v":2`, `"job"|"jab"`, `"app":"1.0",|`, `{"app"|{ "app"`, `"started":"|"started":"x`, `"v":1}|"v":1,"z":1}`} {
		from, to, _ := strings.Cut(edit, "|")
		forged := bytes.Replace(data, []byte(from), []byte(to), 1)
		require.NotEqual(t, data, forged)
		_, err = backup.DecodeManifest(t.Context(), forged, testTagger)
		require.ErrorIs(t, err, backup.ErrManifest, edit)
	}
	// Another installation's tagger: the snapshot does not restore.
	other, err := backup.Open(t.Context(), memory, backup.Config{Key: fixedKey, Manifests: tagger{"another"}})
	require.NoError(t, err)
	_, err = other.Restore(t.Context(), backup.Latest, filepath.Join(t.TempDir(), "x"))
	require.ErrorIs(t, err, backup.ErrManifest)
	count, where, err := other.KeyHolders(t.Context(), "main", 1)
	require.NoError(t, err)
	require.Equal(t, 1, count, "nobody knows what it needs, so it needs everything")
	require.Contains(t, where, "no manifest that verifies")
	report, err := other.Check(t.Context(), backup.Structure)
	require.ErrorIs(t, err, backup.ErrCorrupt)
	var file *backup.FileError
	require.ErrorAs(t, report.Problems[0], &file)
	require.ErrorIs(t, file, backup.ErrManifest)
	require.True(t, strings.HasPrefix(file.File, "snapshots/"), file.File)
}

func TestAManifestKeepsUnknownMembersVerified(t *testing.T) {
	plain := `{"future":["x"],"started":"2026-11-22T00:02:03.004005Z","v":1}`
	lp := binary.BigEndian.AppendUint32(nil, 20)
	mac, err := testTagger.Tag(t.Context(), []byte(string(lp)+"crmguard/manifest/v1"+plain))
	require.NoError(t, err)
	with := `{"future":["x"],"mac":"` + base64.RawURLEncoding.EncodeToString(mac) + `","started":"2026-11-22T00:02:03.004005Z","v":1}`
	_, err = backup.DecodeManifest(t.Context(), []byte(with), testTagger)
	require.NoError(t, err)
	_, err = backup.DecodeManifest(t.Context(), []byte(strings.Replace(with, `["x"]`, `["y"]`, 1)), testTagger)
	require.ErrorIs(t, err, backup.ErrManifest)
}

func TestJobRefusesWhatItCannotKeep(t *testing.T) {
	repo, _ := memoryRepo(t)
	other, _ := memoryRepo(t)
	bare, err := backup.Create(t.Context(), backup.Config{Key: backup.NewPassphrase("nobody derives a tagger from this")}, backuptest.NewMemory("bare"))
	require.NoError(t, err)
	folder := backup.Folder("files", smallTree(t))
	repos := []*backup.Repository{repo}
	for name, job := range map[string]*backup.Job{
		"no name": {Repositories: repos, Sources: []backup.Source{folder}}, "bad name": {Name: "a,b", Repositories: repos, Sources: []backup.Source{folder}},
		"no store": {Name: "a", Sources: []backup.Source{folder}}, "no source": {Name: "a", Repositories: repos},
		"other repository": nightly([]*backup.Repository{repo, other}, folder), "same store twice": nightly([]*backup.Repository{repo, repo}, folder),
		"no tagger": nightly(bare, folder), "source twice": nightly(repos, folder, folder),
		"bad source": nightly(repos, backup.Folder("../x", "/")), "own folder": nightly(repos, backup.Folder(".crmguard", "/")), "nil source": nightly(repos, nil),
	} {
		_, err := job.RunOnce(t.Context())
		require.ErrorIs(t, err, backup.ErrConfig, name)
	}
	for name, head := range map[string]func(context.Context) ([]byte, error){
		"error": func(context.Context) ([]byte, error) { return nil, errors.New("ledger unreachable") },
		"empty": func(context.Context) ([]byte, error) { return nil, nil },
		"bytes": func(context.Context) ([]byte, error) { return []byte{0xff}, nil },
	} {
		job := nightly(repos, folder)
		job.Positions.Ledger = head
		_, err := job.RunOnce(t.Context())
		require.ErrorIs(t, err, backup.ErrSource, name)
	}
	for name, count := range map[string]func(context.Context) (map[string]map[uint32]int64, error){
		"error": func(context.Context) (map[string]map[uint32]int64, error) { return nil, errors.New("x") },
		"empty": func(context.Context) (map[string]map[uint32]int64, error) {
			return map[string]map[uint32]int64{"": {1: 1}}, nil
		},
	} {
		job := nightly(repos, folder)
		job.KeyVersions = count
		_, err := job.RunOnce(t.Context())
		require.ErrorIs(t, err, backup.ErrSource, name)
	}
	snapshots, err := repo.Snapshots(t.Context())
	require.NoError(t, err)
	require.Empty(t, snapshots)
}

func TestAnIDThatNamesNoSnapshot(t *testing.T) {
	repo, _ := memoryRepo(t)
	result := mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
	for _, id := range []string{"", "zzzzzz", result.Snapshot[:5], strings.Repeat("0", 64)} {
		_, err := repo.Manifest(t.Context(), id)
		require.ErrorIs(t, err, backup.ErrNoSnapshot)
	}
}

func TestLocksAreRemovedWhateverHappens(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	repo, memory := memoryRepo(t)
	_, err := nightly([]*backup.Repository{repo}, script{"s", func(ctx context.Context, _ *backup.Writer) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}}).RunOnce(ctx)
	require.ErrorIs(t, err, context.Canceled)
	requireNothing(t, repo, memory)
}

// The lock is there while a source is read, and is renewed before the restic
// program would take it for stale.
func TestTheLockIsRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repo, memory := memoryRepo(t)
		locks := func() (names []string) {
			for name := range memory.Files() {
				if strings.HasPrefix(name, "locks/") {
					names = append(names, name)
				}
			}
			return names
		}
		mustRun(t, nightly([]*backup.Repository{repo}, script{"s", func(context.Context, *backup.Writer) error {
			first := locks()
			require.Len(t, first, 1)
			time.Sleep(26 * time.Minute)
			synctest.Wait()
			later := locks()
			require.Len(t, later, 1)
			require.NotEqual(t, first, later)
			return nil
		}}))
		require.Empty(t, locks())
	})
}

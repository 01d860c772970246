package backup_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/localstore"
)

// tagger stands for vault.ManifestTagger().
type tagger struct{ key string }

func (t tagger) Tag(_ context.Context, data []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, []byte(t.key))
	mac.Write(data)
	return mac.Sum(nil), nil
}

func (t tagger) Verify(ctx context.Context, data, tag []byte) error {
	want, err := t.Tag(ctx, data)
	if err != nil || !hmac.Equal(want, tag) {
		return errors.New("bad tag")
	}
	return nil
}

var testTagger = tagger{key: "installation"}

func config(key backup.Key) backup.Config {
	return backup.Config{Key: key, Manifests: testTagger}
}

func localStore(tb testing.TB, dir string) *localstore.Store {
	tb.Helper()
	store, err := localstore.Open(dir)
	require.NoError(tb, err)
	return store
}

// create makes a repository in each of the folders.
func create(tb testing.TB, key backup.Key, dirs ...string) []*backup.Repository {
	tb.Helper()
	stores := make([]backup.Store, 0, len(dirs))
	for _, dir := range dirs {
		stores = append(stores, localStore(tb, dir))
	}
	repos, err := backup.Create(tb.Context(), config(key), stores...)
	require.NoError(tb, err)
	return repos
}

func nightly(repos []*backup.Repository, sources ...backup.Source) *backup.Job {
	return &backup.Job{Name: "nightly", Repositories: repos, Sources: sources, App: "1.0", Schema: "7"}
}

// meeting stands for the steps that an application hands in.
func meeting() []backup.Step {
	var steps []backup.Step
	for _, need := range []backup.Need{backup.NeedKeys, backup.NeedIndexes, backup.NeedTrail, backup.NeedLedger} {
		steps = append(steps, backup.Step{Name: string(need), Meets: need, Run: func(context.Context, string) error { return nil }})
	}
	return steps
}

func mustRun(tb testing.TB, job *backup.Job) *backup.Result {
	tb.Helper()
	result, err := job.RunOnce(tb.Context())
	require.NoError(tb, err)
	return result
}

// noise is n bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	out := make([]byte, n)
	_, _ = source.Read(out)
	return out
}

func write(tb testing.TB, path string, data []byte) {
	tb.Helper()
	require.NoError(tb, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(tb, os.WriteFile(path, data, 0o600))
}

// oddTree fills dir with the files that break careless writers.
func oddTree(tb testing.TB, dir string) {
	tb.Helper()
	write(tb, filepath.Join(dir, "empty"), nil)
	write(tb, filepath.Join(dir, "zero.bin"), make([]byte, 3<<20))
	write(tb, filepath.Join(dir, "big.bin"), noise(1, 20<<20))
	write(tb, filepath.Join(dir, "copy of big.bin"), noise(1, 20<<20))
	write(tb, filepath.Join(dir, "text.csv"), bytes.Repeat([]byte("Müller;Zürich;+41 44 668 18 00\r\n"), 40_000))
	for i := range 300 {
		write(tb, filepath.Join(dir, "small", strings.Repeat("x", i%40)+string(rune('a'+i%26)), "f"+time.Duration(i).String()), noise(uint64(i), i))
	}
	for _, name := range []string{
		"客户 资料.txt", "naïve", "nai\u0308ve", "new\nline", `quote"back\slash`, "<html>&amp;", " leading", "trailing ",
		"-dash", "a", "a-b", "a.b", "tab\tbell\a", "\u2028", "emoji 👩‍👩‍👧", "percent%2F", "*?[]", "invalid\xff\xfeutf8",
	} {
		write(tb, filepath.Join(dir, "odd", name, "inner"), []byte(name))
		write(tb, filepath.Join(dir, "odd", name+".f"), []byte(name))
	}
	write(tb, filepath.Join(dir, "deep", strings.Repeat("d/", 60), "bottom"), []byte("deep"))
	require.NoError(tb, os.MkdirAll(filepath.Join(dir, "void", "nothing"), 0o750))
}

// tree reads a folder of the disk: path to content, folders with a slash.
func tree(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	require.NoError(tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(tb, err)
		rel, err := filepath.Rel(dir, path)
		require.NoError(tb, err)
		switch {
		case d.IsDir():
			out[rel+"/"] = ""
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			require.NoError(tb, err)
			sum := sha256.Sum256(data)
			out[rel] = string(sum[:])
		default:
			target, err := os.Readlink(path)
			require.NoError(tb, err)
			out[rel] = "-> " + target
		}
		return nil
	}))
	return out
}

// restic runs the restic program, or skips the test when there is none.
func restic(tb testing.TB, repo, password string, args ...string) string {
	tb.Helper()
	program, err := exec.LookPath("restic")
	if err != nil {
		tb.Skip("SKIPPED: the restic program is not installed, so nobody else agrees with our format here")
	}
	cmd := exec.CommandContext(tb.Context(), program, append([]string{"-r", repo, "--no-cache"}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "RESTIC_CACHE_DIR="+tb.TempDir())
	out, err := cmd.CombinedOutput()
	require.NoError(tb, err, "restic %v: %s", args, out)
	return string(out)
}

// only lists the files below a folder, and no folders.
func only(t *testing.T, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	}))
	return names
}

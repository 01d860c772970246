package backup_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// yielding is a store that lets others run before each operation.
type yielding struct{ backup.Store }

func (y yielding) Put(ctx context.Context, name string, data []byte) error {
	runtime.Gosched()
	return y.Store.Put(ctx, name, data)
}

func (y yielding) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	runtime.Gosched()
	return y.Store.Read(ctx, name, offset, limit)
}

func (y yielding) List(ctx context.Context, folder string) iter.Seq2[backup.Info, error] {
	runtime.Gosched()
	return y.Store.List(ctx, folder)
}

// text is a source of a file of its own and one that others hold, too.
func text(own, shared string) backup.Source {
	return script{"s", func(_ context.Context, w *backup.Writer) error {
		for _, f := range [][2]string{{"own", own}, {"shared", shared}} {
			if err := w.File(f[0], info{size: int64(len(f[1]))}, strings.NewReader(f[1])); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Two jobs at a time in one repository, 200 times, in two stores that both
// keep level or in one that the other job levels afterwards: no job fails for
// what the other one has half written, and both snapshots restore.
func TestTwoJobsAtOnce(t *testing.T) {
	for repetition := range 10 {
		a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
		memoryRepos(t, fixedKey, a, b)
		open := func(stores ...*backuptest.Memory) (repos []*backup.Repository) {
			for _, s := range stores {
				repos = append(repos, reopen(t, fixedKey, yielding{s}))
			}
			return repos
		}
		jobs := [][]*backup.Repository{open(a, b), open(b, a)}
		if repetition%2 == 1 {
			jobs[1] = open(b)
		}
		for round := range 20 {
			results, errs := make([]*backup.Result, len(jobs)), make([]error, len(jobs))
			var all sync.WaitGroup
			for i, repos := range jobs {
				all.Go(func() {
					source := text(fmt.Sprint(i, repetition, round), fmt.Sprint(repetition, round))
					job := &backup.Job{Name: "job" + strconv.Itoa(i), Repositories: repos, Sources: []backup.Source{source}}
					results[i], errs[i] = job.RunOnce(t.Context())
				})
			}
			all.Wait()
			for i, result := range results {
				require.NoError(t, errs[i], "round %d", round)
				for n, store := range result.Stores {
					require.Empty(t, store.Problems, "round %d", round)
					files := content(t, jobs[i][n], result.Snapshot)
					require.Equal(t, map[string]string{"s/own": fmt.Sprint(i, repetition, round), "s/shared": fmt.Sprint(repetition, round)}, files)
				}
			}
		}
		// What one of them left to level is levelled by the next.
		mustRun(t, nightly(open(a, b), text("last", "last")))
		require.Equal(t, kinds(a)["snapshots"], kinds(b)["snapshots"])
		require.Len(t, kinds(a)["snapshots"], 41)
		for _, store := range open(a, b) {
			mustCheck(t, store)
		}
	}
}

// The same with two processes and folders of a disk; the foreign program
// agrees at the end.
func TestTwoProcessesBackUpAtOnce(t *testing.T) {
	if asChild(func(line string) error {
		dir, own, _ := strings.Cut(line, "|")
		var repos []*backup.Repository
		for _, name := range []string{"a", "b"} {
			repo, err := backup.Open(context.Background(), localStore(t, filepath.Join(dir, name)), config(fixedKey))
			if err != nil {
				return err
			}
			repos = append(repos, repo)
		}
		_, err := nightly(repos, text(own, line)).RunOnce(context.Background())
		return err
	}) {
		return
	}
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	repos := create(t, fixedKey, a, b)
	children := []*child{startChild(t), startChild(t)}
	for round := range 10 {
		for i, c := range children {
			c.tell(t, fmt.Sprintf("%s|%d of %d", dir, round, i))
		}
		for _, c := range children {
			require.Equal(t, `"<nil>"`, c.answer(t), "round %d", round)
		}
	}
	for i, repo := range repos {
		snapshots, err := repo.Snapshots(t.Context())
		require.NoError(t, err)
		require.Len(t, snapshots, 20)
		for _, s := range snapshots {
			_, err := repo.Restore(t.Context(), s.ID, filepath.Join(t.TempDir(), "restored"))
			require.NoError(t, err)
		}
		mustCheck(t, repo)
		require.Contains(t, restic(t, []string{a, b}[i], fixedKey.Password(), "check", "--read-data"), "no errors were found")
	}
}

// child is this test once more, in a process of its own, which does what it
// does with every line it reads and answers with one.
type child struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

const childEnv = "CRMGUARD_BACKUP_TEST_CHILD"

// asChild returns false in the parent. In a child it answers until its input
// ends.
func asChild(answer func(line string) error) bool {
	if os.Getenv(childEnv) == "" {
		return false
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Printf("answer: %q\n", fmt.Sprint(answer(lines.Text())))
	}
	return true
}

func startChild(t *testing.T) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &child{in: in, out: bufio.NewScanner(out)}
}

func (c *child) tell(t *testing.T, line string) {
	t.Helper()
	_, err := io.WriteString(c.in, line+"\n")
	require.NoError(t, err)
}

func (c *child) answer(t *testing.T) string {
	t.Helper()
	for c.out.Scan() {
		if text, ok := strings.CutPrefix(c.out.Text(), "answer: "); ok {
			return text
		}
	}
	require.FailNow(t, "the other process ended")
	return ""
}

package backup_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/sqlitesource"
)

var (
	killRounds = flag.Int("kill.rounds", 30, "how often a job is killed")
	killSeed   = flag.Uint64("kill.seed", 1, "which moments are drawn")
)

// killBench is a folder in which jobs run that get killed: a live database, a
// folder of files, a staging folder and two stores.
type killBench struct {
	dir string
	key backup.MachineKey
	out io.Writer // where a child tells how far it is
}

const (
	killDir      = "CRMGUARD_TEST_KILL_DIR"
	killPassword = "CRMGUARD_TEST_KILL_PASSWORD"
	killRound    = "CRMGUARD_TEST_KILL_ROUND"
)

func (b killBench) path(name string) string { return filepath.Join(b.dir, name) }

func (b killBench) stores() []string { return []string{b.path("a"), b.path("b")} }

// at is the clock of a round: locks of the round before are stale by then.
func at(round float64) func() time.Time {
	return func() time.Time { return time.Unix(1_700_000_000, 0).Add(time.Duration(round * float64(time.Hour))) }
}

// telling prints a line before each operation, so that whoever kills the
// process can count how far it came.
type telling struct {
	backup.Store
	out io.Writer
}

func (s telling) tell() { fmt.Fprintln(s.out, "storing") }

func (s telling) Put(ctx context.Context, name string, data []byte) error {
	s.tell()
	return s.Store.Put(ctx, name, data)
}

func (s telling) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	s.tell()
	return s.Store.Read(ctx, name, offset, limit)
}

func (s telling) List(ctx context.Context, folder string) iter.Seq2[backup.Info, error] {
	s.tell()
	return s.Store.List(ctx, folder)
}

func (s telling) Delete(ctx context.Context, name string) error {
	s.tell()
	return s.Store.Delete(ctx, name)
}

// run sets the sources to state n and backs them up.
func (b killBench) run(t *testing.T, n int, now func() time.Time) (*backup.Result, error) {
	t.Helper()
	db, err := sql.Open("sqlite", b.path("live.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `CREATE TABLE IF NOT EXISTS contacts (id INTEGER PRIMARY KEY, n INTEGER, email_idx INTEGER) STRICT`)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `WITH RECURSIVE c(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM c WHERE i < 2000)
INSERT OR REPLACE INTO contacts SELECT i, ?, 748043624 FROM c`, n)
	require.NoError(t, err)
	for name, data := range killFiles(n) {
		write(t, filepath.Join(b.path("files"), name), data)
	}
	source, err := sqlitesource.New(sqlitesource.Config{
		Name: "db", File: "crm.db", DB: db, Strip: map[string][]string{"contacts": {"email_idx"}}, Staging: b.path("staging"),
	})
	require.NoError(t, err)
	var repos []*backup.Repository
	for _, dir := range b.stores() {
		repo, err := backup.Open(t.Context(), telling{localStore(t, dir), b.out}, config(b.key))
		require.NoError(t, err)
		repos = append(repos, repo)
	}
	job := nightly(repos, &holding{source, func() { fmt.Fprintln(b.out, "copying") }}, backup.Folder("files", b.path("files")))
	job.Now = now
	return job.RunOnce(t.Context())
}

// killFiles are the files of state n.
func killFiles(n int) map[string][]byte {
	return map[string][]byte{"n": []byte(strconv.Itoa(n)), "big": noise(uint64(n), 400<<10), "sub/kept": noise(0, 200<<10)}
}

// child runs jobs until it is killed, and prints what it has committed.
func (b killBench) child(t *testing.T, round int) {
	t.Helper()
	for n := round*1000 + 1; ; n++ {
		result, err := b.run(t, n, at(float64(round)))
		if err != nil {
			fmt.Fprintln(b.out, "failed", err)
			return
		}
		fmt.Fprintln(b.out, "committed", result.Snapshot)
	}
}

// A process that is killed at whatever moment loses nothing that it said it
// had committed, leaves nothing that stops the next job, and what it left
// behind goes with that one.
func TestKilledJobsLoseNothing(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		key, err := backup.ParseMachineKey(os.Getenv(killPassword))
		require.NoError(t, err)
		round, err := strconv.Atoi(os.Getenv(killRound))
		require.NoError(t, err)
		killBench{dir, key, os.Stdout}.child(t, round)
		return
	}
	b := killBench{t.TempDir(), backup.NewMachineKey(), io.Discard}
	require.NoError(t, os.Mkdir(b.path("staging"), 0o700))
	create(t, b.key, b.stores()...)
	random := rand.New(rand.NewPCG(*killSeed, 0))
	committed, proved := []string{}, map[string]bool{}
	leftStaging, leftTemporary, leftLocks := 0, 0, 0
	for round := range *killRounds {
		kill := killAt{line: "storing", count: 1 + random.IntN(250), moment: time.Duration(random.IntN(3000)) * time.Microsecond}
		if round%3 == 0 { // most of a job's time, and few of its operations
			kill = killAt{line: "copying", count: 1 + random.IntN(4), moment: time.Duration(random.IntN(20_000)) * time.Microsecond}
		}
		committed = append(committed, b.killed(t, round, kill)...)
		leftStaging += len(below(t, b.path("staging"), "crmguard-backup-"))
		for _, store := range b.stores() {
			leftTemporary += len(below(t, store, "tmp-"))
			leftLocks += len(only(t, filepath.Join(store, "locks")))
			b.prove(t, store, committed, proved)
		}
		result, err := b.run(t, round*1000+999, at(float64(round)+0.6))
		require.NoError(t, err, "round %d: the next job", round)
		require.Empty(t, result.Stores[0].Problems)
		committed = append(committed, result.Snapshot)
		require.Empty(t, below(t, b.path("staging"), ""), "round %d: copies of the database", round)
		for _, store := range b.stores() {
			require.Empty(t, below(t, store, "tmp-"), "round %d", round)
			require.Empty(t, only(t, filepath.Join(store, "locks")), "round %d", round)
		}
	}
	t.Logf("%d snapshots were committed; the kills left %d staging folders, %d temporary files, %d locks", len(committed), leftStaging, leftTemporary, leftLocks)
	require.Positive(t, leftStaging, "no kill came while a copy of the database stood there: draw more moments")
	require.Positive(t, leftLocks)
	for _, store := range b.stores() {
		b.prove(t, store, committed, map[string]bool{})
	}
	require.Equal(t, tree(t, b.path("a")), tree(t, b.path("b")), "both stores hold the same")
	for _, store := range b.stores() {
		require.Contains(t, restic(t, store, b.key.Password(), "check", "--read-data"), "no errors were found")
	}
}

// killAt is when a child is killed: a moment after it has printed a line so
// often.
type killAt struct {
	line   string
	count  int
	moment time.Duration
}

// killed runs a child, kills it, and returns what it said it had committed.
func (b killBench) killed(t *testing.T, round int, kill killAt) (committed []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledJobsLoseNothing$", "-test.v=false")
	cmd.Env = append(os.Environ(), killDir+"="+b.dir, killPassword+"="+b.key.Password(), killRound+"="+strconv.Itoa(round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	done := 0
	for lines.Scan() {
		what, id, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "committed":
			committed = append(committed, id)
		case "storing", "copying":
			if what == kill.line {
				done++
			}
			if what == kill.line && done == kill.count {
				time.Sleep(kill.moment)
				require.NoError(t, cmd.Process.Kill()) // SIGKILL; what it has printed by then is still read
			}
		default:
			t.Errorf("the child says: %s", lines.Text())
		}
	}
	require.NoError(t, lines.Err())
	exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
	require.True(t, ok, "the child was not killed")
	require.Equal(t, -1, exit.ExitCode(), "killed by a signal: %v", exit)
	return committed
}

// prove opens a store, reads all of it back, and compares every snapshot with
// the state that it was made of. Those that are not in proved yet go through a
// restore.
func (b killBench) prove(t *testing.T, dir string, committed []string, proved map[string]bool) {
	t.Helper()
	repo, err := backup.Open(t.Context(), localStore(t, dir), config(b.key))
	require.NoError(t, err)
	report, err := repo.Check(t.Context(), backup.ReadAll, committed...)
	require.NoError(t, err, "nothing worse than packs that no index names, and locks")
	require.Empty(t, report.Foreign)
	snapshots, err := repo.Snapshots(t.Context())
	require.NoError(t, err)
	for _, s := range snapshots {
		got := content(t, repo, s.ID)
		n, err := strconv.Atoi(got["files/n"])
		require.NoError(t, err)
		for name, data := range killFiles(n) {
			require.Equal(t, string(data), got["files/"+name], "%s of state %d", name, n)
		}
		if key := dir + s.ID; !proved[key] {
			b.restored(t, repo, s.ID, n)
			proved[key] = true
		}
	}
}

func (b killBench) restored(t *testing.T, repo *backup.Repository, id string, n int) {
	t.Helper()
	target := filepath.Join(t.TempDir(), "x")
	_, err := repo.Restore(t.Context(), id, target, append(meeting(), sqlitesource.VerifyRows("sqlite", testTagger))...)
	require.NoError(t, err)
	require.NoError(t, backup.Opened(target))
	db, err := sql.Open("sqlite", filepath.Join(target, "db", "crm.db"))
	require.NoError(t, err)
	defer db.Close()
	var got int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT n FROM contacts`).Scan(&got))
	require.Equal(t, n, got)
	for name, data := range killFiles(n) {
		back, err := os.ReadFile(filepath.Join(target, "files", name))
		require.NoError(t, err)
		require.True(t, slices.Equal(data, back), name)
	}
	require.NoError(t, os.RemoveAll(target))
}

// below names what stands anywhere below dir and begins with prefix.
func below(t *testing.T, dir, prefix string) (found []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir && strings.HasPrefix(d.Name(), prefix) {
			found = append(found, path)
		}
		return err
	}))
	return found
}

package backup_test

import (
	"context"
	"database/sql"
	"io/fs"
	"iter"
	"os"
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
	"github.com/crmguard/crmguard/internal/killtest"
)

// killBench is a folder in which jobs run that get killed: a live database, a
// folder of files, a staging folder and two stores.
type killBench struct {
	dir string
	key backup.MachineKey
}

func (b killBench) path(name string) string { return filepath.Join(b.dir, name) }

func (b killBench) stores() []string { return []string{b.path("a"), b.path("b")} }

// at is the clock of a round: locks of the round before are stale by then.
func at(round float64) func() time.Time {
	return func() time.Time { return time.Unix(1_700_000_000, 0).Add(time.Duration(round * float64(time.Hour))) }
}

// What a child says before each operation of a store, before it copies the
// database, and, with the id, after a job.
const storing, copying, committing = "storing", "copying", "committed "

// telling says so before each operation, so that whoever kills the process can
// count how far it came.
type telling struct{ backup.Store }

func (s telling) Put(ctx context.Context, name string, data []byte) error {
	killtest.Say(storing)
	return s.Store.Put(ctx, name, data)
}

func (s telling) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	killtest.Say(storing)
	return s.Store.Read(ctx, name, offset, limit)
}

func (s telling) List(ctx context.Context, folder string) iter.Seq2[backup.Info, error] {
	killtest.Say(storing)
	return s.Store.List(ctx, folder)
}

func (s telling) Delete(ctx context.Context, name string) error {
	killtest.Say(storing)
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
		repo, err := backup.Open(t.Context(), telling{localStore(t, dir)}, config(b.key))
		require.NoError(t, err)
		repos = append(repos, repo)
	}
	job := nightly(repos, &holding{source, func() { killtest.Say(copying) }}, backup.Folder("files", b.path("files")))
	job.Now = now
	return job.RunOnce(t.Context())
}

// killFiles are the files of state n.
func killFiles(n int) map[string][]byte {
	return map[string][]byte{"n": []byte(strconv.Itoa(n)), "big": noise(uint64(n), 400<<10), "sub/kept": noise(0, 200<<10)}
}

// child runs jobs until it is killed, and says what it has committed.
func (b killBench) child(t *testing.T) {
	t.Helper()
	round, err := strconv.Atoi(string(b.read(t, "round")))
	require.NoError(t, err)
	b.key, err = backup.ParseMachineKey(string(b.read(t, "key")))
	require.NoError(t, err)
	for n := round*1000 + 1; ; n++ {
		result, err := b.run(t, n, at(float64(round)))
		require.NoError(t, err)
		killtest.Say(committing + result.Snapshot)
	}
}

func (b killBench) read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(b.path(name))
	require.NoError(t, err)
	return data
}

// A process that is killed at whatever moment loses nothing that it said it
// had committed, leaves nothing that stops the next job, and what it left
// behind goes with that one, but for packs that no index names.
func TestKilledJobsLoseNothing(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		killBench{dir: dir}.child(t)
		return
	}
	b := killBench{t.TempDir(), backup.NewMachineKey()}
	write(t, b.path("key"), []byte(b.key.Password()))
	require.NoError(t, os.Mkdir(b.path("staging"), 0o700))
	create(t, b.key, b.stores()...)
	rounds, moments := killtest.Rounds(t)
	committed, proved := []string{}, map[string]bool{}
	leftStaging, leftTemporary, leftLocks := 0, 0, 0
	// Behind the last round there are more, until one kill came while a copy of
	// the database stood in the staging folder.
	for round := 0; round < rounds || leftStaging == 0 && round < rounds+200; round++ {
		moment := killtest.At{Step: storing, Count: 1 + moments.IntN(250), Pause: time.Duration(moments.IntN(3000)) * time.Microsecond}
		if round%3 == 0 || round >= rounds { // most of a job's time, and few of its operations; how long depends on the machine
			moment = killtest.At{Step: copying, Count: 1 + moments.IntN(4), Pause: time.Duration(moments.IntN(1<<moments.IntN(15))) * time.Microsecond}
		}
		write(t, b.path("round"), []byte(strconv.Itoa(round)))
		said, killed := killtest.Kill(t, b.dir, moment)
		require.True(t, killed, "it never ends by itself")
		for _, step := range said {
			if id, ok := strings.CutPrefix(step, committing); ok {
				committed = append(committed, id)
			}
		}
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
	require.Positive(t, leftStaging, "no kill came while a copy of the database stood there")
	require.Positive(t, leftLocks)
	for _, store := range b.stores() {
		b.prove(t, store, committed, map[string]bool{})
	}
	b.alike(t)
	for _, store := range b.stores() {
		require.Contains(t, restic(t, store, b.key.Password(), "check", "--read-data"), "no errors were found")
	}
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

// alike requires that both stores hold the same, but for packs that no index
// names: a job that was killed when one store had a pack and the other had not
// leaves it there.
func (b killBench) alike(t *testing.T) {
	t.Helper()
	trees := []map[string]string{tree(t, b.path("a")), tree(t, b.path("b"))}
	for i, dir := range b.stores() {
		repo, err := backup.Open(t.Context(), localStore(t, dir), config(b.key))
		require.NoError(t, err)
		report, err := repo.Check(t.Context(), backup.Structure)
		require.NoError(t, err)
		alone := 0
		for name, data := range trees[i] {
			other, ok := trees[1-i][name]
			switch {
			case ok:
				require.Equal(t, data, other, name)
			case !strings.HasPrefix(name, "data/"):
				require.Fail(t, "only one store holds "+name)
			case !strings.HasSuffix(name, "/"):
				alone++
			}
		}
		require.LessOrEqual(t, alone, report.Unused, "packs that an index names are in both stores")
		t.Logf("store %s: %d packs that no index names, %d of them there alone", filepath.Base(dir), report.Unused, alone)
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

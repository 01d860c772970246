package sqlitesource_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/localstore"
	"github.com/crmguard/crmguard/backup/sqlitesource"
	"github.com/crmguard/crmguard/internal/filelock"
)

type tagger struct{}

func (tagger) Tag(_ context.Context, data []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, []byte("k"))
	mac.Write(data)
	return mac.Sum(nil), nil
}

func (t tagger) Verify(ctx context.Context, data, tag []byte) error {
	if want, _ := t.Tag(ctx, data); !hmac.Equal(want, tag) {
		return errors.New("bad tag")
	}
	return nil
}

const schema = `
CREATE TABLE contacts (id TEXT PRIMARY KEY, email BLOB, email_idx INTEGER, phone_idx BLOB, changed DATETIME, active BOOLEAN, score REAL) STRICT;
CREATE INDEX contacts_email ON contacts (email_idx, phone_idx);
CREATE TABLE links (a TEXT NOT NULL, b INTEGER NOT NULL, note TEXT, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID;
CREATE TABLE journal (what TEXT) STRICT;
CREATE TRIGGER contacts_changed AFTER UPDATE ON contacts BEGIN INSERT INTO journal VALUES ('was ' || coalesce(old.email_idx, '')); END;
`

func open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1) // the source must make do with one connection
	return db
}

const (
	indexNeedle = "INDEXNEEDLE-7fb2c1" // stands in for the bytes of a wide blind index
	freeNeedle  = "DELETEDROW-5521ae"
)

// live makes a database with values that the backup must and must not hold.
func live(t *testing.T) *sql.DB {
	t.Helper()
	db := open(t, filepath.Join(t.TempDir(), "crm.db"))
	text := strings.ReplaceAll(strings.ReplaceAll(schema, "changed DATETIME", "changed TEXT"), "active BOOLEAN", "active INTEGER")
	_, err := db.ExecContext(t.Context(), text)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `PRAGMA secure_delete = OFF`)
	require.NoError(t, err)
	for i := range 500 {
		id := string(rune('a'+i%26)) + string(rune('0'+i%10)) + strings.Repeat("z", i/26)
		_, err = db.ExecContext(t.Context(), `INSERT INTO contacts VALUES (?, ?, ?, ?, '2026-01-02 03:04:05', 1, 1.5)`,
			id, []byte("sealed"), 1_000_000+i, []byte(indexNeedle))
		require.NoError(t, err)
	}
	_, err = db.ExecContext(t.Context(), `INSERT INTO links VALUES ('x/y', 10, NULL), ('x', 9, 'n'), ('x%2Fy', 10, '')`)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `UPDATE contacts SET email = zeroblob(0), score = 9e999 WHERE id = 'a0'`)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `DELETE FROM journal`)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `INSERT INTO journal VALUES (?)`, strings.Repeat(freeNeedle, 1000))
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `DELETE FROM journal`)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `ANALYZE`)
	require.NoError(t, err)
	return db
}

func run(t *testing.T, cfg sqlitesource.Config) (*backup.Repository, error) {
	t.Helper()
	source, err := sqlitesource.New(cfg)
	require.NoError(t, err)
	store, err := localstore.Open(filepath.Join(t.TempDir(), "repo"))
	require.NoError(t, err)
	repos, err := backup.Create(t.Context(), backup.Config{Key: backup.NewMachineKey(), Manifests: tagger{}}, store)
	require.NoError(t, err)
	job := backup.Job{Name: "db", Repositories: repos, Sources: []backup.Source{source}}
	_, err = job.RunOnce(t.Context())
	return repos[0], err
}

func strip() map[string][]string {
	return map[string][]string{"contacts": {"phone_idx", "email_idx"}}
}

func TestSnapshotHoldsRowsButNeitherIndexValuesNorDeletedRows(t *testing.T) {
	db := live(t)
	repo, err := run(t, sqlitesource.Config{Name: "db", File: "crm.db", DB: db, Strip: strip(), Staging: t.TempDir()})
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "restored")
	report, err := repo.Restore(t.Context(), backup.Latest, dir, sqlitesource.VerifyRows("sqlite", tagger{}), rebuild())
	require.NoError(t, err)
	require.True(t, report.Verified)
	file, err := os.ReadFile(filepath.Join(dir, "db", "crm.db"))
	require.NoError(t, err)
	require.NotContains(t, string(file), indexNeedle)
	require.NotContains(t, string(file), freeNeedle)

	restored := open(t, filepath.Join(dir, "db", "crm.db"))
	var rows, filled, journal, triggers int
	require.NoError(t, restored.QueryRowContext(t.Context(), `SELECT count(*), count(email_idx) + count(phone_idx) FROM contacts`).Scan(&rows, &filled))
	require.NoError(t, restored.QueryRowContext(t.Context(), `SELECT count(*) FROM journal`).Scan(&journal))
	require.NoError(t, restored.QueryRowContext(t.Context(), `SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'`).Scan(&triggers))
	require.Equal(t, []int{500, 0, 0, 1}, []int{rows, filled, journal, triggers}, "rows, index values, what a trigger wrote, triggers")
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(email_idx) FROM contacts`).Scan(&filled))
	require.Equal(t, 500, filled, "the live database keeps its indexes")

	m, err := repo.Manifest(t.Context(), backup.Latest)
	require.NoError(t, err)
	require.Equal(t, "db/contacts", m.Sources[1].Name)
	require.EqualValues(t, 500, m.Sources[1].Rows)
	require.Equal(t, []string{"email_idx", "phone_idx"}, m.Sources[1].Stripped)
	require.NotEmpty(t, m.Sources[0].Versions["sqlite"])
}

// Without the stripping the needle is found by the same search: a search that
// cannot find proves nothing.
func TestTheSearchForIndexValuesCanFind(t *testing.T) {
	repo, err := run(t, sqlitesource.Config{Name: "db", File: "crm.db", DB: live(t)})
	require.NoError(t, err)
	found := false
	for b, err := range repo.Blobs(t.Context()) {
		require.NoError(t, err)
		found = found || bytes.Contains(b.Data, []byte(indexNeedle))
	}
	require.True(t, found)
}

func TestVerifyRowsFindsEveryChange(t *testing.T) {
	repo, err := run(t, sqlitesource.Config{Name: "db", File: "crm.db", DB: live(t), Strip: strip()})
	require.NoError(t, err)
	for name, change := range map[string]string{
		"value": `UPDATE contacts SET score = 2 WHERE id = 'b1'`, "row gone": `DELETE FROM contacts WHERE id = 'b1'`,
		"swapped": `UPDATE links SET note = 'n' WHERE a = 'x/y'`, "type": `UPDATE contacts SET email = NULL WHERE id = 'a0'`,
		"index": `UPDATE contacts SET email_idx = 1 WHERE id = 'b1'`, "table": `CREATE TABLE more (x)`, "table gone": `DROP TABLE links`,
		"table renamed": `ALTER TABLE links RENAME TO linkz`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "restored")
			tamper := backup.Step{Name: "tamper", Run: func(ctx context.Context, dir string) error {
				db, err := sql.Open("sqlite", filepath.Join(dir, "db", "crm.db"))
				require.NoError(t, err)
				_, err = db.ExecContext(ctx, change)
				return errors.Join(err, db.Close())
			}}
			_, err := repo.Restore(t.Context(), backup.Latest, dir, tamper, sqlitesource.VerifyRows("sqlite", tagger{}), rebuild())
			var step *backup.StepError
			require.ErrorAs(t, err, &step)
			require.Equal(t, "verify rows", step.Step)
			require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed)
		})
	}
}

func TestAFailingSourceLeavesNoSnapshotAndNoCopy(t *testing.T) {
	staging := t.TempDir()
	db := live(t)
	for name, cfg := range map[string]sqlitesource.Config{
		"no such column": {Strip: map[string][]string{"contacts": {"nothing"}}},
		"no such table":  {Strip: map[string][]string{"nothing": {"x"}}},
		"no columns":     {Strip: map[string][]string{"contacts": {}}},
		"not nullable":   {Strip: map[string][]string{"links": {"a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Name, cfg.File, cfg.DB, cfg.Staging = "db", "crm.db", db, staging
			repo, err := run(t, cfg)
			require.ErrorIs(t, err, backup.ErrSource)
			require.ErrorIs(t, err, sqlitesource.ErrStrip)
			snapshots, err := repo.Snapshots(t.Context())
			require.NoError(t, err)
			require.Empty(t, snapshots)
		})
	}
	closed := open(t, filepath.Join(t.TempDir(), "x.db"))
	require.NoError(t, closed.Close())
	_, err := run(t, sqlitesource.Config{Name: "db", File: "crm.db", DB: closed, Staging: staging})
	require.ErrorIs(t, err, backup.ErrSource)
	left, err := os.ReadDir(staging)
	require.NoError(t, err)
	require.Empty(t, left, "the private copy is removed on every path")
}

// A process that is killed between the copy and the stripping leaves a copy
// with all index values: the next job removes it, and nothing else.
func TestTheCopyOfAKilledJobGoesWithTheNextJob(t *testing.T) {
	staging := t.TempDir()
	leave := func(name string) string {
		file := filepath.Join(staging, name, "live.db")
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(indexNeedle), 0o600))
		return file
	}
	left, running, foreign := leave("crmguard-backup-123"), leave("crmguard-backup-456"), leave("others")
	lock, err := os.Open(filepath.Dir(running))
	require.NoError(t, err)
	defer lock.Close()
	held, err := filelock.Try(lock)
	require.NoError(t, err)
	require.True(t, held)
	_, err = run(t, sqlitesource.Config{Name: "db", File: "crm.db", DB: live(t), Strip: strip(), Staging: staging})
	require.NoError(t, err)
	require.NoDirExists(t, filepath.Dir(left))
	require.FileExists(t, running, "another job works there")
	require.FileExists(t, foreign)
}

// SQL takes names in any case: so does Strip, or a capital letter would leave
// the values in the backup.
func TestColumnsAreStrippedInWhateverCaseTheyAreSpelt(t *testing.T) {
	for name, spelt := range map[string]map[string][]string{
		"table":       {"Contacts": {"email_idx", "phone_idx"}},
		"columns":     {"contacts": {"EMAIL_IDX", "Phone_Idx"}},
		"both, twice": {"CONTACTS": {"Email_idx"}, "contacts": {"email_idx", "phone_IDX", "PHONE_IDX"}},
	} {
		t.Run(name, func(t *testing.T) {
			repo, err := run(t, sqlitesource.Config{Name: "db", File: "crm.db", DB: live(t), Strip: spelt, Staging: t.TempDir()})
			require.NoError(t, err)
			m, err := repo.Manifest(t.Context(), backup.Latest)
			require.NoError(t, err)
			require.Equal(t, []string{"email_idx", "phone_idx"}, m.Sources[1].Stripped, "by the names that the database has for them")
			for b, err := range repo.Blobs(t.Context()) {
				require.NoError(t, err)
				require.NotContains(t, string(b.Data), indexNeedle)
			}
			_, err = repo.Restore(t.Context(), backup.Latest, filepath.Join(t.TempDir(), "x"), sqlitesource.VerifyRows("sqlite", tagger{}), rebuild())
			require.NoError(t, err)
		})
	}
}

// rebuild stands for the step that rebuilds the blind indexes.
func rebuild() backup.Step {
	return backup.Step{Name: "rebuild", Meets: backup.NeedIndexes, Run: func(context.Context, string) error { return nil }}
}

func TestADamagedDatabaseIsNotBackedUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path)
	_, err := db.ExecContext(t.Context(), `CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT CHECK (length(b) < 5)) STRICT`)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `PRAGMA ignore_check_constraints = ON`)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `INSERT INTO t VALUES (1, 'secret value too long')`)
	require.NoError(t, err)
	_, err = run(t, sqlitesource.Config{Name: "db", File: "x.db", DB: db})
	require.ErrorIs(t, err, sqlitesource.ErrIntegrity)
	require.NotContains(t, err.Error(), "secret")
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	for _, cfg := range []sqlitesource.Config{{}, {Name: "a", DB: db}, {Name: "a", File: "b"}, {Name: "a", DB: db, File: "../b"}, {Name: "a", DB: db, File: ".."}} {
		_, err := sqlitesource.New(cfg)
		require.ErrorIs(t, err, backup.ErrConfig)
	}
	require.ErrorIs(t, sqlitesource.VerifyRows("sqlite", nil).Run(t.Context(), t.TempDir()), backup.ErrConfig)
	require.ErrorIs(t, sqlitesource.VerifyRows("sqlite", tagger{}).Run(t.Context(), t.TempDir()), backup.ErrManifest)
}

// The frozen repository of the parent package: digests of rows must mean the
// same in every version.
func TestFrozenRowsVerify(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "frozen")
	require.NoError(t, os.CopyFS(dir, os.DirFS("../testdata/repository")))
	password, err := os.ReadFile("../testdata/repository-password")
	require.NoError(t, err)
	key, err := backup.ParseMachineKey(strings.TrimSpace(string(password)))
	require.NoError(t, err)
	store, err := localstore.Open(dir)
	require.NoError(t, err)
	repo, err := backup.Open(t.Context(), store, backup.Config{Key: key, Manifests: tagger{}})
	require.NoError(t, err)
	target := filepath.Join(t.TempDir(), "x")
	steps := []backup.Step{sqlitesource.VerifyRows("sqlite", tagger{}), rebuild()}
	for _, need := range []backup.Need{backup.NeedKeys, backup.NeedTrail, backup.NeedLedger} {
		steps = append(steps, backup.Step{Name: string(need), Meets: need, Run: func(context.Context, string) error { return nil }})
	}
	_, err = repo.Restore(t.Context(), backup.Latest, target, steps...)
	require.NoError(t, err)
	require.NoError(t, backup.Opened(target))
}

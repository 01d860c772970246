package sqltrail_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// where is what processes of one application share: how to reach the database, and
// the keys of its trail.
type where struct {
	Database testdb.Name
	Driver   string
	DSN      string
	Key      string
	Verifier string
	Secret   []byte
}

// works is a process of an application: what several have over one folder and
// one database. It has sales, which tell of themselves by an event; views, whose
// events cannot be written and are counted as lost; and on PostgreSQL deals, which
// the database captures.
type works struct {
	t   *testing.T
	dir string
	where
	db     *sqldb.DB
	log    *tilesink.Dir
	config audit.Config
	trail  *audit.Trail
}

// begin makes the tables, the folder and the keys of an application.
func begin(t *testing.T, d testdb.Database, driver, dsn string) *works {
	t.Helper()
	at := where{Database: d.Name, Driver: driver, DSN: dsn, Secret: make([]byte, 32)}
	_, err := rand.Read(at.Secret)
	require.NoError(t, err)
	at.Key, at.Verifier, err = audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	data, err := json.Marshal(at)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "where.json"), data, 0o600))
	db := testdb.Watching(t, driver, dsn, nil)
	require.NoError(t, sqltrail.Install(t.Context(), db))
	statements := []string{`CREATE TABLE sales (id VARCHAR(64) PRIMARY KEY)`, `CREATE TABLE views (id VARCHAR(64) PRIMARY KEY)`, `CREATE TABLE deals (id bigint PRIMARY KEY, amount bigint)`}
	if at.captures() {
		up, _, err := capture.Pack(capturedDeals()...)
		require.NoError(t, err)
		statements = append(statements, up)
	}
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	return join(t, dir, nil)
}

func capturedDeals() []capture.Table {
	return []capture.Table{{Name: "deals", Kind: "deal", Tenant: "main"}}
}

func (w *where) captures() bool {
	return w.Database == testdb.PostgresC || w.Database == testdb.PostgresICU
}

// join opens the application as another of its processes does; change may change
// its configuration.
func join(t *testing.T, dir string, change func(w *works)) *works {
	t.Helper()
	w := &works{t: t, dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, "where.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &w.where))
	w.db, err = sqldb.Open(t.Context(), testdb.Watching(t, w.Driver, w.DSN, nil)) // whose server may be gone in the end
	require.NoError(t, err)
	w.log, err = tilesink.Open(filepath.Join(dir, "log"))
	require.NoError(t, err)
	keys, err := audit.KeysFrom(w.Secret)
	require.NoError(t, err)
	w.config = audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: w.Key, Sink: w.log, Keys: keys,
		Fields:  map[string][]string{"contact": {"email"}, "deal": {"amount"}},
		Classes: map[string]audit.Failure{"contact.view": audit.FailOpen},
	}
	if w.captures() {
		w.config.PersonKinds, w.config.Captured = []string{"contact"}, capturedDeals()
	}
	if change != nil {
		change(w)
	}
	w.reopen()
	return w
}

// reopen opens the trail anew.
func (w *works) reopen() {
	w.t.Helper()
	store, err := sqltrail.Open(w.t.Context(), w.db.DB)
	require.NoError(w.t, err)
	w.trail, err = audit.Open(w.t.Context(), store, w.config)
	require.NoError(w.t, err)
}

// within commits what fn does, and nothing where it fails.
func (w *works) within(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// sell commits a sale with its event, which bear the same id.
func (w *works) sell(ctx context.Context, n int) (string, error) {
	e := sale(w.t, fmt.Sprintf("p%d", n%5))
	if err := w.trail.Prepare(ctx, e.Tenant, people(e)...); err != nil {
		return "", err
	}
	return e.ID, w.within(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, w.db.Bind(`INSERT INTO sales (id) VALUES (?)`), e.ID); err != nil {
			return err
		}
		return only(w.trail.Record(ctx, tx, e))
	})
}

// unwritable is a transaction in which the statement of an event fails.
type unwritable struct{ *sql.Tx }

func (u unwritable) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if len(args) == 0 { // the savepoint
		return u.Tx.ExecContext(ctx, query)
	}
	return u.Tx.ExecContext(ctx, `INSERT INTO there_is_no_such_table (id) VALUES (1)`)
}

// view commits a row whose event is lost.
func (w *works) view(ctx context.Context) error {
	e := sale(w.t, "p1")
	e.Action = "contact.view"
	if err := w.trail.Prepare(ctx, e.Tenant, people(e)...); err != nil {
		return err
	}
	return w.within(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, w.db.Bind(`INSERT INTO views (id) VALUES (?)`), e.ID); err != nil {
			return err
		}
		id, err := w.trail.Record(ctx, unwritable{tx}, e)
		if err == nil && id != "" {
			return errors.New("it was recorded")
		}
		return err
	})
}

// deal commits a row of which no event tells, or one does.
func (w *works) deal(ctx context.Context, id int64, told bool) error {
	e := event(w.t, audit.Ref("deal", fmt.Sprint(id)), "amount")
	if err := w.trail.Prepare(ctx, e.Tenant); err != nil {
		return err
	}
	return w.within(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, w.db.Bind(`INSERT INTO deals (id, amount) VALUES (?, 1)`), id); err != nil || !told {
			return err
		}
		return only(w.trail.Record(ctx, tx, e))
	})
}

func (w *works) run() audit.Result {
	w.t.Helper()
	r, err := w.trail.RunOnce(w.t.Context())
	require.NoError(w.t, err)
	return r
}

func (w *works) count(query string) (n int) {
	w.t.Helper()
	require.NoError(w.t, w.db.QueryRowContext(w.t.Context(), query).Scan(&n))
	return n
}

// checkpoint is the published one.
func (w *works) checkpoint() []byte {
	w.t.Helper()
	signed, err := w.trail.Checkpoint(w.t.Context())
	require.NoError(w.t, err)
	return signed
}

// tally is what the published log holds.
type tally struct {
	events   map[string]int // by id
	captured map[string]int // by object
	told     map[string]int // events about deals
	lost     int64          // as gaps count them
	leaves   int
}

func (w *works) tally() tally {
	w.t.Helper()
	out := tally{events: map[string]int{}, captured: map[string]int{}, told: map[string]int{}}
	for e, err := range auditlog.Entries(w.t.Context(), w.log.FS()) {
		require.NoError(w.t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		require.NoError(w.t, err)
		out.leaves++
		switch {
		case leaf.Kind == auditlog.KindCapture:
			out.captured[leaf.Object.ID]++
		case leaf.Kind == auditlog.KindGap:
			out.lost += leaf.Gap.Count
		case leaf.Kind == auditlog.KindEvent && leaf.Object.Kind == "deal":
			out.told[leaf.Object.ID]++
		case leaf.Kind == auditlog.KindEvent:
			out.events[leaf.ID]++
		}
	}
	return out
}

// agrees checks against the published log that each sale has one event, each deal
// one entry that tells of it, and that nothing is there besides.
func (w *works) agrees() tally {
	w.t.Helper()
	got := w.tally()
	sales := w.ids(`SELECT id FROM sales`)
	for _, id := range sales {
		require.Equal(w.t, 1, got.events[id], "events of one sale")
	}
	require.Len(w.t, got.events, len(sales), "events without a sale")
	deals := w.ids(`SELECT id FROM deals`)
	for _, id := range deals {
		require.Equal(w.t, 1, got.captured[id]+got.told[id], "entries of one deal")
	}
	require.Equal(w.t, len(deals), len(got.captured)+len(got.told), "entries without a deal")
	return got
}

func (w *works) ids(query string) (out []string) {
	w.t.Helper()
	rows, err := w.db.QueryContext(w.t.Context(), query)
	require.NoError(w.t, err)
	defer rows.Close()
	for rows.Next() {
		var id string
		require.NoError(w.t, rows.Scan(&id))
		out = append(out, id)
	}
	require.NoError(w.t, rows.Err())
	return out
}

// verified checks folder and database against a kept checkpoint.
func (w *works) verified(kept []byte) {
	w.t.Helper()
	report, err := auditlog.VerifyLog(w.t.Context(), w.log.FS(), auditlog.Trust{Key: w.Verifier, Kept: kept})
	require.NoError(w.t, err)
	require.Equal(w.t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	store, err := w.trail.VerifyStore(w.t.Context(), kept)
	require.NoError(w.t, err)
	require.Equal(w.t, auditlog.OK, store.Verdict, "%+v", store.Faults)
}

// eachWorks begins an application on a database of each kind, so that each driver
// has its turn.
func eachWorks(t *testing.T, f func(t *testing.T, w *works)) {
	t.Helper()
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) { f(t, begin(t, d, driver, d.DSN(driver))) })
}

// published is how many entries the published checkpoint covers.
func (w *works) published() int64 {
	w.t.Helper()
	signed, err := w.log.ReadFile(w.t.Context(), auditlog.CheckpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	require.NoError(w.t, err)
	return sizeOf(w.t, signed)
}

// sizeOf is how many entries a checkpoint covers.
func sizeOf(t *testing.T, signed []byte) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.Split(string(signed), "\n")[1], 10, 64)
	require.NoError(t, err)
	return n
}

// contains checks the folder alone against a kept checkpoint.
func (w *works) contains(kept []byte) {
	w.t.Helper()
	report, err := auditlog.VerifyLog(w.t.Context(), w.log.FS(), auditlog.Trust{Key: w.Verifier, Kept: kept})
	require.NoError(w.t, err)
	require.Equal(w.t, auditlog.OK, report.Verdict, "%+v", report.Faults)
}

// observed is an observer that wants names alone.
func observed(f func(name string)) func(ctx context.Context, name string, value float64, attrs ...slog.Attr) {
	return func(_ context.Context, name string, _ float64, _ ...slog.Attr) { f(name) }
}

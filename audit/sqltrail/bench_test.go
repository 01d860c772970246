package sqltrail_test

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// shop is a trail, and a table of sales whose rows bear the ids of their
// events.
type shop struct {
	t      *testing.T
	db     *sqldb.DB
	sink   *audittest.Sink
	keys   *audittest.Keys
	config audit.Config
	trail  *audit.Trail
}

// config is a trail's, with a key of its own.
func config(t *testing.T, name string, sink audit.Sink, keys *audittest.Keys) audit.Config {
	t.Helper()
	signer, verifier, err := audit.GenerateKey(name, 0)
	require.NoError(t, err)
	sign, err := note.NewSigner(signer)
	require.NoError(t, err)
	return audit.Config{
		Name: name, Tenant: "main", Signer: sign, Verifier: verifier, Sink: sink, Keys: keys,
		Fields: map[string][]string{"contact": {"email"}},
	}
}

// newShop installs the tables and opens a trail named after the log.
func newShop(t *testing.T, db *sql.DB, log string) *shop {
	t.Helper()
	s := &shop{t: t, sink: &audittest.Sink{}, keys: audittest.NewKeys()}
	s.config = config(t, log, s.sink, s.keys)
	require.NoError(t, sqltrail.Install(t.Context(), db))
	var err error
	s.db, err = sqldb.Open(t.Context(), db)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `CREATE TABLE IF NOT EXISTS sales (id VARCHAR(64) PRIMARY KEY)`)
	require.NoError(t, err)
	s.trail = s.over(db)
	return s
}

// over opens the trail over another handle, as another process does.
func (s *shop) over(db *sql.DB) *audit.Trail {
	s.t.Helper()
	store, err := sqltrail.Open(s.t.Context(), db)
	require.NoError(s.t, err)
	trail, err := audit.Open(s.t.Context(), store, s.config)
	require.NoError(s.t, err)
	return trail
}

func sale(t *testing.T, person string) audit.Event {
	t.Helper()
	id, err := audit.NewID()
	require.NoError(t, err)
	return audit.Event{
		ID: id, Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", person),
		Changes: audit.Diff(person, map[string]any{"email": "old@canary.example"}, map[string]any{"email": "new@canary.example"}),
	}
}

// sell commits a sale and its event, unless it is there: what an application
// repeats after a failure.
func (s *shop) sell(db *sql.DB, trail *audit.Trail, e audit.Event) error {
	ctx := s.t.Context()
	if err := trail.Prepare(ctx, e.Tenant, people(e)...); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	var n int
	if err := tx.QueryRowContext(ctx, s.db.Bind(`SELECT COUNT(*) FROM sales WHERE id = ?`), e.ID).Scan(&n); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if n == 0 {
		if _, err := tx.ExecContext(ctx, s.db.Bind(`INSERT INTO sales (id) VALUES (?)`), e.ID); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	if err := only(trail.Record(ctx, tx, e)); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// only leaves the error of a call that names its event, too.
func only(_ string, err error) error { return err }

// people are all persons that an event names.
func people(e audit.Event) []string {
	out := append([]string{}, e.Persons...)
	for _, c := range e.Changes {
		if c.Who != "" {
			out = append(out, c.Who)
		}
	}
	if e.Object.Person {
		out = append(out, e.Object.ID)
	}
	return out
}

func (s *shop) sequence() audit.Result {
	s.t.Helper()
	r, err := s.trail.RunOnce(s.t.Context())
	require.NoError(s.t, err)
	return r
}

// sound checks that each sale has exactly one event in the log, that no event
// is without its sale, and that log and database agree.
func (s *shop) sound() {
	s.t.Helper()
	events := map[string]int{}
	for e, err := range auditlog.Entries(s.t.Context(), s.sink.FS()) {
		require.NoError(s.t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		require.NoError(s.t, err)
		if leaf.Kind == auditlog.KindEvent {
			events[leaf.ID]++
		}
	}
	rows, err := s.db.QueryContext(s.t.Context(), `SELECT id FROM sales`)
	require.NoError(s.t, err)
	defer rows.Close()
	sales := 0
	for rows.Next() {
		var id string
		require.NoError(s.t, rows.Scan(&id))
		require.Equal(s.t, 1, events[id], "events of one sale")
		sales++
	}
	require.NoError(s.t, rows.Err())
	require.Len(s.t, events, sales, "events without a sale")
	report, err := s.trail.VerifyStore(s.t.Context(), nil)
	require.NoError(s.t, err)
	require.Equal(s.t, auditlog.Unanchored, report.Verdict, "%+v", report.Faults)
}

func (s *shop) count(query string) (n int) {
	s.t.Helper()
	require.NoError(s.t, s.db.QueryRowContext(s.t.Context(), query).Scan(&n))
	return n
}

// passing checks that an error is none of those that end Trail.Run: what
// passes must be tried again. It names the package and keeps its cause.
func passing(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for _, sentinel := range []error{
		auditlog.ErrForked, auditlog.ErrRolledBack, audit.ErrBehind, audit.ErrLogLost, auditlog.ErrTampered, audit.ErrOrigin, audit.ErrInvalid,
		audit.ErrNotOpen, audit.ErrConflict, audit.ErrNotFound,
	} {
		require.NotErrorIs(t, err, sentinel)
	}
	var older *audit.ErrSchema
	require.False(t, errors.As(err, &older), "%v", err)
	require.NotContains(t, err.Error(), "canary")
}

// with adds settings of every connection to a data source name.
func with(d testdb.Database, driver string, settings map[testdb.Name]string) string {
	dsn := d.DSN(driver)
	switch d.Name {
	case testdb.PostgresC, testdb.PostgresICU:
		return dsn + " " + settings[testdb.PostgresC]
	default:
		return dsn + "&" + settings[d.Name]
	}
}

func openAt(tb testing.TB, driver, dsn string) *sql.DB {
	tb.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	return db
}

func persons(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("n%d", i))
	}
	return out
}

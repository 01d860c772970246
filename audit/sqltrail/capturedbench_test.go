package sqltrail_test

import (
	"database/sql"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/testdb"
)

// thisTx is the transaction as triggers write it.
const thisTx = `concat(pg_current_xact_id(), '/', (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint)`

// capturing is a shop whose tables are captured.
type capturing struct{ *shop }

func capturedTables() []capture.Table {
	return []capture.Table{
		{Name: "contacts", Kind: "contact", TenantColumn: "tenant"},
		{Name: "deals", Kind: "deal", Tenant: "main"},
	}
}

func newCapturing(t *testing.T, db *sql.DB) *capturing {
	t.Helper()
	s := &capturing{newShop(t, db, "crm.example/audit")}
	s.exec(`CREATE TABLE contacts (id text PRIMARY KEY, tenant text NOT NULL DEFAULT 'main', email text, stage text)`)
	s.exec(`CREATE TABLE deals (id bigint PRIMARY KEY, amount bigint)`)
	up, _, err := capture.Pack(capturedTables()...)
	require.NoError(t, err)
	s.exec(up)
	s.config.Fields = map[string][]string{"contact": {"email", "stage"}, "deal": {"amount"}}
	s.config.PersonKinds, s.config.Captured = []string{"contact"}, capturedTables()
	s.trail = s.over(db)
	return s
}

// packs applies the pack of other tables, and makes the trail file theirs.
func (s *capturing) packs(tables ...capture.Table) {
	s.t.Helper()
	up, _, err := capture.Pack(tables...)
	require.NoError(s.t, err)
	s.exec(up)
	s.config.Captured = append(s.config.Captured, tables...)
	s.trail = s.over(s.db.DB)
}

// eachCapturing runs f on both orders of text, through both drivers.
func eachCapturing(t *testing.T, f func(t *testing.T, s *capturing)) {
	t.Helper()
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) { f(t, newCapturing(t, testdb.New(t, name).OpenWith(t, driver))) })
		}
	}
}

// oneCapturing runs f where neither the order of text nor the driver has a part.
func oneCapturing(t *testing.T, f func(s *capturing)) {
	t.Helper()
	f(newCapturing(t, testdb.New(t, testdb.PostgresICU).OpenWith(t, "pgx")))
}

func (s *capturing) exec(query string, args ...any) {
	s.t.Helper()
	_, err := s.db.ExecContext(s.t.Context(), query, args...)
	require.NoError(s.t, err, query)
}

// does runs statements in one transaction, records the events in it, and commits.
func (s *capturing) does(statements []string, events ...audit.Event) {
	s.t.Helper()
	for i := range events {
		require.NoError(s.t, s.trail.Prepare(s.t.Context(), events[i].Tenant, people(events[i])...))
	}
	tx, err := s.db.BeginTx(s.t.Context(), nil)
	require.NoError(s.t, err)
	for _, query := range statements {
		_, err := tx.ExecContext(s.t.Context(), query)
		require.NoError(s.t, err, query)
	}
	for _, e := range events {
		require.NoError(s.t, only(s.trail.Record(s.t.Context(), tx, e)))
	}
	require.NoError(s.t, tx.Commit())
}

// event is one that tells of a change.
func event(t *testing.T, object audit.Object, paths ...string) audit.Event {
	t.Helper()
	id, err := audit.NewID()
	require.NoError(t, err)
	e := audit.Event{ID: id, Tenant: "main", Actor: "u-1", Action: object.Kind + ".change", Object: object}
	for i, path := range paths {
		e.Changes = append(e.Changes, audit.Change{Path: path, Old: i, New: i + 1})
	}
	return e
}

// leaves reads the published log, without its beats.
func (s *capturing) leaves() (out []auditlog.Leaf) {
	s.t.Helper()
	for e, err := range auditlog.Entries(s.t.Context(), s.sink.FS()) {
		require.NoError(s.t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		require.NoError(s.t, err)
		if leaf.Kind != auditlog.KindBeat {
			out = append(out, leaf)
		}
	}
	return out
}

// filed are the captures of the log: op, kind, and whether each names an object.
func (s *capturing) filed() (out []string) {
	s.t.Helper()
	for _, leaf := range s.leaves() {
		if leaf.Kind == auditlog.KindCapture {
			out = append(out, fmt.Sprintf("%s %s %s", leaf.Capture.Table, leaf.Capture.Op, leaf.Object.ID))
		}
	}
	return out
}

func (s *capturing) waiting() int { return s.count(`SELECT COUNT(*) FROM crmguard_audit_captured`) }

// surrogate is a person's, as the log has it.
func (s *capturing) surrogate(person string) string {
	s.t.Helper()
	var raw []byte
	require.NoError(s.t, s.db.QueryRowContext(s.t.Context(), `SELECT surrogate FROM crmguard_audit_surrogates WHERE person = $1`, person).Scan(&raw))
	return "s:" + base64.RawURLEncoding.EncodeToString(raw)
}

// finding is the one without a subject.
func (s *capturing) finding(trail *audit.Trail, name string) audit.Finding {
	s.t.Helper()
	all, err := trail.Status(s.t.Context())
	require.NoError(s.t, err)
	for _, f := range all {
		if f.Name == name && f.Subject == "" {
			return f
		}
	}
	s.t.Fatalf("no finding %s", name)
	return audit.Finding{}
}

// agree checks that log and database agree, and that both are sound.
func (s *capturing) agree() {
	s.t.Helper()
	r, err := s.trail.VerifyStore(s.t.Context(), nil)
	require.NoError(s.t, err)
	require.Equal(s.t, auditlog.Unanchored, r.Verdict, "%+v", r)
}

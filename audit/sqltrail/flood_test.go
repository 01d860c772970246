package sqltrail_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// flooded is a trail over a database that counts.
type flooded struct {
	t     *testing.T
	db    *sql.DB
	count *testdb.Cutter
	trail *audit.Trail
}

func floodedTrail(t *testing.T, db *sql.DB, name string, keys audit.Keys) *audit.Trail {
	t.Helper()
	require.NoError(t, sqltrail.Install(t.Context(), db))
	store, err := sqltrail.Open(t.Context(), db)
	require.NoError(t, err)
	key, _, err := audit.GenerateKey(name, 0)
	require.NoError(t, err)
	trail, err := audit.Open(t.Context(), store, audit.Config{Name: name, Tenant: "main", Key: key, Sink: &audittest.Sink{}, Keys: keys})
	require.NoError(t, err)
	return trail
}

func (f *flooded) note() (id string) {
	f.t.Helper()
	id, err := f.trail.Note(f.t.Context(), audit.Event{Tenant: "main", Actor: "u-1", Action: "a.b", Changes: []audit.Change{{Path: "count", New: 1}}})
	require.NoError(f.t, err)
	return id
}

func (f *flooded) pass() (audit.Result, testdb.Counts) {
	f.t.Helper()
	f.count.Counts()
	r, err := f.trail.RunOnce(f.t.Context())
	require.NoError(f.t, err)
	return r, f.count.Counts()
}

func waitingBody(t *testing.T, db *sql.DB) (body []byte) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT body FROM crmguard_audit_events WHERE idx IS NULL ORDER BY seq DESC LIMIT 1`).Scan(&body))
	return body
}

// Rows by the ten thousand that somebody inserts without the keys, of each kind there
// is, slow no pass: what a pass says to the database and reads of it is bounded while
// they are met, and is what it was before afterwards.
func TestAFloodOfForgedRowsSlowsNoPass(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		many := 10_000 // of each kind
		if d.Name != testdb.SQLite {
			many = 2_000 // it is more than a pass takes in all
		}
		const pass = 10_000 // rows that a pass looks at, and a batch more
		keys := audittest.NewKeys()
		db, count := d.Cutting(t, d.Name.Drivers()[0])
		f := &flooded{t, db, count, floodedTrail(t, db, "crm.example/audit", keys)}
		elsewhere := testdb.New(t, testdb.SQLite).Open(t)
		_, err := floodedTrail(t, elsewhere, "stage.example/audit", keys).Note(t.Context(), audit.Event{Tenant: "main", Actor: "u-1", Action: "role.grant"})
		require.NoError(t, err)

		f.note()
		genuine := waitingBody(t, db)
		f.pass()
		var before testdb.Counts
		for range 2 { // the second one is as all that follow
			f.note()
			_, before = f.pass()
		}
		kinds := floodOf(t, genuine, waitingBody(t, elsewhere))
		for _, of := range kinds {
			insertFlood(t, db, of, many)
		}
		good := f.note()

		left, passes := many*len(kinds), 0
		for filed := 0; filed == 0; passes++ {
			r, n := f.pass()
			filed, left = r.Sequenced, left-r.Aside
			require.LessOrEqual(t, len(r.Refused), pass+5000, "a batch more, and those looked at again")
			require.LessOrEqual(t, n.Rows, before.Rows+4*(pass+5000))
			require.LessOrEqual(t, n.Statements, before.Statements+pass/10)
			require.Less(t, passes, 2*len(kinds)+1)
		}
		require.Zero(t, left)
		e, err := f.trail.Event(t.Context(), good)
		require.NoError(t, err)
		require.Positive(t, e.Index)

		f.pass()
		for range 3 {
			f.note()
			r, n := f.pass()
			require.Equal(t, 1, r.Sequenced)
			require.Equal(t, before.Statements, n.Statements)
			require.LessOrEqual(t, n.Rows, before.Rows+2*500+16, "those of which a key may come are looked at again, some a pass; and the edge of the tree")
		}
		findings, err := f.trail.Status(t.Context())
		require.NoError(t, err)
		told := map[string]float64{}
		for _, finding := range findings {
			told[finding.Name] = finding.Value
		}
		require.EqualValues(t, 2*many, told["audit.refused"], "no key, and a later version")
		require.EqualValues(t, many*(len(kinds)-2), told["audit.aside"])
	})
}

// floodOf are rows of each kind that may not enter.
func floodOf(t *testing.T, genuine, ofAnotherLog []byte) map[string]func(id uuid.UUID) []byte {
	t.Helper()
	body, err := auditlog.ParseRowBody(genuine)
	require.NoError(t, err)
	leafOf := func(id uuid.UUID, at string) []byte {
		tag := slices.Clone(body.Tag)
		tag[len(tag)-1] ^= 1
		leaf := `{"action":"role.grant","actor":"u-9","at":"` + at + `","id":"` + id.String() + `","kind":"event","outcome":"ok","tenant":"main","v":1}`
		out, err := auditlog.AppendRowBody(nil, auditlog.RowBody{Tag: tag, Leaf: []byte(leaf)})
		require.NoError(t, err)
		return out
	}
	const today = "2026-11-22T09:00:00.000000Z"
	return map[string]func(id uuid.UUID) []byte{
		"wrong tag": func(id uuid.UUID) []byte { return leafOf(id, today) },
		"wrong log": func(uuid.UUID) []byte { return ofAnotherLog },
		"unknown key": func(id uuid.UUID) []byte {
			out := leafOf(id, today)
			copy(out[2:6], "\xff\xff\xff\xff")
			return out
		},
		"later version": func(id uuid.UUID) []byte { return append([]byte{9}, leafOf(id, today)[1:]...) },
		"torn":          func(uuid.UUID) []byte { return genuine[:len(genuine)/2] },
		"far future":    func(id uuid.UUID) []byte { return leafOf(id, strings.Replace(today, "2026", "9999", 1)) },
		"known id":      func(uuid.UUID) []byte { return genuine }, // of an event that has its place
	}
}

func insertFlood(t *testing.T, db *sql.DB, of func(id uuid.UUID) []byte, many int) {
	t.Helper()
	opened, err := sqldb.Open(t.Context(), db)
	require.NoError(t, err)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	for range many / 500 {
		args := make([]any, 0, 4*500)
		for range 500 {
			id := uuid.New()
			args = append(args, id[:], 1, []byte{}, of(id))
		}
		_, err := tx.ExecContext(t.Context(), opened.Bind(`INSERT INTO crmguard_audit_events (id, log, retry, body) VALUES `+strings.TrimSuffix(strings.Repeat(`(?, ?, ?, ?), `, 500), ", ")), args...)
		require.NoError(t, err, fmt.Sprint(len(args)))
	}
	require.NoError(t, tx.Commit())
}

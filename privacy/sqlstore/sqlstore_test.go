package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/privacytest"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

const ddl = `
CREATE TABLE people (tenant TEXT, id TEXT, person TEXT, name TEXT, note TEXT, mail BLOB, created INTEGER, PRIMARY KEY (tenant, id)) STRICT;
CREATE INDEX people_person ON people (person);
CREATE TABLE cases (id INTEGER PRIMARY KEY, tenant TEXT, person TEXT, created TEXT) STRICT;
CREATE INDEX cases_person ON cases (person);
CREATE TABLE steps (id INTEGER PRIMARY KEY, case_id INTEGER REFERENCES cases(id), text TEXT) STRICT;
CREATE INDEX steps_case ON steps (case_id);
CREATE TABLE marks (id INTEGER PRIMARY KEY, step_id INTEGER REFERENCES steps(id)) STRICT;
CREATE INDEX marks_step ON marks (step_id);
CREATE TABLE meetings (id TEXT PRIMARY KEY, tenant TEXT, text TEXT) STRICT;
CREATE TABLE meeting_people (meeting TEXT, person TEXT, PRIMARY KEY (meeting, person)) STRICT;
CREATE INDEX meeting_people_person ON meeting_people (person);
`

func dataMap() *datamap.Map {
	return &datamap.Map{Tables: []datamap.Table{
		{
			Name: "people", Key: []string{"tenant", "id"}, Tenant: "tenant", Person: "person", Created: "created", Erase: datamap.Null,
			Columns: []datamap.Column{
				{Name: "person", Category: "id", Erase: datamap.Retain},
				{Name: "name", Category: "name"},
				{Name: "note", Category: "text", Erase: datamap.Redact},
				{Name: "mail", Category: "mail", Sealed: true, Erase: datamap.Shred},
			},
		},
		{Name: "cases", Key: []string{"id"}, Tenant: "tenant", Person: "person", Created: "created", Erase: datamap.Delete},
		{Name: "steps", Key: []string{"id"}, Edges: []datamap.Edge{{Columns: []string{"case_id"}, Table: "cases"}}, Erase: datamap.Delete, Columns: []datamap.Column{{Name: "text", Category: "text"}}},
		{Name: "marks", Key: []string{"id"}, Edges: []datamap.Edge{{Columns: []string{"step_id"}, Table: "steps"}}, Erase: datamap.Delete},
		{
			Name: "meetings", Key: []string{"id"}, Tenant: "tenant", Erase: datamap.Delete,
			Link:    &datamap.Link{Table: "meeting_people", Record: "meeting", Person: "person"},
			Columns: []datamap.Column{{Name: "text", Category: "text"}},
		},
	}}
}

func openDB(t *testing.T) *sql.DB {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "x.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(50)&_pragma=secure_delete(1)&_pragma=foreign_keys(1)")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return filled(t, db)
}

// filled gives a database the tables of ddl and of the library. Nothing may
// need a second connection.
func filled(t *testing.T, db *sql.DB) *sql.DB {
	db.SetMaxOpenConns(1)
	exec(t, db, ddl)
	require.NoError(t, privacy.Install(t.Context(), db))
	return db
}

// each runs f on each of the four databases, with the tables of ddl.
func each(t *testing.T, f func(t *testing.T, db *sql.DB, name testdb.Name)) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name == testdb.SQLite {
			f(t, openDB(t), d.Name)
			return
		}
		f(t, filled(t, d.Open(t)), d.Name)
	})
}

func redact(context.Context, sqlstore.JointRow) (sqlstore.Redaction, error) {
	return sqlstore.Redaction{}, nil
}

func open(t *testing.T, db *sql.DB, m *datamap.Map) *sqlstore.Store {
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: m, Redact: redact})
	require.NoError(t, err)
	return s
}

// exec runs statements as SQLite has them; of the types of columns it writes
// what applications use on the other databases.
func exec(t *testing.T, db *sql.DB, text string, args ...any) {
	d := dialect(db)
	statements := strings.Split(text, ";")
	if strings.Contains(text, "BEGIN") {
		statements = []string{text}
	}
	for _, query := range statements {
		if query = strings.TrimSpace(query); query == "" {
			continue
		}
		if strings.HasPrefix(query, "CREATE TABLE") || strings.HasPrefix(query, "ALTER TABLE") {
			query = typed(d.Kind, query)
		}
		if strings.HasPrefix(query, "DROP INDEX") && d.Kind != sqldb.MariaDB {
			query, _, _ = strings.Cut(query, " ON ")
		}
		_, err := db.ExecContext(t.Context(), d.Bind(query), args...)
		require.NoError(t, err, query)
	}
}

func typed(kind sqldb.Kind, query string) string {
	switch kind {
	case sqldb.Postgres:
		return strings.NewReplacer(" STRICT", "", " INTEGER", " bigint", " BLOB", " bytea", " TEXT", " text").Replace(query)
	case sqldb.MariaDB, sqldb.MySQL:
		return strings.NewReplacer(" STRICT", "", " INTEGER", " BIGINT", " BLOB", " LONGBLOB", " TEXT", " VARCHAR(255)").Replace(query)
	case sqldb.SQLite:
	}
	return query
}

func count(t *testing.T, db *sql.DB, query string, args ...any) int {
	var n int
	require.NoError(t, db.QueryRowContext(t.Context(), dialect(db).Bind(query), args...).Scan(&n))
	return n
}

// dialect is known by the driver: a test asks often.
func dialect(db *sql.DB) sqldb.Dialect {
	switch driver := fmt.Sprintf("%T", db.Driver()); {
	case strings.Contains(driver, "sqlite"):
		return sqldb.Dialect{Kind: sqldb.SQLite}
	case strings.Contains(driver, "mysql"):
		return sqldb.Dialect{Kind: sqldb.MariaDB}
	}
	return sqldb.Dialect{Kind: sqldb.Postgres}
}

// drop removes tables that refer to each other.
func drop(t *testing.T, db *sql.DB, tables ...string) {
	before, after, cascade := map[sqldb.Kind]string{sqldb.SQLite: `PRAGMA foreign_keys = OFF`, sqldb.MariaDB: `SET FOREIGN_KEY_CHECKS = 0`}[dialect(db).Kind],
		map[sqldb.Kind]string{sqldb.SQLite: `PRAGMA foreign_keys = ON`, sqldb.MariaDB: `SET FOREIGN_KEY_CHECKS = 1`}[dialect(db).Kind], ""
	if dialect(db).Kind == sqldb.Postgres {
		cascade = " CASCADE"
	}
	exec(t, db, before)
	for _, table := range tables {
		exec(t, db, `DROP TABLE IF EXISTS `+table+cascade)
	}
	exec(t, db, after)
}

func plant(db *sql.DB) func(t *testing.T, tenant, person string) {
	n := 0
	return func(t *testing.T, tenant, person string) {
		n++
		exec(t, db, `INSERT INTO people VALUES (?, ?, ?, 'Ann', 'met Ann', ?, 1600000000000000)`, tenant, "a/b%"+uuid.NewString(), person, []byte{1})
		exec(t, db, `INSERT INTO cases VALUES (?, ?, ?, '2026-01-02T03:04:05Z')`, n, tenant, person)
		exec(t, db, `INSERT INTO steps VALUES (?, ?, 'called')`, n, n)
		exec(t, db, `INSERT INTO marks VALUES (?, ?)`, n, n)
		id := uuid.Must(uuid.NewV7()).String()
		exec(t, db, `INSERT INTO meetings VALUES (?, ?, 'text')`, id, tenant)
		exec(t, db, `INSERT INTO meeting_people VALUES (?, ?)`, id, person)
	}
}

func of(rows []datastore.Row, table string) datastore.Row {
	for _, r := range rows {
		if r.Table == table {
			return r
		}
	}
	return datastore.Row{}
}

// The same judge passes on every database, through every driver.
func TestJudge(t *testing.T) {
	one := dataMap()
	for i := range one.Tables {
		one.Tables[i].Tenant = ""
	}
	one.Tenant = "t1"
	for _, name := range testdb.Names() {
		for i, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				db := filled(t, testdb.New(t, name).OpenWith(t, driver))
				judge := func(t *testing.T, m *datamap.Map, tenants [2]string) {
					privacytest.Run(t, func(t *testing.T) privacytest.Fixture {
						for _, table := range []string{"marks", "steps", "cases", "people", "meetings", "meeting_people", "crmguard_privacy_retired"} {
							exec(t, db, `DELETE FROM `+table)
						}
						return privacytest.Fixture{Store: open(t, db, m), Tenants: tenants, Plant: plant(db)}
					})
				}
				t.Run("tenants", func(t *testing.T) { judge(t, dataMap(), [2]string{"t1", "t2"}) })
				if i == 0 {
					t.Run("one tenant", func(t *testing.T) { judge(t, one, [2]string{"t1"}) })
				}
			})
		}
	}
}

func TestRowsThatStay(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
		s := open(t, db, dataMap())
		plant(db)(t, "t1", "p1")
		scope := datastore.Scope{Tenant: "t1", Person: "p1"}
		rows, err := s.Find(t.Context(), scope)
		require.NoError(t, err)
		classes := map[string]datastore.Class{}
		for _, r := range rows {
			classes[r.Table] = r.Class
			require.False(t, r.Clean)
		}
		require.Equal(t, map[string]datastore.Class{"people": datastore.Shredded, "cases": datastore.Deleted, "steps": datastore.Deleted, "marks": datastore.Deleted, "meetings": datastore.Deleted}, classes)
		require.Equal(t, time.Date(2020, 9, 13, 12, 26, 40, 0, time.UTC), of(rows, "people").Created)
		require.Equal(t, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), of(rows, "cases").Created)
		require.WithinDuration(t, time.Now(), of(rows, "meetings").Created, time.Hour, "the time in the UUIDv7")
		require.NoError(t, s.Erase(t.Context(), scope, nil))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM people WHERE person = 'p1' AND name IS NULL AND note = '[redacted]' AND mail IS NOT NULL`))
		require.Equal(t, 0, count(t, db, `SELECT (SELECT COUNT(*) FROM cases) + (SELECT COUNT(*) FROM steps) + (SELECT COUNT(*) FROM marks) + (SELECT COUNT(*) FROM meetings) + (SELECT COUNT(*) FROM meeting_people)`))
		left, err := s.Remaining(t.Context(), scope, rows)
		require.NoError(t, err)
		require.Zero(t, left)
		rows, err = s.Find(t.Context(), scope)
		require.NoError(t, err)
		require.Len(t, rows, 1)
		require.True(t, rows[0].Clean, "nothing is left to do to it")
		exec(t, db, `UPDATE people SET name = 'Ann'`)
		left, err = s.Remaining(t.Context(), scope, nil)
		require.NoError(t, err)
		require.Equal(t, 1, left, "a fresh search sees what came back")
	})
}

// A row that lost its edge is not found by a search, but by its key; it is left,
// unless it is somebody else's by now.
func TestLeftLooksByKey(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
		s := open(t, db, dataMap())
		plant(db)(t, "t1", "p1")
		scope := datastore.Scope{Tenant: "t1", Person: "p1"}
		rows, err := s.Find(t.Context(), scope)
		require.NoError(t, err)
		exec(t, db, `UPDATE cases SET person = NULL`)
		exec(t, db, `UPDATE people SET person = NULL`)
		require.NoError(t, s.Erase(t.Context(), scope, nil))
		left, err := s.Remaining(t.Context(), scope, rows)
		require.NoError(t, err)
		require.Equal(t, 4, left, "case, step, mark and the person's row")
		fresh, err := s.Remaining(t.Context(), scope, nil)
		require.NoError(t, err)
		require.Zero(t, fresh)
		exec(t, db, `UPDATE cases SET person = 'p2'`) // and its step and mark with it
		left, err = s.Remaining(t.Context(), scope, rows)
		require.NoError(t, err)
		require.Equal(t, 1, left, "the person's row; the others are somebody else's")
		_, err = s.Remaining(t.Context(), scope, []datastore.Row{{Table: "people", Key: "one part"}})
		require.Error(t, err)
	})
}

func TestPseudonymisedAndRedacted(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
		m := dataMap()
		m.Tables[0].Columns[3].Erase = datamap.Null
		plant(db)(t, "t1", "p1")
		rows, err := open(t, db, m).Find(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"})
		require.NoError(t, err)
		require.Equal(t, datastore.Pseudonymised, of(rows, "people").Class)
		m.Tables[0].Columns[0].Erase = datamap.Null
		s := open(t, db, m)
		rows, err = s.Find(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"})
		require.NoError(t, err)
		require.Equal(t, datastore.Redacted, of(rows, "people").Class)
		require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM people WHERE person IS NULL AND mail IS NULL`))
	})
}

func TestBefore(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
		s := open(t, db, dataMap())
		plant(db)(t, "t1", "p1")
		scope := datastore.Scope{Tenant: "t1", Person: "p1", Before: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		rows, err := s.Find(t.Context(), scope)
		require.NoError(t, err)
		require.Len(t, rows, 1, "only people is older; steps and marks have no time")
		scope.Before = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
		scope.Known = func(table, key string) bool { return (table == "steps" || table == "marks") && key == "1" }
		require.NoError(t, s.Erase(t.Context(), scope, nil))
		require.Equal(t, 0, count(t, db, `SELECT COUNT(*) FROM cases`))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM meetings`), "made after the date")
		left, err := s.Remaining(t.Context(), scope, nil)
		require.NoError(t, err)
		require.Zero(t, left)
	})
}

func TestEraseIsOneTransaction(t *testing.T) {
	db := openDB(t)
	s := open(t, db, dataMap())
	plant(db)(t, "t1", "p1")
	exec(t, db, `CREATE TRIGGER no BEFORE DELETE ON cases BEGIN SELECT RAISE(ABORT, 'secret words'); END`)
	err := s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil)
	var detail *sqlstore.DatabaseError
	require.ErrorAs(t, err, &detail)
	require.Equal(t, "cases", detail.Table)
	require.NotContains(t, err.Error(), "secret words")
	var answer *sqldb.DriverError
	require.ErrorAs(t, err, &answer)
	require.ErrorContains(t, errors.Unwrap(answer), "secret words", "the driver's own error is there for whoever asks for it")
	require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM marks`), "nothing happened")
}

func TestManyRows(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
		s := open(t, db, dataMap())
		p := plant(db)
		for range 120 {
			p(t, "t1", "p1")
		}
		require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil))
		require.Equal(t, 0, count(t, db, `SELECT COUNT(*) FROM steps`))
		for _, from := range []int{1000, 2000, 3000} {
			exec(t, db, `INSERT INTO cases WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 800) SELECT i + `+fmt.Sprint(from)+`, 't1', concat('q', i + `+fmt.Sprint(from)+`), NULL FROM n`)
		}
		seen := map[string]bool{}
		for person, err := range s.People(t.Context()) {
			require.NoError(t, err)
			seen[person.ID] = true
			require.Equal(t, 2400, count(t, db, `SELECT COUNT(*) FROM cases`), "the one connection is free between two persons")
		}
		require.Len(t, seen, 2401, "over several pages, with the bare row")
	})
}

func TestOpenRefusals(t *testing.T) {
	db := openDB(t)
	m := dataMap()
	_, err := sqlstore.Open(t.Context(), sqlstore.Config{})
	require.Error(t, err)
	_, err = sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: &datamap.Map{}})
	require.ErrorIs(t, err, datamap.ErrMap)
	_, err = sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: m})
	require.ErrorContains(t, err, "Redact is needed")
	m.Tables[4].Link.Owner = "owner"
	_, err = sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: m, Redact: redact})
	require.ErrorContains(t, err, "EraseOwner is needed")
	s := open(t, db, dataMap())
	require.Equal(t, "database", s.Name())
	_, err = s.Find(t.Context(), datastore.Scope{Person: "p1"})
	require.ErrorIs(t, err, datastore.ErrScope)
}

func TestFlushWaitsForReaders(t *testing.T) {
	db := openDB(t)
	s := open(t, db, dataMap())
	require.NoError(t, s.Flush(t.Context()))
	var file string
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT file FROM pragma_database_list`).Scan(&file))
	reader, err := sql.Open("sqlite", "file:"+file)
	require.NoError(t, err)
	defer reader.Close()
	tx, err := reader.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	var n int
	require.NoError(t, tx.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM cases`).Scan(&n))
	plant(db)(t, "t1", "p1")
	require.ErrorIs(t, s.Flush(t.Context()), datastore.ErrLater)
	require.NoError(t, tx.Rollback())
	require.NoError(t, s.Flush(t.Context()))
}

func TestErrorsOfAClosedDatabase(t *testing.T) {
	db := openDB(t)
	s := open(t, db, dataMap())
	require.NoError(t, db.Close())
	scope := datastore.Scope{Tenant: "t1", Person: "p1"}
	_, err := s.Find(t.Context(), scope)
	require.Error(t, err)
	require.Error(t, s.Erase(t.Context(), scope, nil))
	_, err = s.Remaining(t.Context(), scope, nil)
	require.Error(t, err)
	require.Error(t, s.Flush(t.Context()))
	for _, err := range s.Export(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}) {
		require.Error(t, err)
	}
	for _, err := range s.People(t.Context()) {
		require.Error(t, err)
	}
}

// A database that does not answer is not taken for one of another kind, whose
// schema nobody checks and whose ids are compared less exactly.
func TestADatabaseThatDoesNotAnswerIsNotOpened(t *testing.T) {
	db := openDB(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var failed *sqlstore.DatabaseError
	_, err := sqlstore.Open(ended, sqlstore.Config{DB: db, Map: dataMap(), Redact: redact})
	require.ErrorAs(t, err, &failed)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, db.Close())
	_, err = sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: dataMap(), Redact: redact})
	require.ErrorAs(t, err, &failed)
}

func TestARedactionThatFails(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
		plant(db)(t, "t1", "p1")
		exec(t, db, `INSERT INTO meeting_people SELECT id, 'p2' FROM meetings`)
		for _, r := range []func(context.Context, sqlstore.JointRow) (sqlstore.Redaction, error){
			func(context.Context, sqlstore.JointRow) (sqlstore.Redaction, error) {
				return sqlstore.Redaction{}, errors.New("secret words")
			},
			func(context.Context, sqlstore.JointRow) (sqlstore.Redaction, error) {
				return sqlstore.Redaction{Apply: func(context.Context, datastore.Tx) error { return errors.New("secret words") }}, nil
			},
			func(ctx context.Context, j sqlstore.JointRow) (sqlstore.Redaction, error) {
				return sqlstore.Redaction{Retire: []string{"r:old"}}, nil // nobody destroys it
			},
		} {
			s, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: dataMap(), Redact: r})
			require.NoError(t, err)
			err = s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil)
			require.Error(t, err)
			require.False(t, strings.Contains(err.Error(), "secret"))
		}
		left, err := open(t, db, dataMap()).Remaining(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil)
		require.NoError(t, err)
		require.Equal(t, 1, left, "the owner that nobody destroyed")
	})
}

package sqlstore_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// What inherits from a table is a table of its own, with keys that may be the same.
func TestAnHeirIsATableOfItsOwn(t *testing.T) {
	eachDriver(t, func(t *testing.T, db *sql.DB, name testdb.Name) {
		if name == testdb.MariaDB {
			return // has no such tables
		}
		run(t, db, `CREATE TABLE people (id serial PRIMARY KEY, person text, issued date)`, `CREATE TABLE staff (salary int) INHERITS (people)`,
			`INSERT INTO people VALUES (1, 'p1', '2026-01-01')`, `INSERT INTO staff VALUES (1, 'p2', '2026-01-01', 8), (2, 'p1', '2026-01-01', 7), (9, 'p3', '2026-01-01', 8)`)
		people := datamap.Table{Name: "people", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "issued"}}}
		staff := people
		staff.Name, staff.Keep = "staff", &datamap.Keep{Because: "law", From: "issued", Years: 1000}
		staff.Columns = []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Retain}, {Name: "salary", Category: "pay", Erase: datamap.Retain}}
		s := storeOf(t, db, people, staff)
		require.Equal(t, []string{"people 1", "staff 2"}, found(t, s, "p1"))
		require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil))
		require.Equal(t, []string{"1 p2", "2 p1", "9 p3"}, texts(t, db, `SELECT id || ' ' || person FROM people ORDER BY id`))
		tops, err := s.Tops(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 9, tops["people.id"], "the counter is one for both")
	})
}

// A partition on another server is no table that a transaction gives back.
func TestAPartOnAnotherServerIsRefused(t *testing.T) {
	eachDriver(t, func(t *testing.T, db *sql.DB, name testdb.Name) {
		if name == testdb.MariaDB {
			return
		}
		run(t, db, `CREATE TABLE calls (id int, person text) PARTITION BY RANGE (id)`, `CREATE FOREIGN DATA WRAPPER nowhere`, `CREATE SERVER far FOREIGN DATA WRAPPER nowhere`,
			`CREATE FOREIGN TABLE calls_1 PARTITION OF calls FOR VALUES FROM (1) TO (9) SERVER far`)
		_, err := sqlstore.Open(t.Context(), handed(db, datamap.Table{Name: "calls", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}))
		require.ErrorIs(t, err, datamap.ErrMap)
		require.ErrorContains(t, err, "another server")
	})
}

// Names of tables of MariaDB are those of files.
func TestTablesWhoseNamesDifferInCase(t *testing.T) {
	db := testdb.New(t, testdb.MariaDB).Open(t)
	require.NoError(t, privacy.Install(t.Context(), db))
	run(t, db, "CREATE TABLE people (id INT AUTO_INCREMENT PRIMARY KEY, person VARCHAR(20))", "CREATE TABLE People (id INT AUTO_INCREMENT PRIMARY KEY, person VARCHAR(20), email VARCHAR(20))",
		"INSERT INTO people VALUES (1, 'p1')", "INSERT INTO People VALUES (7, 'p1', 'a')")
	small := datamap.Table{Name: "people", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}
	large := small
	large.Name, large.Columns = "People", []datamap.Column{{Name: "email", Category: "contact.email"}}
	s := storeOf(t, db, small, large)
	require.Equal(t, []string{"People 7", "people 1"}, found(t, s, "p1"))
	tops, err := s.Tops(t.Context())
	require.NoError(t, err)
	require.Len(t, tops, 2)
	for name, top := range tops {
		require.Equal(t, map[bool]int64{true: 7, false: 1}[strings.Contains(name, "People")], top, name)
	}
	require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil))
	require.Empty(t, texts(t, db, "SELECT person FROM people UNION ALL SELECT person FROM People"))
}

// ANALYZE copies values of indexed columns.
func TestSamplesOfThePlannerAreForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=secure_delete(1)")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	require.NoError(t, privacy.Install(t.Context(), db))
	run(t, db, `CREATE TABLE people (id INTEGER PRIMARY KEY, person TEXT, email TEXT)`, `CREATE INDEX mails ON people (email)`, `CREATE TABLE rates (id INTEGER PRIMARY KEY, percent INT)`, `CREATE INDEX percents ON rates (percent)`)
	for i := range 9 {
		exec(t, db, `INSERT INTO people VALUES (?, ?, ?)`, i, "p", strings.Repeat("ann", i+1))
		exec(t, db, `INSERT INTO rates VALUES (?, ?)`, i, i)
	}
	exec(t, db, `INSERT INTO people VALUES (99, 'p1', 'zacharias@example.org')`)
	run(t, db, `ANALYZE`)
	s := storeOf(t, db, datamap.Table{Name: "People", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "email", Category: "contact.email"}}})
	require.NoError(t, s.Flush(t.Context()))
	run(t, db, `ANALYZE`)
	require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil))
	require.NotZero(t, count(t, db, `SELECT COUNT(*) FROM sqlite_stat4 WHERE INSTR(hex(sample), hex('zacharias')) > 0`), "the sample is there")
	require.NoError(t, s.Flush(t.Context()))
	require.NotZero(t, count(t, db, `SELECT COUNT(*) FROM sqlite_stat4 WHERE tbl = 'rates'`), "those of other tables stay")
	require.NoError(t, db.Close())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(data), "zacharias")
}

// A row of somebody else that points to the person in several columns is one row,
// and all of them are named.
func TestARowThatPointsTwiceIsOne(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE deals (id INTEGER PRIMARY KEY, owner TEXT, agent TEXT, buyer TEXT);
			INSERT INTO contacts VALUES ('c1', 'p1', 'a'); INSERT INTO deals VALUES (1, 'p1', 'p1', NULL), (2, 'p1', 'p2', 'p1'), (3, 'p2', NULL, 'p1')`)
		cut := func(column string, unlink datamap.Action) datamap.Edge {
			return datamap.Edge{Columns: []string{column}, Unlink: unlink}
		}
		s := storeOf(t, db, contacts, datamap.Table{Name: "deals", Key: []string{"id"}, Edges: []datamap.Edge{cut("owner", datamap.Null), cut("agent", datamap.Null), cut("buyer", datamap.Delete)}})
		rows, err := s.Find(t.Context(), scopeOf("p1"))
		require.NoError(t, err)
		said := map[string]datastore.Row{}
		for _, r := range rows {
			said[r.Table+" "+r.Key] = r
		}
		require.Len(t, rows, 4)
		require.Equal(t, datastore.Row{Table: "deals", Key: "1", Class: datastore.Redacted, Others: true, Points: "owner, agent"}, said["deals 1"])
		require.Equal(t, datastore.Row{Table: "deals", Key: "2", Class: datastore.Deleted, Points: "owner, buyer"}, said["deals 2"])
		require.Equal(t, datastore.Row{Table: "deals", Key: "3", Class: datastore.Deleted, Points: "buyer"}, said["deals 3"])
		rehearsed, err := s.Rehearse(t.Context(), []datastore.Scope{scopeOf("p1")})
		require.NoError(t, err)
		require.Len(t, rehearsed, 4)
		require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), rows))
		require.Equal(t, []string{"1"}, texts(t, db, `SELECT id FROM deals`))
		left, err := s.Remaining(t.Context(), scopeOf("p1"), rows)
		require.NoError(t, err)
		require.Zero(t, left)
	})
}

// A session may be told to fill CHAR with blanks.
func TestCharsThatAreFilledWithBlanks(t *testing.T) {
	db := testdb.New(t, testdb.MariaDB).Open(t)
	db.SetMaxOpenConns(1)
	require.NoError(t, privacy.Install(t.Context(), db))
	run(t, db, "SET sql_mode = CONCAT(@@sql_mode, ',PAD_CHAR_TO_FULL_LENGTH')", "CREATE TABLE contacts (id CHAR(20) PRIMARY KEY, person CHAR(20), email CHAR(30))", "CREATE TABLE notes (id CHAR(20) PRIMARY KEY, contact VARCHAR(20))",
		"INSERT INTO contacts VALUES ('c1', 'p1', 'a@x')", "INSERT INTO notes VALUES ('n1', 'c1')")
	s := storeOf(t, db, contacts, datamap.Table{Name: "notes", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("contact", "contacts")}})
	require.Equal(t, []string{"contacts c1", "notes n1"}, found(t, s, "p1"))
	require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil))
	require.Empty(t, texts(t, db, "SELECT id FROM contacts UNION ALL SELECT id FROM notes"))
}

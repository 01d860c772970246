package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// Several persons go in one transaction, of which the caller's step is the last;
// its error takes everything back.
func TestTheLastStepOfATransaction(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
		s := open(t, db, dataMap())
		p := plant(db)
		for _, who := range []string{"p1", "p2", "p3"} {
			p(t, "t1", who)
			p(t, "t2", who)
		}
		exec(t, db, `INSERT INTO meeting_people SELECT meeting, 'p2' FROM meeting_people WHERE person = 'p1'`)
		scopes := []datastore.Scope{{Tenant: "t1", Person: "p1"}, {Tenant: "t1", Person: "p2"}, {Tenant: "t2", Person: "p1"}}
		before := count(t, db, `SELECT COUNT(*) FROM meetings`)
		broken := errors.New("the ledger is full")
		err := s.EraseIn(t.Context(), scopes, func(ctx context.Context, tx datastore.Tx, found []datastore.Row) error {
			var n int
			require.NoError(t, tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM steps`).Scan(&n))
			require.Equal(t, 3, n, "it sees what is done")
			return broken
		})
		require.ErrorIs(t, err, broken)
		require.Equal(t, 6, count(t, db, `SELECT COUNT(*) FROM steps`))
		require.Equal(t, before, count(t, db, `SELECT COUNT(*) FROM meetings`))
		calls := 0
		require.NoError(t, s.EraseIn(t.Context(), scopes, func(ctx context.Context, tx datastore.Tx, found []datastore.Row) error {
			calls++
			whose := map[string]int{}
			for _, r := range found {
				whose[r.Person]++
			}
			require.Equal(t, map[string]int{"p1": 10, "p2": 5 + 1}, whose, "five rows each, and the meeting of the other that is theirs, too")
			_, err := tx.ExecContext(ctx, `INSERT INTO cases (id) VALUES (99)`)
			return err
		}))
		require.Equal(t, 1, calls)
		require.Equal(t, 3, count(t, db, `SELECT COUNT(*) FROM steps`))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM cases WHERE id = 99`))
		require.Zero(t, count(t, db, `SELECT COUNT(*) FROM meeting_people WHERE person IN ('p1', 'p2') AND meeting IN (SELECT id FROM meetings WHERE tenant = 't1')`))
	})
}

// Lines without a date of their own are kept with what they belong to, and go with
// it; a link table with columns of its own is a table, too; what hangs on a joint
// record goes with it.
func TestRowsThatBelongToOthers(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE bills (firm VARCHAR(20), no INTEGER, person TEXT, issued TEXT, PRIMARY KEY (firm, no)); CREATE TABLE items (id INTEGER PRIMARY KEY, firm TEXT, bill INTEGER, body TEXT);
			CREATE TABLE deals (id INTEGER PRIMARY KEY, body TEXT); CREATE TABLE parts (id INTEGER PRIMARY KEY, deal INTEGER, who TEXT, remark TEXT); CREATE TABLE comments (id INTEGER PRIMARY KEY, deal INTEGER)`)
		exec(t, db, `INSERT INTO bills VALUES ('a', 1, 'p1', '2020-01-01'), ('a', 2, 'p1', '2001-01-01'); INSERT INTO items VALUES (1, 'a', 1, 'x'), (2, 'a', 2, 'x'), (3, 'b', 1, 'x');
			INSERT INTO deals VALUES (1, 'x'), (2, 'x'); INSERT INTO parts VALUES (1, 1, 'p1', 'late'), (2, 2, 'p1', 'late'), (3, 2, 'p2', 'late'); INSERT INTO comments VALUES (1, 1), (2, 2)`)
		cfg := handed(db,
			datamap.Table{
				Name: "bills", Key: []string{"firm", "no"}, Person: "person", Erase: datamap.Delete, Keep: &datamap.Keep{Because: "law", From: "issued", Years: 10},
				Columns: []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Retain}},
			},
			datamap.Table{Name: "items", Key: []string{"id"}, Erase: datamap.Delete, Columns: []datamap.Column{{Name: "body", Category: "text"}}, Edges: []datamap.Edge{{Columns: []string{"firm", "bill"}, Table: "bills"}}},
			datamap.Table{Name: "deals", Key: []string{"id"}, Erase: datamap.Delete, Link: &datamap.Link{Table: "parts", Record: "deal", Person: "who"}, Columns: []datamap.Column{{Name: "body", Category: "text"}}},
			datamap.Table{Name: "parts", Key: []string{"id"}, Person: "who", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "deal"}, {Name: "remark", Category: "text"}}},
			datamap.Table{Name: "comments", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("deal", "deals")}},
		)
		s, err := sqlstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		scope := scopeOf("p1")
		scope.Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		rows, err := s.Find(t.Context(), scope)
		require.NoError(t, err)
		classes := map[string]datastore.Class{}
		for _, r := range rows {
			classes[r.Table+" "+r.Key] = r.Class
		}
		require.Equal(t, map[string]datastore.Class{
			"bills a/1": datastore.Pseudonymised, "items 1": datastore.Kept, "bills a/2": datastore.Deleted, "items 2": datastore.Deleted, "deals 1": datastore.Deleted, "deals 2": datastore.Redacted,
			"parts 1": datastore.Deleted, "parts 2": datastore.Deleted, "comments 1": datastore.Deleted,
		}, classes)
		require.NoError(t, rehearse(t, s, scope))
		require.NoError(t, s.Erase(t.Context(), scope, nil))
		left, err := s.Remaining(t.Context(), scope, rows)
		require.NoError(t, err)
		require.Zero(t, left)
		merged := scopeOf("p0")
		merged.Now = scope.Now
		left, err = s.Remaining(t.Context(), merged, rows)
		require.NoError(t, err)
		require.Zero(t, left, "the rows of whom somebody was merged into are asked for with them")
		for table, want := range map[string][]string{"items": {"1", "3"}, "deals": {"2"}, "parts": {"3"}, "comments": {"2"}} {
			require.Equal(t, want, texts(t, db, `SELECT id FROM `+table+` ORDER BY id`), table)
		}
		scope.Now = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
		require.NoError(t, s.Erase(t.Context(), scope, nil))
		require.Equal(t, []string{"3"}, texts(t, db, `SELECT id FROM items`))
	})
}

// What an erasure of nineteen rows in four tables says to the database.
func TestStatementsOfAnErasure(t *testing.T) {
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) {
			db, cutter := testdb.New(t, name).Cutting(t, name.Drivers()[0])
			db.SetMaxOpenConns(1)
			require.NoError(t, privacy.Install(t.Context(), db))
			exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE INDEX a ON contacts (person); CREATE TABLE deals (id INTEGER PRIMARY KEY, contact TEXT); CREATE INDEX b ON deals (contact);
				CREATE TABLE notes (id INTEGER PRIMARY KEY, contact TEXT); CREATE INDEX c ON notes (contact); CREATE TABLE steps (id INTEGER PRIMARY KEY, deal INTEGER); CREATE INDEX d ON steps (deal)`)
			hangs := func(table, on, to string) datamap.Table {
				return datamap.Table{Name: table, Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge(on, to)}}
			}
			s := storeOf(t, db, contacts, hangs("deals", "contact", "contacts"), hangs("notes", "contact", "contacts"), hangs("steps", "deal", "deals"))
			said := func(f func()) int {
				cutter.Counts()
				f()
				return cutter.Counts().Statements
			}
			fill := func(person string, from int) {
				exec(t, db, `INSERT INTO contacts VALUES (?, ?, 'a')`, "c"+person, person)
				for i := range 6 {
					exec(t, db, `INSERT INTO deals VALUES (?, ?)`, from+i, "c"+person)
					exec(t, db, `INSERT INTO notes VALUES (?, ?)`, from+i, "c"+person)
					exec(t, db, `INSERT INTO steps VALUES (?, ?)`, from+i, from+i)
				}
			}
			fill("p1", 0)
			fill("p2", 10)
			fill("p3", 20)
			var rows []datastore.Row
			var err error
			finding := said(func() { rows, err = s.Find(t.Context(), scopeOf("p1")) })
			require.NoError(t, err)
			require.Len(t, rows, 19)
			erasing := said(func() { require.NoError(t, s.EraseIn(t.Context(), []datastore.Scope{scopeOf("p1")}, nil)) })
			left := 0
			reading := said(func() { left, err = s.Remaining(t.Context(), scopeOf("p1"), rows) })
			require.NoError(t, err)
			require.Zero(t, left)
			both := said(func() {
				require.NoError(t, s.EraseIn(t.Context(), []datastore.Scope{scopeOf("p2"), scopeOf("p3")}, nil))
			})
			t.Logf("statements: find %d, erase %d, read back %d, erase two persons %d", finding, erasing, reading, both)
			require.Equal(t, 4, finding, "one a table")
			require.LessOrEqual(t, erasing, 4+4+4+3, "find, delete, find again; the transaction's own")
			require.LessOrEqual(t, reading, 8)
			require.Equal(t, erasing, both, "as many for two")
		})
	}
}

// Counters are moved past what was given out before, and never back.
func TestCountersMoveOn(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		serial := map[sqldb.Kind]string{sqldb.SQLite: "INTEGER PRIMARY KEY AUTOINCREMENT", sqldb.Postgres: "bigserial PRIMARY KEY", sqldb.MariaDB: "BIGINT AUTO_INCREMENT PRIMARY KEY"}[kind]
		run(t, db, `CREATE TABLE contacts (id `+serial+`, person VARCHAR(20), email VARCHAR(20))`, `CREATE TABLE notes (id INTEGER PRIMARY KEY, person VARCHAR(20))`)
		if kind == sqldb.Postgres {
			run(t, db, `CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person VARCHAR(20))`, `CREATE SEQUENCE "Mine"`, `CREATE TABLE teams (id bigint PRIMARY KEY DEFAULT nextval('"Mine"'), person VARCHAR(20))`)
		}
		tables := []datamap.Table{contacts, {Name: "notes", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}}
		if kind == sqldb.Postgres {
			tables = append(tables, datamap.Table{Name: "users", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}, datamap.Table{Name: "teams", Key: []string{"id"}, Person: "person", Erase: datamap.Delete})
		}
		s := storeOf(t, db, tables...)
		tops, err := s.Tops(t.Context())
		require.NoError(t, err)
		require.Zero(t, tops["contacts.id"])
		run(t, db, `INSERT INTO contacts (person) VALUES ('p1')`, `INSERT INTO contacts (person) VALUES ('p2')`, `DELETE FROM contacts WHERE person = 'p2'`)
		tops, err = s.Tops(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(2), tops["contacts.id"], "given out, and gone")
		want := map[string]int64{"contacts.id": 500, "elsewhere.id": 7}
		if kind == sqldb.Postgres {
			want["users.id"], want["teams.id"] = 60, 70
		}
		require.NoError(t, s.Advance(t.Context(), want))
		require.NoError(t, s.Advance(t.Context(), map[string]int64{"contacts.id": 3}), "never back")
		run(t, db, `INSERT INTO contacts (person) VALUES ('new')`)
		require.Equal(t, 501, count(t, db, `SELECT MAX(id) FROM contacts`))
		if kind == sqldb.Postgres {
			run(t, db, `INSERT INTO users (person) VALUES ('new')`, `INSERT INTO teams (person) VALUES ('new')`)
			require.Equal(t, 61+71, count(t, db, `SELECT (SELECT MAX(id) FROM users) + (SELECT MAX(id) FROM teams)`))
		}
		var none *sqlstore.NumberError
		require.ErrorAs(t, s.Advance(t.Context(), map[string]int64{"notes.id": 7}), &none, "it gives numbers again")
		require.Equal(t, sqlstore.NumberError{Table: "notes", Column: "id"}, *none)
	})
}

// A rehearsal does not wait for a lock that somebody holds for long.
func TestARehearsalDoesNotWaitForLong(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		if kind == sqldb.SQLite {
			return // there it waits as long as the connection does
		}
		db.SetMaxOpenConns(3)
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'a')`)
		cfg := handed(db, contacts)
		cfg.LockWait = time.Millisecond
		s, err := sqlstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), `UPDATE contacts SET email = 'b'`)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = s.Rehearse(ctx, []datastore.Scope{scopeOf("p1")})
		var failed *sqlstore.DatabaseError
		require.ErrorAs(t, err, &failed)
		require.NoError(t, ctx.Err())
		require.NoError(t, tx.Rollback())
		require.NoError(t, rehearse(t, s, scopeOf("p1")))
		if kind == sqldb.MariaDB {
			for range 3 {
				require.NotEqual(t, 1, count(t, db, `SELECT @@SESSION.innodb_lock_wait_timeout`), "the connection has its own bound again")
			}
		}
	})
}

// A trigger that writes again what was deleted takes the erasure back.
func TestWhatComesBackTakesTheErasureBack(t *testing.T) {
	db := openDB(t)
	exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT)`)
	exec(t, db, `CREATE TRIGGER again AFTER DELETE ON contacts BEGIN INSERT INTO contacts VALUES (old.id || 'x', old.person, old.email); END`)
	exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'a')`)
	s := storeOf(t, db, contacts)
	var again *sqlstore.RemainingError
	require.ErrorAs(t, s.Erase(t.Context(), scopeOf("p1"), nil), &again)
	require.Equal(t, "contacts", again.Table)
	require.Equal(t, []string{"c1"}, texts(t, db, `SELECT id FROM contacts`))
	exec(t, db, `DROP TRIGGER again`)
	exec(t, db, `CREATE TRIGGER once AFTER DELETE ON contacts WHEN length(old.id) < 4 BEGIN INSERT INTO contacts VALUES (old.id || 'x', old.person, old.email); END`)
	require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil), "what came in its course is erased, too")
	require.Empty(t, texts(t, db, `SELECT id FROM contacts`))
}

// More rows and persons than one statement names.
func TestThousandsOfRowsAndPersons(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE notes (id INTEGER PRIMARY KEY, contact TEXT, n INTEGER); CREATE INDEX a ON contacts (person); CREATE INDEX b ON notes (contact)`)
		numbers := `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)`
		exec(t, db, `INSERT INTO contacts `+numbers+` SELECT concat('c', i), concat('p', i), 'a' FROM n`)
		exec(t, db, `INSERT INTO notes `+numbers+` SELECT i, concat('c', i), i FROM n`)
		exec(t, db, `INSERT INTO notes `+numbers+` SELECT i + 1000, 'c1', i FROM n`)
		s := storeOf(t, db, contacts, datamap.Table{Name: "notes", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("contact", "contacts")}})
		var scopes []datastore.Scope
		for i := range 900 {
			scopes = append(scopes, scopeOf(fmt.Sprint("p", i+1)))
		}
		rows, err := s.FindAll(t.Context(), scopes)
		require.NoError(t, err)
		require.Len(t, rows, 2700)
		require.NoError(t, s.EraseIn(t.Context(), scopes[:899], nil))
		require.Equal(t, []string{"900"}, texts(t, db, `SELECT id FROM notes`))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM contacts`))
	})
}

package sqlstore_test

import (
	"context"
	"database/sql"
	"slices"
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

// on opens an empty database of each kind, with the library's tables.
func on(t *testing.T, f func(t *testing.T, db *sql.DB, kind sqldb.Kind)) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		db.SetMaxOpenConns(1)
		if d.Name == testdb.SQLite {
			exec(t, db, `PRAGMA foreign_keys = ON`)
		}
		require.NoError(t, privacy.Install(t.Context(), db))
		f(t, db, dialect(db).Kind)
	})
}

// storeOf opens a store with every hand-in that a map may need.
func storeOf(t *testing.T, db *sql.DB, tables ...datamap.Table) *sqlstore.Store {
	s, err := sqlstore.Open(t.Context(), handed(db, tables...))
	require.NoError(t, err)
	return s
}

func handed(db *sql.DB, tables ...datamap.Table) sqlstore.Config {
	return sqlstore.Config{
		DB: db, Map: &datamap.Map{Tenant: "t1", Tables: tables}, Redact: redact,
		Pseudonym: func(_ context.Context, tenant string, value []byte) ([]byte, error) {
			return []byte("mac of " + tenant + string(value)), nil
		},
		Scrub: func(_ context.Context, t sqlstore.ScrubText) (string, error) {
			return strings.ReplaceAll(t.Text, "Ann", "…"), nil
		},
	}
}

func scopeOf(person string) datastore.Scope { return datastore.Scope{Tenant: "t1", Person: person} }

func rehearse(t *testing.T, s *sqlstore.Store, scope datastore.Scope) error {
	_, err := s.Rehearse(t.Context(), []datastore.Scope{scope})
	return err
}

func found(t *testing.T, s *sqlstore.Store, person string) (names []string) {
	rows, err := s.Find(t.Context(), scopeOf(person))
	require.NoError(t, err)
	for _, r := range rows {
		names = append(names, r.Table+" "+r.Key)
	}
	slices.Sort(names)
	return names
}

func erased(t *testing.T, s *sqlstore.Store, person string) {
	t.Helper()
	rows, err := s.Find(t.Context(), scopeOf(person))
	require.NoError(t, err)
	require.NoError(t, rehearse(t, s, scopeOf(person)))
	again, err := s.Find(t.Context(), scopeOf(person))
	require.NoError(t, err)
	require.Equal(t, rows, again, "a rehearsal leaves nothing behind")
	require.NoError(t, s.Erase(t.Context(), scopeOf(person), nil))
	left, err := s.Remaining(t.Context(), scopeOf(person), rows)
	require.NoError(t, err)
	require.Zero(t, left)
}

func texts(t *testing.T, db *sql.DB, query string) (list []string) {
	require.NoError(t, sqldb.Each(t.Context(), db, func(rows *sql.Rows) error {
		var text sql.NullString
		err := rows.Scan(&text)
		if !text.Valid {
			text.String = "NULL"
		}
		list = append(list, text.String)
		return err
	}, query))
	return list
}

var contacts = datamap.Table{Name: "contacts", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "email", Category: "contact.email", Identity: "email"}}}

func edge(column, table string, when ...datamap.When) datamap.Edge {
	return datamap.Edge{Columns: []string{column}, Table: table, When: when}
}

// A row to which several edges lead is found once; rows of rows are found over
// tables that themselves are found so; circles and rows that name rows of their own
// table end.
func TestEveryWayLeadsToARowOnce(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE deals (id INTEGER PRIMARY KEY, owner TEXT, contact TEXT, lead INTEGER);
			CREATE TABLE leads (id INTEGER PRIMARY KEY, deal INTEGER); CREATE TABLE tasks (id INTEGER PRIMARY KEY, parent INTEGER, deal INTEGER)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'a'), ('c2', 'p2', 'b'); INSERT INTO deals VALUES (1, 'p1', 'c1', NULL), (2, 'p2', 'c1', NULL), (3, 'p2', 'c2', 7), (4, 'x', 'x', 8), (5, 'p3', NULL, 8);
			INSERT INTO leads VALUES (7, 1), (8, 3); INSERT INTO tasks VALUES (1, NULL, 1), (2, 1, NULL), (3, 2, NULL), (4, NULL, 4), (5, 5, 5)`)
		s := storeOf(t, db, contacts,
			datamap.Table{Name: "tasks", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("parent", "tasks"), edge("deal", "deals")}},
			datamap.Table{Name: "deals", Key: []string{"id"}, Person: "owner", Erase: datamap.Delete, Edges: []datamap.Edge{edge("contact", "contacts"), edge("lead", "leads")}},
			datamap.Table{Name: "leads", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("deal", "deals")}},
		)
		require.Equal(t, []string{"contacts c1", "deals 1", "deals 2", "deals 3", "deals 4", "deals 5", "leads 7", "leads 8", "tasks 1", "tasks 2", "tasks 3", "tasks 4", "tasks 5"}, found(t, s, "p1"))
		all, err := s.FindAll(t.Context(), []datastore.Scope{scopeOf("p1"), scopeOf("p3")})
		require.NoError(t, err)
		whose := map[string]int{}
		for _, r := range all {
			whose[r.Person]++
		}
		require.Equal(t, map[string]int{"p1": 13, "p3": 2}, whose, "what is two persons' is listed for each")
		require.Equal(t, []string{"deals 5", "tasks 5"}, found(t, s, "p3"))
		erased(t, s, "p1")
		require.Equal(t, []string{"c2"}, texts(t, db, `SELECT id FROM contacts`))
		require.Empty(t, texts(t, db, `SELECT id FROM tasks`))
	})
}

// A discriminator says whose row it is: the contact 1 and the deal 1 are two things,
// also where several persons are looked for at once.
func TestADiscriminatorTellsRowsApart(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id INTEGER PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE deals (id INTEGER PRIMARY KEY, person TEXT); CREATE TABLE comments (id INTEGER PRIMARY KEY, kind TEXT, subject INTEGER, body TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES (1, 'p1', 'a'), (2, 'p2', 'b'); INSERT INTO deals VALUES (1, 'p2'), (2, 'p1'); INSERT INTO comments VALUES (1, 'Contact', 1, 'x'), (2, 'Deal', 1, 'x'), (3, 'contact', 1, 'x'), (4, 'Company', 1, 'x'), (5, NULL, 1, 'x')`)
		s := storeOf(t, db, contacts, datamap.Table{Name: "deals", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
			datamap.Table{
				Name: "comments", Key: []string{"id"}, Erase: datamap.Delete, Columns: []datamap.Column{{Name: "body", Category: "text"}},
				Edges: []datamap.Edge{edge("subject", "contacts", datamap.When{Column: "kind", Is: "Contact"}), edge("subject", "deals", datamap.When{Column: "kind", Is: "Deal"})},
			})
		require.Equal(t, []string{"comments 1", "contacts 1", "deals 2"}, found(t, s, "p1"))
		all, err := s.FindAll(t.Context(), []datastore.Scope{scopeOf("p1"), scopeOf("p2")})
		require.NoError(t, err)
		whose := map[string]string{}
		for _, r := range all {
			whose[r.Table+r.Key] += r.Person
		}
		require.Equal(t, map[string]string{"comments1": "p1", "comments2": "p2", "contacts1": "p1", "contacts2": "p2", "deals1": "p2", "deals2": "p1"}, whose)
		erased(t, s, "p1")
		require.Equal(t, []string{"2", "3", "4", "5"}, texts(t, db, `SELECT id FROM comments ORDER BY id`))
	})
}

// Keys of several columns lead on, over columns that are no key of their table, too;
// what the database takes for equal in a foreign key is one row.
func TestEdgesOfSeveralColumns(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		exec(t, db, `CREATE TABLE bills (firm TEXT, no INTEGER, person TEXT, code TEXT, PRIMARY KEY (firm, no)); CREATE TABLE items (firm TEXT, bill INTEGER, n INTEGER, PRIMARY KEY (firm, bill, n)); CREATE TABLE scans (id INTEGER PRIMARY KEY, code TEXT)`)
		exec(t, db, `INSERT INTO bills VALUES ('a', 1, 'p1', 'x/1'), ('a', 2, 'p2', 'x/2'), ('b', 1, 'p2', 'x%3'); INSERT INTO items VALUES ('a', 1, 1), ('a', 1, 2), ('a', 2, 1), ('b', 1, 1), ('b', 2, 1); INSERT INTO scans VALUES (1, 'x/1'), (2, 'x/2'), (3, 'X/1')`)
		s := storeOf(t, db, datamap.Table{Name: "bills", Key: []string{"firm", "no"}, Person: "person", Erase: datamap.Delete},
			datamap.Table{Name: "items", Key: []string{"firm", "bill", "n"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"firm", "bill"}, Table: "bills"}}},
			datamap.Table{Name: "scans", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"code"}, Table: "bills", To: []string{"code"}}}},
		)
		want := []string{"bills a/1", "items a/1/1", "items a/1/2", "scans 1"}
		if kind == sqldb.MariaDB {
			want = append(want, "scans 3")
		}
		require.Equal(t, want, found(t, s, "p1"))
		all, err := s.FindAll(t.Context(), []datastore.Scope{scopeOf("p1"), scopeOf("p2")})
		require.NoError(t, err)
		require.Len(t, all, len(want)+6-1)
		erased(t, s, "p1")
		require.Equal(t, 3, count(t, db, `SELECT COUNT(*) FROM items`))
	})
}

// What only points to a person loses that, or goes, and stays somebody else's: also
// where the row that it names goes, in the same transaction.
func TestWhatPointsToAPersonIsUnlinked(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id VARCHAR(20) PRIMARY KEY, person TEXT, email TEXT, boss VARCHAR(20) REFERENCES contacts(id)); CREATE TABLE notes (id VARCHAR(20) PRIMARY KEY, person TEXT, body TEXT, mentioned VARCHAR(20) REFERENCES contacts(id));
			CREATE TABLE follows (contact VARCHAR(20) REFERENCES contacts(id), person VARCHAR(20), PRIMARY KEY (contact, person))`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'a', NULL), ('c0', 'p1', 'a', 'c1'), ('c2', 'p2', 'b', 'c1'), ('c3', 'p3', 'b', 'c2'); INSERT INTO notes VALUES ('n1', 'p2', 'x', 'c1'), ('n2', 'p1', 'x', 'c2'), ('n3', 'p1', 'y', 'c1'); INSERT INTO follows VALUES ('c1', 'p2'), ('c2', 'p1'), ('c2', 'p3')`)
		people := contacts
		people.Edges = []datamap.Edge{{Columns: []string{"boss"}, Table: "contacts", Unlink: datamap.Null}}
		s := storeOf(t, db, people,
			datamap.Table{Name: "notes", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "body", Category: "text"}}, Edges: []datamap.Edge{{Columns: []string{"mentioned"}, Table: "contacts", Unlink: datamap.Null}}},
			datamap.Table{Name: "follows", Key: []string{"contact", "person"}, Edges: []datamap.Edge{{Columns: []string{"contact"}, Table: "contacts", Unlink: datamap.Delete}, {Columns: []string{"person"}, Unlink: datamap.Delete}}},
		)
		rows, err := s.Find(t.Context(), scopeOf("p1"))
		require.NoError(t, err)
		classes := map[string]datastore.Class{}
		for _, r := range rows {
			classes[r.Table+" "+r.Key] = r.Class
			require.Equal(t, r.Class == datastore.Redacted, r.Others, r)
		}
		require.Equal(t, map[string]datastore.Class{
			"contacts c1": datastore.Deleted, "contacts c0": datastore.Deleted, "contacts c2": datastore.Redacted, "notes n1": datastore.Redacted,
			"notes n2": datastore.Deleted, "notes n3": datastore.Deleted, "follows c1/p2": datastore.Deleted, "follows c2/p1": datastore.Deleted,
		}, classes)
		for r, err := range s.Export(t.Context(), scopeOf("p1")) {
			require.NoError(t, err)
			for _, f := range r.Fields { // of somebody else's row what points to the person, and no more
				shown := map[string]string{"c2": "boss", "n1": "mentioned"}[r.Key]
				require.True(t, shown == "" || f.Name == shown || f.Withhold != "", "%s %s", r.Key, f.Name)
			}
		}
		erased(t, s, "p1")
		require.Equal(t, []string{"NULL", "c2"}, texts(t, db, `SELECT boss FROM contacts ORDER BY id`))
		require.Equal(t, []string{"NULL"}, texts(t, db, `SELECT mentioned FROM notes`))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM follows WHERE contact = 'c2' AND person = 'p3'`))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM follows`))
	})
}

// Rows of a table that name others of it go in an order that every database takes.
func TestRowsThatNameOthersOfTheirTableGoFirst(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE tasks (id INTEGER PRIMARY KEY, person TEXT, parent INTEGER REFERENCES tasks(id))`)
		if dialect(db).Kind == sqldb.MariaDB { // it reads no REFERENCES behind a column of a table that is being made
			exec(t, db, `ALTER TABLE tasks ADD FOREIGN KEY (parent) REFERENCES tasks(id)`)
		}
		exec(t, db, `INSERT INTO tasks VALUES (1, 'p1', NULL), (2, 'p1', 1), (3, NULL, 2), (4, 'p2', NULL)`)
		s := storeOf(t, db, datamap.Table{Name: "tasks", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Edges: []datamap.Edge{edge("parent", "tasks")}})
		erased(t, s, "p1")
		require.Equal(t, []string{"4"}, texts(t, db, `SELECT id FROM tasks`))
	})
}

// A row that names one which is gone is left, and the next erasure takes it: it came
// behind the back of the first.
func TestOrphansAreLeftAndErased(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE acts (id TEXT PRIMARY KEY, contact TEXT, body TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'a'); INSERT INTO acts VALUES ('a1', 'c1', 'x'), ('a2', 'c9', 'somebody''s')`)
		s := storeOf(t, db, contacts, datamap.Table{Name: "acts", Key: []string{"id"}, Erase: datamap.Delete, Columns: []datamap.Column{{Name: "body", Category: "text"}}, Edges: []datamap.Edge{edge("contact", "contacts")}})
		rows, err := s.Find(t.Context(), scopeOf("p1"))
		require.NoError(t, err)
		require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), rows))
		exec(t, db, `INSERT INTO acts VALUES ('late', 'c1', 'call with p1')`)
		left, err := s.Remaining(t.Context(), scopeOf("p1"), rows)
		require.NoError(t, err)
		require.Equal(t, 1, left)
		require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), rows))
		left, err = s.Remaining(t.Context(), scopeOf("p1"), rows)
		require.NoError(t, err)
		require.Zero(t, left)
		require.Equal(t, []string{"a2"}, texts(t, db, `SELECT id FROM acts`))
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p2', 'b'); INSERT INTO acts VALUES ('new', 'c1', 'of p2')`)
		require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), rows))
		require.Equal(t, []string{"a2", "new"}, texts(t, db, `SELECT id FROM acts ORDER BY id`), "a row of the same key is somebody else's")
	})
}

// Keys of bytes that are no text are named by their digits, and found by that name.
func TestKeysOfBytes(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		binary := map[sqldb.Kind]string{sqldb.Postgres: "bytea", sqldb.MariaDB: "BINARY(3)", sqldb.SQLite: "BLOB"}[kind]
		exec(t, db, `CREATE TABLE contacts (id `+binary+` PRIMARY KEY, person `+binary+`, email TEXT); CREATE TABLE acts (id `+binary+` PRIMARY KEY, contact `+binary+`)`)
		b := func(text string) []byte { return []byte(text) }
		exec(t, db, `INSERT INTO contacts VALUES (?, ?, 'a'), (?, ?, 'b'), (?, ?, 'c')`, b("\xff\x01\xfe"), b("\x00\xff1"), b("abc"), b("\x00\xff2"), b(`\xa`), b(`\xb`))
		exec(t, db, `INSERT INTO acts VALUES (?, ?), (?, ?)`, b("\xff11"), b("\xff\x01\xfe"), b("\xff22"), b("abc"))
		s := storeOf(t, db, contacts, datamap.Table{Name: "acts", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("contact", "contacts")}})
		var people []string
		for p, err := range s.People(t.Context()) {
			require.NoError(t, err)
			people = append(people, p.ID)
		}
		require.ElementsMatch(t, []string{`\x00ff31`, `\x00ff32`, `\x5c7862`}, people)
		require.Equal(t, []string{`acts \xff3131`, `contacts \xff01fe`}, found(t, s, `\x00ff31`))
		require.Equal(t, []string{`contacts \x5c7861`}, found(t, s, `\x5c7862`))
		require.Empty(t, found(t, s, `\x00FF31`), "another spelling is nobody")
		erased(t, s, `\x00ff31`)
		require.Equal(t, 2, count(t, db, `SELECT COUNT(*) FROM contacts`))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM acts`))
	})
}

// Rows of nobody's tenant are said, and end nothing.
func TestRowsWithoutATenantAreUndecided(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id INTEGER PRIMARY KEY, tenant TEXT, person TEXT, email TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES (1, 't1', 'p1', 'a'), (2, NULL, 'sys', 'b'), (3, NULL, 'p1', 'b'), (4, NULL, NULL, 'b')`)
		people := contacts
		people.Tenant = "tenant"
		s := storeOf(t, db, people)
		for p, err := range s.People(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, datastore.Person{Tenant: "t1", ID: "p1"}, p)
		}
		require.Equal(t, []string{"contacts 1"}, found(t, s, "p1"))
		rows, err := s.Undecided(t.Context())
		require.NoError(t, err)
		require.Equal(t, []datastore.Row{{Table: "contacts", Count: 2, Because: "names a person and no tenant"}}, rows)
	})
}

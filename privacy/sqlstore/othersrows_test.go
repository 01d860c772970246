package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// Unlink null of a polymorphic edge empties what points to the row, and not the
// discriminator, which is about the row itself.
func TestUnlinkLeavesTheDiscriminator(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE logs (id INTEGER PRIMARY KEY, kind TEXT, subject TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'a'); INSERT INTO logs VALUES (1, 'Contact', 'c1'), (2, 'Deal', 'c1')`)
		people := contacts
		people.Columns = append([]datamap.Column{{Name: "kind"}}, people.Columns...)
		exec(t, db, `ALTER TABLE contacts ADD COLUMN kind TEXT`)
		exec(t, db, `UPDATE contacts SET kind = 'Contact'`)
		s := storeOf(t, db, people, datamap.Table{Name: "logs", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{{
			Columns: []string{"kind", "subject"}, Table: "contacts", To: []string{"kind", "id"}, When: []datamap.When{{Column: "kind", Is: "Contact"}}, Unlink: datamap.Null,
		}}})
		erased(t, s, "p1")
		require.Equal(t, []string{"Contact NULL", "Deal c1"}, texts(t, db, rowText(db, "logs", "id", "kind", "subject")))
	})
}

// rowText asks for columns of each row as one text.
func rowText(db *sql.DB, table, order string, columns ...string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = "COALESCE(CAST(" + c + " AS CHAR(40)), 'NULL')"
	}
	if k := dialect(db).Kind; k == sqldb.MariaDB || k == sqldb.MySQL {
		return "SELECT CONCAT_WS(' ', " + strings.Join(parts, ", ") + ") FROM " + table + " ORDER BY " + order
	}
	for i := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(parts[i], "CHAR(40)", "TEXT"), "'NULL'", "'NULL'")
	}
	return "SELECT " + strings.Join(parts, " || ' ' || ") + " FROM " + table + " ORDER BY " + order
}

// What an erasure has put in place of an identity is nobody's: a row whose
// obligation is over does not lead to what is redacted of others.
func TestARedactedIdentityLeadsNowhere(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE invoices (id TEXT PRIMARY KEY, person TEXT, day TEXT, mail TEXT); CREATE TABLE signups (id INTEGER PRIMARY KEY, mail TEXT, second TEXT)`)
		exec(t, db, `INSERT INTO invoices VALUES ('i1', 'p1', '2001-01-01', '[redacted]'); INSERT INTO signups VALUES (1, '[redacted]', NULL), (2, '  ', NULL), (3, 'ann@x', NULL)`)
		bills := datamap.Table{
			Name: "invoices", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Keep: &datamap.Keep{Because: "DE-HGB-257", From: "day", Years: 10},
			Columns: []datamap.Column{{Name: "person", Erase: datamap.Retain}, {Name: "mail", Category: "contact.email", Identity: "email", Erase: datamap.Redact}, {Name: "day", Category: "date", Erase: datamap.Retain}},
		}
		s := storeOf(t, db, bills, byMail("signups", false))
		require.Equal(t, []string{"invoices i1"}, found(t, s, "p1"))
		exec(t, db, `UPDATE invoices SET mail = '  '`)
		require.Equal(t, []string{"invoices i1"}, found(t, s, "p1"), "blanks are nobody's address")
		exec(t, db, `UPDATE invoices SET mail = 'ann@x'`)
		require.Equal(t, []string{"invoices i1", "signups 3"}, found(t, s, "p1"))
	})
}

// A number that stands for "not merged" makes nobody the same person.
func TestNobodyIsMergedIntoAStandIn(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE people (id INTEGER PRIMARY KEY, merged INTEGER)`)
		exec(t, db, `INSERT INTO people VALUES (1, 0), (2, 0), (3, 1), (4, NULL)`)
		s := storeOf(t, db, datamap.Table{Name: "people", Key: []string{"id"}, Person: "id", Merged: "merged", Erase: datamap.Delete})
		aliases, err := s.Aliases(t.Context(), "t1", "1")
		require.NoError(t, err)
		require.Equal(t, []string{"3"}, aliases)
		aliases, err = s.Aliases(t.Context(), "t1", "3")
		require.NoError(t, err)
		require.Equal(t, []string{"1"}, aliases)
	})
}

// An edge whose target several rows share would lead to rows of others.
func TestAnEdgeNamesOneRow(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE orders (id INTEGER PRIMARY KEY, person TEXT, number TEXT); CREATE TABLE items (id INTEGER PRIMARY KEY, number TEXT)`)
		exec(t, db, `INSERT INTO orders VALUES (1, 'p1', 'draft'), (2, 'p2', 'draft'), (3, 'p1', 'n3'); INSERT INTO items VALUES (1, 'draft'), (2, 'draft'), (3, 'n3')`)
		orders := datamap.Table{Name: "orders", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}
		lines := datamap.Table{Name: "items", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"number"}, Table: "orders", To: []string{"number"}}}}
		s := storeOf(t, db, orders, lines)
		var ambiguous *sqlstore.AmbiguousError
		err := s.Erase(t.Context(), scopeOf("p1"), nil)
		require.ErrorAs(t, err, &ambiguous)
		require.ErrorIs(t, err, datamap.ErrMap)
		require.Equal(t, 3, count(t, db, `SELECT COUNT(*) FROM items`))
		_, err = s.Find(t.Context(), scopeOf("p1"))
		require.ErrorAs(t, err, &ambiguous)
		exec(t, db, `UPDATE orders SET number = 'n2' WHERE id = 2`)
		erased(t, s, "p1")
		require.Zero(t, count(t, db, `SELECT COUNT(*) FROM items`))
	})
}

// Rows without a tenant of their own, whose parent's key is one in its tenant
// only, are nobody's.
func TestAChildWithoutTenant(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE orders (tenant VARCHAR(20) NOT NULL, id INTEGER NOT NULL, person TEXT, PRIMARY KEY (tenant, id)); CREATE TABLE items (id INTEGER PRIMARY KEY, ord INTEGER)`)
		exec(t, db, `INSERT INTO orders VALUES ('t1', 1, 'p1'), ('t2', 1, 'p9'); INSERT INTO items VALUES (1, 1), (2, 1)`)
		s := storeOf(t, db,
			datamap.Table{Name: "orders", Key: []string{"id"}, Tenant: "tenant", Person: "person", Erase: datamap.Delete},
			datamap.Table{Name: "items", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("ord", "orders")}})
		var ambiguous *sqlstore.AmbiguousError
		require.ErrorAs(t, s.Erase(t.Context(), scopeOf("p1"), nil), &ambiguous)
		require.Equal(t, 2, count(t, db, `SELECT COUNT(*) FROM items`))
	})
}

// An export under a key that does not tell rows apart is refused: it would hold
// rows of others.
func TestAnExportUnderASharedKeyIsRefused(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE notes (number INTEGER, person TEXT, body TEXT)`)
		exec(t, db, `INSERT INTO notes VALUES (1, 'p1', 'of p1'), (1, 'p2', 'of p2')`)
		s := storeOf(t, db, datamap.Table{Name: "notes", Key: []string{"number"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "body", Category: "text"}}})
		var key *sqlstore.KeyError
		var last error
		for record, err := range s.Export(t.Context(), scopeOf("p1")) {
			require.Empty(t, record.Fields)
			last = err
		}
		require.ErrorAs(t, last, &key)
	})
}

// Rows of two tenants under one key get two codes, so that a UNIQUE column takes both.
func TestRowCodesOfTwoTenantsDiffer(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE users (tenant VARCHAR(20) NOT NULL, id INTEGER NOT NULL, person TEXT, mail VARCHAR(80) UNIQUE, PRIMARY KEY (tenant, id))`)
		exec(t, db, `INSERT INTO users VALUES ('t1', 1, 'p1', 'a@x'), ('t2', 1, 'p1', 'b@x')`)
		s := storeOf(t, db, datamap.Table{
			Name: "users", Key: []string{"id"}, Tenant: "tenant", Person: "person", Erase: datamap.Redact,
			Columns: []datamap.Column{{Name: "person", Erase: datamap.Retain}, {Name: "mail", Category: "contact.email", To: "gone-{row}@x"}},
		})
		for _, tenant := range []string{"t1", "t2"} {
			scope := datastore.Scope{Tenant: tenant, Person: "p1"}
			require.NoError(t, s.Erase(t.Context(), scope, nil))
			left, err := s.Remaining(t.Context(), scope, nil)
			require.NoError(t, err)
			require.Zero(t, left)
		}
		require.Equal(t, 2, count(t, db, `SELECT COUNT(DISTINCT mail) FROM users WHERE mail LIKE 'gone-%'`))
	})
}

// A child that names its parent in other letters, as its foreign key allows, is
// the parent's, and kept with it; that of a parent whose id only looks alike is not.
func TestAChildThatNamesItsParentInOtherLetters(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		loose := map[sqldb.Kind]string{sqldb.SQLite: "TEXT COLLATE NOCASE", sqldb.MariaDB: "VARCHAR(20) COLLATE utf8mb4_general_ci"}[kind]
		if loose == "" {
			return // text compares by its bytes there
		}
		exec(t, db, `CREATE TABLE invoices (id `+loose+` PRIMARY KEY, person TEXT, day TEXT); CREATE TABLE items (id INTEGER PRIMARY KEY, invoice `+loose+`)`)
		exec(t, db, `INSERT INTO invoices VALUES ('inv1', 'p1', '2025-01-01'); INSERT INTO items VALUES (1, 'INV1'), (2, 'inv1')`)
		s := storeOf(t, db,
			datamap.Table{
				Name: "invoices", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Keep: &datamap.Keep{Because: "DE-HGB-257", From: "day", Years: 10},
				Columns: []datamap.Column{{Name: "person", Erase: datamap.Retain}, {Name: "day", Category: "date", Erase: datamap.Retain}},
			},
			datamap.Table{Name: "items", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("invoice", "invoices")}})
		require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil))
		require.Equal(t, []string{"1", "2"}, texts(t, db, `SELECT id FROM items ORDER BY id`))
	})
}

func TestAChildOfALookAlike(t *testing.T) {
	db := openDB(t)
	exec(t, db, `CREATE TABLE deals (id TEXT PRIMARY KEY, person TEXT)`)
	exec(t, db, `CREATE TABLE tasks (id INTEGER PRIMARY KEY, deal TEXT COLLATE NOCASE)`)
	exec(t, db, `INSERT INTO deals VALUES ('d1', 'p1'), ('D1', 'p2')`)
	exec(t, db, `INSERT INTO tasks VALUES (1, 'd1'), (2, 'D1')`)
	s := storeOf(t, db, datamap.Table{Name: "deals", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
		datamap.Table{Name: "tasks", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("deal", "deals")}})
	require.Equal(t, []string{"deals d1", "tasks 1"}, found(t, s, "p1"))
}

// A cascade over an edge with a discriminator reaches rows that the edge does not.
func TestACascadePastADiscriminator(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE deals (id INTEGER PRIMARY KEY, person TEXT); CREATE TABLE notes (id INTEGER PRIMARY KEY, kind TEXT, deal INTEGER, FOREIGN KEY (deal) REFERENCES deals (id) ON DELETE CASCADE)`)
		exec(t, db, `INSERT INTO deals VALUES (1, 'p1'); INSERT INTO notes VALUES (1, 'own', 1), (2, 'others', 1)`)
		own := edge("deal", "deals", datamap.When{Column: "kind", Is: "own"})
		s := storeOf(t, db, datamap.Table{Name: "deals", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
			datamap.Table{Name: "notes", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{own}})
		var lost *sqlstore.LostError
		require.ErrorAs(t, s.Erase(t.Context(), scopeOf("p1"), nil), &lost)
		require.Equal(t, 2, count(t, db, `SELECT COUNT(*) FROM notes`))
	})
}

// A temporary table of the same name hides nothing: the one of the map is erased from.
func TestATemporaryTableHidesNothing(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		if kind == sqldb.MariaDB || kind == sqldb.MySQL {
			return // where nothing tells a table from a temporary one
		}
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'a')`)
		s := storeOf(t, db, contacts)
		exec(t, db, `CREATE TEMPORARY TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT)`)
		require.Equal(t, []string{"contacts c1"}, found(t, s, "p1"))
		erased(t, s, "p1")
		exec(t, db, `DROP TABLE contacts`) // the temporary one
		require.Zero(t, count(t, db, `SELECT COUNT(*) FROM contacts`))
	})
}

// A table with many columns of persons is asked for many persons at once.
func TestManyColumnsAndPersonsAtOnce(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		var columns []string
		deals := datamap.Table{Name: "deals", Key: []string{"id"}, Erase: datamap.Delete}
		for i := range 20 {
			columns = append(columns, fmt.Sprintf("p%d VARCHAR(20)", i))
			deals.Edges = append(deals.Edges, datamap.Edge{Columns: []string{fmt.Sprintf("p%d", i)}})
		}
		exec(t, db, `CREATE TABLE deals (id INTEGER PRIMARY KEY, `+strings.Join(columns, ", ")+`)`)
		exec(t, db, `INSERT INTO deals (id, p19) VALUES (1, 'n499')`)
		s := storeOf(t, db, deals)
		scopes := make([]datastore.Scope, 600)
		for i := range scopes {
			scopes[i] = scopeOf(fmt.Sprintf("n%d", i))
		}
		rows, err := s.FindAll(t.Context(), scopes)
		require.NoError(t, err)
		require.Len(t, rows, 1)
	})
}

// Rows that point by a sealed identity are found by the application, and as
// discriminators say; a key of another shape is an error.
func TestWhatPointsBySealedIdentities(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE invites (id INTEGER PRIMARY KEY, kind TEXT, mail TEXT); CREATE TABLE copies (id INTEGER, part INTEGER, kind TEXT, mail TEXT, PRIMARY KEY (id, part))`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'ann@x'); INSERT INTO invites VALUES (1, 'to', 'sealed'), (2, 'from', 'sealed'); INSERT INTO copies VALUES (1, 1, 'to', 'sealed'), (2, 1, 'from', 'sealed')`)
		to := []datamap.When{{Column: "kind", Is: "to"}}
		mail := []datamap.Column{{Name: "mail", Category: "contact.email", Sealed: true}}
		cfg := handed(db, contacts,
			datamap.Table{Name: "invites", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"mail"}, Identity: "email", When: to, Unlink: datamap.Null}}, Columns: mail},
			datamap.Table{Name: "copies", Key: []string{"id", "part"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"mail"}, Identity: "email", When: to}}, Columns: mail})
		keys := map[string][]string{"invites": {"1", "2"}, "copies": {"1/1", "2/1"}}
		cfg.Search = func(_ context.Context, _, table, _ string, _ []string) ([]string, error) { return keys[table], nil }
		s, err := sqlstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.Equal(t, []string{"contacts c1", "copies 1/1", "invites 1"}, found(t, s, "p1"))
		keys["copies"] = []string{"1"}
		_, err = s.Find(t.Context(), scopeOf("p1"))
		require.Error(t, err)
		keys["copies"] = nil
		require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil))
		require.Equal(t, []string{"NULL", "sealed"}, texts(t, db, `SELECT mail FROM invites ORDER BY id`))
	})
}

// A row that leads to one of the person's and names no tenant is undecided, too.
func TestARowWithoutTenantIsUndecided(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE deals (id INTEGER PRIMARY KEY, tenant TEXT, person TEXT); CREATE TABLE notes (id INTEGER PRIMARY KEY, tenant TEXT, deal INTEGER)`)
		exec(t, db, `INSERT INTO deals VALUES (1, 't1', 'p1'); INSERT INTO notes VALUES (1, 't1', 1), (2, NULL, 1), (3, NULL, NULL)`)
		s := storeOf(t, db, datamap.Table{Name: "deals", Key: []string{"id"}, Tenant: "tenant", Person: "person", Erase: datamap.Delete},
			datamap.Table{Name: "notes", Key: []string{"id"}, Tenant: "tenant", Erase: datamap.Delete, Edges: []datamap.Edge{edge("deal", "deals")}})
		rows, err := s.Undecided(t.Context())
		require.NoError(t, err)
		require.Len(t, rows, 1)
		require.Equal(t, "notes", rows[0].Table)
		require.Equal(t, 1, rows[0].Count)
	})
}

// Numbers are moved under whatever letters the map names the table in.
func TestNumbersOfATableInOtherLetters(t *testing.T) {
	db := openDB(t)
	exec(t, db, `CREATE TABLE folks (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)`)
	exec(t, db, `INSERT INTO folks (name) VALUES ('Ann')`)
	s := storeOf(t, db, datamap.Table{Name: "Folks", Key: []string{"ID"}, Person: "ID", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "name", Category: "name"}}})
	tops, err := s.Tops(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"Folks.ID": 1}, tops)
	require.NoError(t, s.Advance(t.Context(), map[string]int64{"Folks.ID": 9}))
	exec(t, db, `INSERT INTO folks (name) VALUES ('Bob')`)
	require.Equal(t, 10, count(t, db, `SELECT MAX(id) FROM folks`))
}

// Whoever is linked to a joint record in two roles is one person: where all of its
// persons go at once, it is listed as what goes with the last of them.
func TestAPersonInTwoRolesIsOne(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		run(t, db, `CREATE TABLE talks (id VARCHAR(20) PRIMARY KEY)`, `CREATE TABLE links (talk VARCHAR(20), person VARCHAR(20), role VARCHAR(20))`, `CREATE TABLE minutes (id VARCHAR(20) PRIMARY KEY, talk VARCHAR(20))`,
			`INSERT INTO talks VALUES ('t1')`, `INSERT INTO links VALUES ('t1', 'p1', 'host'), ('t1', 'p1', 'guest'), ('t1', 'p2', 'guest')`, `INSERT INTO minutes VALUES ('m1', 't1')`)
		s := storeOf(t, db, datamap.Table{Name: "talks", Key: []string{"id"}, Erase: datamap.Delete, Link: &datamap.Link{Table: "links", Record: "talk", Person: "person"}},
			datamap.Table{Name: "minutes", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("talk", "talks")}})
		said := func(rows []datastore.Row) (list []string) {
			for _, r := range rows {
				list = append(list, fmt.Sprint(r.Person, " ", r.Key, " ", r.Class))
			}
			return list
		}
		both := []datastore.Scope{scopeOf("p1"), scopeOf("p2")}
		planned, err := s.FindAll(t.Context(), both)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"p1 t1 redacted", "p2 t1 deleted", "p2 m1 deleted"}, said(planned))
		require.NoError(t, s.EraseIn(t.Context(), both, func(_ context.Context, _ datastore.Tx, done []datastore.Row) error {
			require.ElementsMatch(t, said(planned), said(done))
			return nil
		}))
	})
}

package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

func byMail(table string, declares bool) datamap.Table {
	t := datamap.Table{
		Name: table, Key: []string{"id"}, Erase: datamap.Delete,
		Edges:   []datamap.Edge{{Columns: []string{"mail"}, Identity: "email"}},
		Columns: []datamap.Column{{Name: "mail", Category: "contact.email"}, {Name: "second", Category: "contact.email"}},
	}
	if declares {
		t.Columns[1].Identity = "email"
	}
	return t
}

// What is known of a person finds rows that name nobody, in any case of its letters,
// and what stands in them finds more.
func TestIdentitiesLeadToRows(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE signups (id INTEGER PRIMARY KEY, mail TEXT, second TEXT); CREATE TABLE hits (id INTEGER PRIMARY KEY, signup INTEGER)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'Ann@x'), ('c2', 'p2', 'bob@x'); INSERT INTO signups VALUES (1, 'ann@X', 'ann@second'), (2, 'ANN@second', NULL), (3, 'bob@x', NULL), (4, 'ann@third', NULL), (5, 'änn@x', NULL), (6, 'ann@x ', NULL); INSERT INTO hits VALUES (1, 1), (2, 3)`)
		s := storeOf(t, db, contacts, byMail("signups", true), datamap.Table{Name: "hits", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("signup", "signups")}})
		require.Equal(t, []string{"contacts c1", "hits 1", "signups 1", "signups 2"}, found(t, s, "p1"))
		known, err := s.Identities(t.Context(), scopeOf("p1"))
		require.NoError(t, err)
		require.Equal(t, map[string][]string{"email": {"Ann@x", "ann@second"}}, known)
		given := scopeOf("p1")
		given.Identities = map[string][]string{"email": {"ann@third"}}
		rows, err := s.Find(t.Context(), given)
		require.NoError(t, err)
		require.Len(t, rows, 2, "what is given is used as it is")
		all, err := s.FindAll(t.Context(), []datastore.Scope{scopeOf("p1"), scopeOf("p2")})
		require.NoError(t, err)
		require.Len(t, all, 4+3)
		erased(t, s, "p1")
		require.Equal(t, []string{"3", "4", "5", "6"}, texts(t, db, `SELECT id FROM signups ORDER BY id`), "an accent and a blank are somebody else's")
		exec(t, db, `INSERT INTO signups VALUES (9, 'ann@x', NULL)`)
		given.Identities = known
		left, err := s.Remaining(t.Context(), given, nil)
		require.NoError(t, err)
		require.Equal(t, 1, left, "her own rows are gone, and she is still known")
	})
}

// An address is found in any case of its letters, also of those that the database
// knows no cases of: SQLite, and PostgreSQL under C.
func TestAnAddressInOtherLetters(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE signups (id INTEGER PRIMARY KEY, mail TEXT, second TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'zoé.Σ@x'), ('c2', 'p2', 'ŽOFIE@x')`)
		exec(t, db, `INSERT INTO signups VALUES (1, 'ZOÉ.Σ@X', NULL), (2, 'Zoé.ς@x', NULL), (3, 'zoe.σ@x', NULL), (4, 'žofie@x', NULL), (5, 'zofie@x', NULL)`)
		s := storeOf(t, db, contacts, byMail("signups", false))
		require.Equal(t, []string{"contacts c1", "signups 1", "signups 2"}, found(t, s, "p1"))
		require.Equal(t, []string{"contacts c2", "signups 4"}, found(t, s, "p2"))
		all, err := s.FindAll(t.Context(), []datastore.Scope{scopeOf("p1"), scopeOf("p2")})
		require.NoError(t, err)
		require.Len(t, all, 5)
	})
}

// An identity that another person has, too, is refused, or leads nowhere.
func TestASharedIdentity(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT, merged TEXT); CREATE TABLE signups (id INTEGER PRIMARY KEY, mail TEXT, second TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'team@x', NULL), ('c2', 'p2', 'TEAM@x', NULL), ('c3', NULL, 'team@x', NULL); INSERT INTO signups VALUES (1, 'team@x', NULL)`)
		people := contacts
		people.Merged = "merged"
		s := storeOf(t, db, people, byMail("signups", false))
		var shared *sqlstore.SharedIdentityError
		_, err := s.Find(t.Context(), scopeOf("p1"))
		require.ErrorAs(t, err, &shared)
		require.Equal(t, sqlstore.SharedIdentityError{Kind: "email", Table: "contacts"}, *shared)
		require.NotContains(t, err.Error(), "team")
		require.ErrorAs(t, s.Erase(t.Context(), scopeOf("p1"), nil), &shared)
		cfg := handed(db, people, byMail("signups", false))
		cfg.LeaveShared = true
		lenient, err := sqlstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.Equal(t, []string{"contacts c1"}, found(t, lenient, "p1"))
		exec(t, db, `UPDATE contacts SET merged = 'p1' WHERE id = 'c2'`)
		require.Equal(t, []string{"contacts c1", "signups 1"}, found(t, s, "p1"), "the other is the same person")
	})
}

// Who shares an address with the person is another one also where their row names
// the person: an assistant, and the mailbox of both.
func TestASharedIdentityOfSomebodyWhoNamesThePerson(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT, chief TEXT); CREATE TABLE signups (id INTEGER PRIMARY KEY, mail TEXT, second TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', 'team@x', NULL), ('c2', 'p2', 'team@x', 'c1'); INSERT INTO signups VALUES (1, 'team@x', NULL)`)
		people := contacts
		people.Edges = []datamap.Edge{{Columns: []string{"chief"}, Table: "contacts", Unlink: datamap.Null}}
		s := storeOf(t, db, people, byMail("signups", false))
		var shared *sqlstore.SharedIdentityError
		_, err := s.Find(t.Context(), scopeOf("p1"))
		require.ErrorAs(t, err, &shared)
		cfg := handed(db, people, byMail("signups", false))
		cfg.LeaveShared = true
		lenient, err := sqlstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		erased(t, lenient, "p1")
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM signups`))
	})
}

// Identities that lead further and further are refused.
func TestIdentitiesAreBounded(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE signups (id INTEGER PRIMARY KEY, mail TEXT, second TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', '0@x')`)
		s := storeOf(t, db, contacts, byMail("signups", true))
		for i := range 6 {
			exec(t, db, `INSERT INTO signups VALUES (?, ?, ?)`, i, fmt.Sprintf("%d@x", i), fmt.Sprintf("%d@x", i+1))
		}
		var many *sqlstore.TooManyError
		_, err := s.Find(t.Context(), scopeOf("p1"))
		require.ErrorAs(t, err, &many)
		exec(t, db, `DELETE FROM signups WHERE id > 2`)
		require.Len(t, found(t, s, "p1"), 4)
	})
}

// By an identity whose key was destroyed nothing is found; the others lead on.
func TestAnIdentityThatCannotBeOpenedAnyMore(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email BLOB); CREATE TABLE accounts (id TEXT PRIMARY KEY, person TEXT, email TEXT); CREATE TABLE signups (id INTEGER PRIMARY KEY, mail TEXT, second TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', ?)`, []byte("sealed"))
		exec(t, db, `INSERT INTO accounts VALUES ('a1', 'p1', 'ann@x'); INSERT INTO signups VALUES (1, 'ann@x', NULL), (2, 'sealed', NULL)`)
		people, accounts := contacts, contacts
		people.Columns = []datamap.Column{{Name: "email", Category: "contact.email", Identity: "email", Sealed: true}}
		accounts.Name = "accounts"
		cfg := handed(db, people, accounts, byMail("signups", false))
		cause := datastore.ErrShredded
		cfg.Open = func(context.Context, string, string, string, string, string, []byte) (any, error) { return nil, cause }
		s, err := sqlstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.Equal(t, []string{"accounts a1", "contacts c1", "signups 1"}, found(t, s, "p1"))
		known, err := s.Identities(t.Context(), scopeOf("p1"))
		require.ErrorIs(t, err, datastore.ErrShredded)
		require.Equal(t, map[string][]string{"email": {"ann@x"}}, known)
		cause = errors.New("the keys do not answer")
		_, err = s.Find(t.Context(), scopeOf("p1"))
		require.ErrorIs(t, err, cause, "nobody knows whether it leads to more")
	})
}

// Sealed columns are opened and searched by the application.
func TestSealedIdentities(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email BLOB); CREATE TABLE signups (id INTEGER PRIMARY KEY, mail BLOB, second TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1', ?), ('c2', 'p2', ?)`, []byte("sealed ann@x"), []byte("sealed bob@x"))
		exec(t, db, `INSERT INTO signups VALUES (1, ?, NULL), (2, ?, NULL)`, []byte("sealed ann@x"), []byte("sealed bob@x"))
		people, list := contacts, byMail("signups", false)
		people.Columns = []datamap.Column{{Name: "email", Category: "contact.email", Identity: "email", Sealed: true}}
		list.Columns = slices.Clone(list.Columns)
		list.Columns[0].Sealed = true
		cfg := handed(db, people, list)
		_, err := sqlstore.Open(t.Context(), cfg)
		require.ErrorContains(t, err, "Open is needed")
		cfg.Open = func(_ context.Context, _, _, _, _, _ string, sealed []byte) (any, error) {
			return string(sealed[len("sealed "):]), nil
		}
		_, err = sqlstore.Open(t.Context(), cfg)
		require.ErrorContains(t, err, "Search is needed")
		cfg.Search = func(ctx context.Context, _, table, column string, values []string) (keys []string, err error) {
			for _, v := range values {
				err = sqldb.Each(ctx, db, func(rows *sql.Rows) error {
					var key string
					err := rows.Scan(&key)
					keys = append(keys, key)
					return err
				}, dialect(db).Bind(`SELECT id FROM `+table+` WHERE `+column+` = ?`), []byte("sealed "+v))
			}
			return keys, err
		}
		s, err := sqlstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.Equal(t, []string{"contacts c1", "signups 1"}, found(t, s, "p1"))
		all, err := s.FindAll(t.Context(), []datastore.Scope{scopeOf("p1"), scopeOf("p2")})
		require.NoError(t, err)
		require.Len(t, all, 4)
		erased(t, s, "p1")
		require.Equal(t, []string{"2"}, texts(t, db, `SELECT id FROM signups`))
	})
}

// Whoever was merged into whom, however often, is one person.
func TestMergedPersons(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id INTEGER PRIMARY KEY, person TEXT, email TEXT, merged TEXT)`)
		exec(t, db, `INSERT INTO contacts VALUES (1, 'p1', 'a', NULL), (2, 'p2', 'a', 'p1'), (3, 'p3', 'a', 'p2'), (4, 'p4', 'a', 'p4'), (5, 'p5', 'a', '')`)
		people := contacts
		people.Merged = "merged"
		s := storeOf(t, db, people)
		for person, want := range map[string][]string{"p1": {"p2", "p3"}, "p2": {"p1", "p3"}, "p3": {"p1", "p2"}, "p4": nil, "p9": nil} {
			got, err := s.Aliases(t.Context(), "t1", person)
			require.NoError(t, err)
			require.Equal(t, want, got, person)
		}
		got, err := s.Aliases(t.Context(), "t2", "p1")
		require.NoError(t, err)
		require.Empty(t, got)
		for i := range 101 {
			exec(t, db, `INSERT INTO contacts VALUES (?, ?, 'a', 'p1')`, 100+i, fmt.Sprint("m", i))
		}
		var many *sqlstore.TooManyError
		_, err = s.Aliases(t.Context(), "t1", "p1")
		require.ErrorAs(t, err, &many)
	})
}

// Rows of merged persons go together, in whatever order a foreign key between
// them is checked; a column that says "not merged" in another way than NULL is
// left alone.
func TestMergedPersonsGoWithAForeignKey(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		key := map[sqldb.Kind]string{sqldb.SQLite: "INTEGER PRIMARY KEY", sqldb.Postgres: "BIGINT PRIMARY KEY"}[kind]
		if key == "" {
			key = "BIGINT PRIMARY KEY"
		}
		run(t, db, `CREATE TABLE linked (id `+key+`, merged BIGINT REFERENCES linked (id))`, `CREATE TABLE named (id `+key+`, chief BIGINT REFERENCES named (id), merged BIGINT NOT NULL)`,
			`CREATE TABLE rooted (id `+key+`, merged BIGINT NOT NULL REFERENCES rooted (id))`, `INSERT INTO rooted VALUES (4, 4)`,
			`INSERT INTO linked VALUES (1, NULL), (2, 1), (3, 2), (4, NULL), (5, 4)`, `INSERT INTO named VALUES (1, NULL, 0), (2, NULL, 1), (4, NULL, 0)`,
			`CREATE TABLE talks (id `+key+`)`, `CREATE TABLE talk_people (talk BIGINT, person BIGINT)`)
		table := func(name string) datamap.Table {
			return datamap.Table{Name: name, Key: []string{"id"}, Person: "id", Merged: "merged", Erase: datamap.Delete}
		}
		rows := 5
		if kind != sqldb.MariaDB { // which never deletes a row that names itself
			run(t, db, `INSERT INTO rooted VALUES (1, 1)`)
			rows++
		}
		// With joint records in the map persons go one by one.
		joint := datamap.Table{Name: "talks", Key: []string{"id"}, Erase: datamap.Delete, Link: &datamap.Link{Table: "talk_people", Record: "talk", Person: "person"}}
		for _, tables := range [][]datamap.Table{{table("linked"), table("named"), table("rooted")}, {table("linked"), table("named"), table("rooted"), joint}} {
			s := storeOf(t, db, tables...)
			scopes := []datastore.Scope{{Tenant: "t1", Person: "1"}, {Tenant: "t1", Person: "2"}, {Tenant: "t1", Person: "3"}}
			rolled := errors.New("rolled back")
			last := func(_ context.Context, tx datastore.Tx, found []datastore.Row) error {
				require.Len(t, found, rows, "each row once")
				for _, r := range found {
					require.Equal(t, datastore.Deleted, r.Class, r)
				}
				require.Equal(t, []string{"4", "5"}, column(t, tx, `SELECT id FROM linked ORDER BY id`))
				require.Equal(t, []string{"4"}, column(t, tx, `SELECT merged FROM linked WHERE id = 5`), "of others")
				require.Equal(t, []string{"4"}, column(t, tx, `SELECT id FROM named`))
				return rolled
			}
			require.ErrorIs(t, s.EraseIn(t.Context(), scopes, last), rolled)
		}
	})
}

// column are the values of a query.
func column(t *testing.T, tx datastore.Tx, query string) (values []string) {
	t.Helper()
	rows, err := tx.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		var one string
		require.NoError(t, rows.Scan(&one))
		values = append(values, one)
	}
	require.NoError(t, rows.Err())
	return values
}

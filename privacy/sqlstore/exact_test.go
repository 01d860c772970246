package sqlstore_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// Pages of persons go on where the last ended, over numbers, texts and blobs.
func TestPeopleOfEveryType(t *testing.T) {
	db := openDB(t)
	exec(t, db, `CREATE TABLE logins (id INTEGER PRIMARY KEY, person)`)
	exec(t, db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
		INSERT INTO logins (person) SELECT i FROM n UNION ALL SELECT 't' || i FROM n UNION ALL SELECT CAST('b' || i AS BLOB) FROM n`)
	s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{Name: "logins", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}}})
	seen := map[string]int{}
	for person, err := range s.People(t.Context()) {
		require.NoError(t, err)
		seen[person.ID]++
	}
	require.Len(t, seen, 4500)
	for _, id := range []string{"1", "999", "1500", "t1", "t1500", "b1", "b1500"} {
		require.Equal(t, 1, seen[id], id)
	}
}

// In a database in UTF-16, an id in a blob is its bytes, too: it is listed and
// found under the same name.
func TestPeopleOfADatabaseInUTF16(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "utf16.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	exec(t, db, `PRAGMA encoding = 'UTF-16le'`)
	require.NoError(t, privacy.Install(t.Context(), db))
	exec(t, db, `CREATE TABLE logins (id INTEGER PRIMARY KEY, person)`)
	ids := []string{"17", "t1", `\x0197c3a9`, "b1"} // bytes that are no text are named by their digits
	exec(t, db, `INSERT INTO logins (person) VALUES (17), ('t1'), (?), (?)`, []byte("\x01\x97é"), []byte(ids[3]))
	s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{Name: "logins", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}}})
	var listed []string
	for person, err := range s.People(t.Context()) {
		require.NoError(t, err)
		listed = append(listed, person.ID)
	}
	require.ElementsMatch(t, ids, listed)
	for i, id := range ids {
		scope := datastore.Scope{Tenant: "t1", Person: id}
		rows, err := s.Find(t.Context(), scope)
		require.NoError(t, err)
		require.Len(t, rows, 1, "%q", id)
		require.NoError(t, s.Erase(t.Context(), scope, nil))
		require.Equal(t, len(ids)-1-i, count(t, db, `SELECT COUNT(*) FROM logins`))
	}
}

// A look-alike in the link table is another person: their record stays, and so
// does their link.
func TestALookAlikeIsAnotherPersonOfAJointRecord(t *testing.T) {
	db := openDB(t)
	exec(t, db, `DROP TABLE meeting_people`)
	exec(t, db, `CREATE TABLE meeting_people (meeting TEXT, person TEXT COLLATE NOCASE)`)
	exec(t, db, `INSERT INTO meetings VALUES ('m1', 't1', 'text')`)
	exec(t, db, `INSERT INTO meeting_people VALUES ('m1', 'p1'), ('m1', 'P1')`)
	s := open(t, db, dataMap())
	scope := datastore.Scope{Tenant: "t1", Person: "p1"}
	rows, err := s.Find(t.Context(), scope)
	require.NoError(t, err)
	require.True(t, of(rows, "meetings").Others)
	require.NoError(t, s.Erase(t.Context(), scope, nil))
	require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM meetings`))
	require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM meeting_people WHERE CAST(person AS BLOB) = CAST('P1' AS BLOB)`))
	require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM meeting_people`))
	for record, err := range s.Export(t.Context(), datastore.Scope{Tenant: "t1", Person: "P1"}) {
		require.NoError(t, err)
		require.Equal(t, "meetings", record.Table)
	}
}

// On SQLite 1 and '1' are two keys that read alike, and so are numbers that differ
// behind the fifteenth digit: where such rows stay, the one would pass for the other.
func TestRowsThatStayAreToldApartByTheirKeys(t *testing.T) {
	for name, ddl := range map[string]string{
		"two types":            `CREATE TABLE notes (id PRIMARY KEY, person TEXT, body TEXT); INSERT INTO notes VALUES (1, 'p1', 'Ann'), ('1', 'p1', 'Ann')`,
		"a part of the key":    `CREATE TABLE notes (person TEXT, id, body TEXT, PRIMARY KEY (person, id)); INSERT INTO notes VALUES ('p1', 1, 'Ann'), ('p1', x'31', 'Ann')`,
		"the sixteenth of two": `CREATE TABLE notes (id REAL PRIMARY KEY, person TEXT, body TEXT); INSERT INTO notes VALUES (2460000.123456789, 'p1', 'Ann'), (2460000.123456788, 'p1', 'Ann')`,
		"the sixteenth of one": `CREATE TABLE notes (id REAL PRIMARY KEY, person TEXT, body TEXT); INSERT INTO notes VALUES (2460000.123456789, 'p1', 'Ann')`,
	} {
		t.Run(name, func(t *testing.T) {
			db := openDB(t)
			exec(t, db, ddl)
			table := datamap.Table{Name: "notes", Key: []string{"id"}, Person: "person", Erase: datamap.Redact, Columns: []datamap.Column{{Name: "person", Erase: datamap.Retain}, {Name: "body", Category: "text"}}}
			if name == "a part of the key" {
				table.Key = []string{"person", "id"}
			}
			s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{table}})
			var alike *sqlstore.KeyError
			require.ErrorAs(t, s.Erase(t.Context(), scopeOf("p1"), nil), &alike)
			table.Erase, table.Columns = datamap.Delete, nil
			s = open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{table}})
			require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil), "rows that go are no trouble")
			require.Zero(t, count(t, db, `SELECT COUNT(*) FROM notes`))
		})
	}
}

package sqlstore_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// A row of somebody else that goes with whom it mentions takes with it, or is
// taken out of, what points to it, and so on: a search says so before an erasure
// does it.
func TestWhatPointsToARowThatGoesWithWhomItMentions(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id INTEGER PRIMARY KEY, person TEXT); CREATE TABLE posts (id INTEGER PRIMARY KEY, person TEXT, about INTEGER); CREATE TABLE likes (id INTEGER PRIMARY KEY, person TEXT, post INTEGER, FOREIGN KEY (post) REFERENCES posts (id)); CREATE TABLE notices (id INTEGER PRIMARY KEY, person TEXT, about INTEGER, FOREIGN KEY (about) REFERENCES likes (id))`)
		exec(t, db, `INSERT INTO contacts VALUES (1, 'p1'), (2, 'p2'); INSERT INTO posts VALUES (1, 'p2', 1), (2, 'p2', 2), (3, 'p2', NULL); INSERT INTO likes VALUES (1, 'p3', 1), (2, 'p3', 2), (3, 'p1', 1); INSERT INTO notices VALUES (1, 'p4', 1), (2, 'p4', 2)`)
		table := func(name, column, to string, unlink datamap.Action) datamap.Table {
			return datamap.Table{Name: name, Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{column}, Table: to, Unlink: unlink}}}
		}
		s := storeOf(t, db, datamap.Table{Name: "contacts", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
			table("posts", "about", "contacts", datamap.Delete), table("likes", "post", "posts", datamap.Delete), table("notices", "about", "likes", datamap.Null))
		require.Equal(t, []string{"contacts 1", "likes 1", "likes 3", "notices 1", "posts 1"}, found(t, s, "p1"))
		erased(t, s, "p1")
		require.Equal(t, []string{"2", "3"}, texts(t, db, `SELECT id FROM posts ORDER BY id`))
		require.Equal(t, []string{"2"}, texts(t, db, `SELECT id FROM likes`))
		require.Equal(t, []string{"2"}, texts(t, db, `SELECT about FROM notices WHERE about IS NOT NULL`))
		require.Equal(t, 2, count(t, db, `SELECT COUNT(*) FROM notices`))
	})
}

// Rows that go with each other, in a circle.
func TestACircleOfRowsThatGoWithEachOther(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE contacts (id INTEGER PRIMARY KEY, person TEXT); CREATE TABLE posts (id INTEGER PRIMARY KEY, person TEXT, about INTEGER, answers INTEGER)`)
		exec(t, db, `INSERT INTO contacts VALUES (1, 'p1'); INSERT INTO posts VALUES (1, 'p2', 1, 3), (2, 'p2', NULL, 1), (3, 'p2', NULL, 2), (4, 'p2', NULL, NULL), (5, 'p2', NULL, 5)`)
		s := storeOf(t, db, datamap.Table{Name: "contacts", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}, datamap.Table{
			Name: "posts", Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
			Edges: []datamap.Edge{{Columns: []string{"about"}, Table: "contacts", Unlink: datamap.Delete}, {Columns: []string{"answers"}, Table: "posts", Unlink: datamap.Delete}},
		})
		erased(t, s, "p1")
		require.Equal(t, []string{"4", "5"}, texts(t, db, `SELECT id FROM posts ORDER BY id`))
	})
}

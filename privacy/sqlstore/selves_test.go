package sqlstore_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// Rows of a table go, whichever of them name which: over two columns, in a circle,
// and by naming themselves, as the first of a thread does.
func TestRowsThatNameEachOtherOverSeveralColumns(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		run(t, db, `CREATE TABLE posts (id INT PRIMARY KEY, person VARCHAR(20), parent INT REFERENCES posts (id), root INT REFERENCES posts (id))`)
		table := datamap.Table{Name: "posts", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Edges: []datamap.Edge{edge("parent", "posts"), edge("root", "posts")}}
		s := storeOf(t, db, table)
		for name, how := range map[string]string{
			"a tree over both": `parent = CASE id WHEN 2 THEN 1 WHEN 4 THEN 3 END, root = CASE id WHEN 2 THEN 1 WHEN 3 THEN 2 WHEN 4 THEN 1 WHEN 5 THEN 4 END`,
			"a thread":         `parent = CASE WHEN id > 1 THEN id - 1 END, root = 1`,
			"a circle":         `parent = CASE WHEN id > 1 THEN id - 1 ELSE 5 END`,
			"over both":        `parent = CASE id WHEN 1 THEN 2 END, root = CASE id WHEN 2 THEN 1 WHEN 3 THEN 1 END`,
		} {
			run(t, db, `INSERT INTO posts VALUES (1, 'p1', NULL, NULL), (2, 'p1', NULL, NULL), (3, 'p1', NULL, NULL), (4, 'p1', NULL, NULL), (5, 'p1', NULL, NULL)`, `UPDATE posts SET `+how)
			require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil), name)
			require.Empty(t, texts(t, db, `SELECT id FROM posts`), name)
		}
		if kind != sqldb.SQLite {
			grants, err := sqlstore.Grants(t.Context(), db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{table}}, "role")
			require.NoError(t, err)
			require.Equal(t, kind == sqldb.MariaDB, strings.Contains(strings.Join(grants, " "), "UPDATE (`parent`)"))
		}
	})
}

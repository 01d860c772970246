package sqldb_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/internal/testdb/stranger"
)

// A table that has no key for every row, or none with an order, is refused: pages
// of it would leave rows out or give them twice without a word.
func TestATableWithoutAKeyIsRefused(t *testing.T) {
	stranger.Each(t, func(t *testing.T, c *stranger.CRM) {
		d, err := sqldb.Ask(t.Context(), c.DB)
		require.NoError(t, err)
		made := map[sqldb.Kind]string{
			sqldb.SQLite: `CREATE TABLE odd (a INTEGER NOT NULL, b INTEGER NOT NULL, c TEXT NOT NULL, f REAL);
				CREATE UNIQUE INDEX odd_part ON odd (a) WHERE b > 0; CREATE UNIQUE INDEX odd_expression ON odd (lower(c)); CREATE UNIQUE INDEX odd_mixed ON odd (a, b DESC)`,
			sqldb.Postgres: `CREATE TABLE odd (a integer NOT NULL, b integer NOT NULL, c text NOT NULL, f double precision NOT NULL UNIQUE);
				CREATE UNIQUE INDEX odd_part ON odd (a) WHERE b > 0; CREATE UNIQUE INDEX odd_expression ON odd (lower(c)); CREATE UNIQUE INDEX odd_mixed ON odd (a, b DESC)`,
			sqldb.MariaDB: `CREATE TABLE odd (a INT NOT NULL, b INT NOT NULL, c VARCHAR(40) NOT NULL, f DOUBLE NOT NULL UNIQUE, UNIQUE (c(3)))`,
		}
		_, err = c.DB.ExecContext(t.Context(), made[d.Kind])
		require.NoError(t, err)
		refused := func(why, table string, columns ...string) {
			t.Helper()
			_, err := d.Keyset(t.Context(), c.DB, table, columns...)
			var fault *sqldb.KeyError
			require.ErrorAs(t, err, &fault, "%s %v", table, columns)
			require.Contains(t, fault.Why, why)
			require.Equal(t, table, fault.Table)
		}
		contacts := c.Table(t, "contacts").Path
		refused("no such table", "nowhere")
		refused("no such table", strings.Replace(contacts, "contacts", "Contacts2", 1))
		refused("no primary key", "odd")
		refused("no primary key", strings.Replace(contacts, "contacts", "live_contacts", 1))
		refused("no unique index", contacts, "last_name")
		refused("no unique index", contacts, "account_id")
		refused("no unique index", contacts, "id", "last_name")
		for _, columns := range [][]string{{"a"}, {"c"}, {"a", "b"}} {
			refused("no unique index", "odd", columns...)
		}
		_, err = d.Columns(t.Context(), c.DB, contacts, "nothing")
		require.ErrorContains(t, err, "no column nothing")
		fault := &sqldb.KeyError{}
		require.ErrorAs(t, err, &fault)
		require.False(t, fault.Absent, "the table is there")
		_, err = d.Columns(t.Context(), c.DB, "nowhere", "id")
		require.ErrorAs(t, err, &fault)
		require.True(t, fault.Absent)
		_, err = d.Keyset(t.Context(), c.DB, "a.b.c")
		require.Error(t, err)

		if d.Kind != sqldb.SQLite {
			refused("may be NULL", contacts, "email")
			refused("no exact order", "odd", "f")
		}
		k, err := d.Keyset(t.Context(), c.DB, c.Table(t, "contact_tags").Path, "tag", "contact_id")
		require.NoError(t, err)
		require.Equal(t, c.Table(t, "contact_tags").Key, []string{k.Columns[0].Name, k.Columns[1].Name}, "the order is that of the index")
	})
}

// SQLite lets a primary key be NULL that was not declared otherwise, and such
// schemas are the rule there: the table is read, and a row without a key is told.
func TestARowWithoutAKeyIsTold(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	d, err := sqldb.Ask(t.Context(), db)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `CREATE TABLE people (tenant TEXT, id TEXT, PRIMARY KEY (tenant, id)); INSERT INTO people VALUES ('a', 'x'), ('b', 'y'), ('b', NULL), ('c', 'z')`)
	require.NoError(t, err)
	k, err := d.Keyset(t.Context(), db, "people")
	require.NoError(t, err)
	first := readPage(t, db, k, nil, 1)
	require.Equal(t, [][]any{{"a", "x"}}, first)
	query, args := k.Page(sqldb.Page{After: first[0], Limit: 1})
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	require.True(t, rows.Next())
	_, err = k.Scan(rows)
	require.EqualError(t, err, `sqldb: table people: a row has NULL in the key column "id"`)
}

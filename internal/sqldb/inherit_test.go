package sqldb_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

func eachPostgres(t *testing.T, f func(t *testing.T, db *sql.DB, d sqldb.Dialect)) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+" "+driver, func(t *testing.T) {
				db := testdb.New(t, name).OpenWith(t, driver)
				d, err := sqldb.Ask(t.Context(), db)
				require.NoError(t, err)
				f(t, db, d)
			})
		}
	}
}

// Rows of tables that inherit from one are read with it, under keys that it has
// itself: pages by its key would leave some out.
func TestATableThatOthersInheritFromIsRefused(t *testing.T) {
	eachPostgres(t, func(t *testing.T, db *sql.DB, d sqldb.Dialect) {
		_, err := db.ExecContext(t.Context(), `CREATE TABLE people (id bigint PRIMARY KEY); CREATE TABLE staff (PRIMARY KEY (id)) INHERITS (people);
			CREATE TABLE events (id bigint PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (100)`)
		require.NoError(t, err)
		_, err = d.Keyset(t.Context(), db, "people")
		var fault *sqldb.KeyError
		require.ErrorAs(t, err, &fault)
		require.Contains(t, fault.Why, "inherit")
		for _, table := range []string{"staff", "events", "events_1"} {
			_, err = d.Keyset(t.Context(), db, table)
			require.NoError(t, err, table)
		}
	})
}

// A domain over a domain is what the last of them is over.
func TestADomainOverDomainsIsItsType(t *testing.T) {
	eachPostgres(t, func(t *testing.T, db *sql.DB, d sqldb.Dialect) {
		_, err := db.ExecContext(t.Context(), `CREATE EXTENSION citext; CREATE DOMAIN a AS citext; CREATE DOMAIN b AS a CHECK (VALUE <> ''); CREATE DOMAIN c AS b;
			CREATE DOMAIN f AS double precision; CREATE DOMAIN g AS f; CREATE TABLE people (name c, size g PRIMARY KEY); INSERT INTO people VALUES ('P1', 1), ('p1', 2)`)
		require.NoError(t, err)
		columns, err := d.Columns(t.Context(), db, "people", "name")
		require.NoError(t, err)
		condition, args := d.Equal(columns[0], "p1")
		var n int
		require.NoError(t, sqldb.One(t.Context(), db, []any{&n}, d.Bind(`SELECT count(*) FROM people WHERE `+condition), args...))
		require.Equal(t, 1, n)
		_, err = d.Keyset(t.Context(), db, "people")
		require.ErrorContains(t, err, "no exact order")
	})
}

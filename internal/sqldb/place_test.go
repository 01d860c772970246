package sqldb_test

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// along opens a database of PostgreSQL with a search path.
func along(t *testing.T, dsn, driver, path string) *sqldb.DB {
	t.Helper()
	handle, err := sql.Open(driver, dsn+" search_path="+path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = handle.Close() })
	db, err := sqldb.Open(t.Context(), handle)
	require.NoError(t, err)
	return db
}

// onPostgres runs f with both drivers on a database that has the schemas crm
// and billing besides public.
func onPostgres(t *testing.T, f func(t *testing.T, owner *sqldb.DB, path func(string) *sqldb.DB, d testdb.Database)) {
	for _, driver := range testdb.PostgresC.Drivers() {
		t.Run(driver, func(t *testing.T) {
			d := testdb.New(t, testdb.PostgresC)
			path := func(p string) *sqldb.DB { return along(t, d.DSN(driver), driver, p) }
			owner := path("public")
			statements(t, owner, `CREATE SCHEMA crm`, `CREATE SCHEMA billing`)
			f(t, owner, path, d)
		})
	}
}

func statements(t *testing.T, db *sqldb.DB, all ...string) {
	t.Helper()
	for _, statement := range all {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

func found(t *testing.T, err error) *sqldb.SchemaError {
	t.Helper()
	var schema *sqldb.SchemaError
	require.ErrorAs(t, err, &schema)
	return schema
}

func TestASearchPathWithoutOurTablesIsNamed(t *testing.T) {
	onPostgres(t, func(t *testing.T, owner *sqldb.DB, path func(string) *sqldb.DB, d testdb.Database) {
		require.NoError(t, demo(2).Install(t.Context(), path("crm").DB))
		missing := found(t, demo(2).Check(t.Context(), path("billing,public")))
		require.Zero(t, missing.Have)
		require.Contains(t, missing.Error(), `the search path leads to schema "crm" first`)
		require.NoError(t, demo(2).Check(t.Context(), path("billing,crm")), "it need not come first")

		// PostgreSQL leaves out of the path what a role may not use, silently.
		role, as := d.Role(t)
		statements(t, owner, `GRANT SELECT ON ALL TABLES IN SCHEMA crm TO `+role)
		for _, driver := range testdb.PostgresC.Drivers() {
			missing = found(t, demo(2).Check(t.Context(), along(t, as.DSN(driver), driver, "crm")))
			require.Contains(t, missing.Error(), `this role has USAGE on schema "crm"`)
		}
		statements(t, owner, `GRANT USAGE ON SCHEMA crm TO `+role)
		require.NoError(t, demo(2).Check(t.Context(), along(t, as.DSN("pgx"), "pgx", "crm")))
	})
}

func TestADatabaseThatIsNotTheOneOfOurTablesIsNamed(t *testing.T) {
	d := testdb.New(t, testdb.MariaDB)
	require.NoError(t, demo(2).Install(t.Context(), d.Open(t)))
	other, err := sqldb.Open(t.Context(), testdb.New(t, testdb.MariaDB).Open(t))
	require.NoError(t, err)
	require.Contains(t, found(t, demo(2).Check(t.Context(), other)).Error(), `where a crmguard_schema stands`)
}

// Of two schemas with the same tables the first one of the search path wins, in
// Check as in the work.
func TestOfTwoSchemasTheFirstOfTheSearchPathWins(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *sqldb.DB, path func(string) *sqldb.DB, _ testdb.Database) {
		require.NoError(t, demo(2).Install(t.Context(), path("crm").DB))
		require.NoError(t, demo(3).Install(t.Context(), path("billing").DB))
		row := func(word string) [][]any { return [][]any{{"main", word, 1, nil}} }
		require.NoError(t, path("crm,billing").Insert(t.Context(), path("crm,billing"), insert(false), row("in crm")))
		require.NoError(t, path("billing,crm").Insert(t.Context(), path("billing,crm"), insert(false), row("in billing")))
		require.Equal(t, []string{"in crm=1"}, words(t, path("crm")))
		require.Equal(t, []string{"in billing=1"}, words(t, path("billing")))
		require.Equal(t, 2, found(t, demo(3).Check(t.Context(), path("crm,billing"))).Have)
		require.NoError(t, demo(3).Check(t.Context(), path("billing,crm")))
		require.NoError(t, demo(3).Install(t.Context(), path("crm,billing").DB))
		require.NoError(t, demo(3).Check(t.Context(), path("crm")), "installed where Check looks")
	})
}

// A half of the tables in another schema would be worked on by a Check that
// saw only the versions.
func TestTablesApartFromTheirVersionsAreNamed(t *testing.T) {
	onPostgres(t, func(t *testing.T, owner *sqldb.DB, path func(string) *sqldb.DB, _ testdb.Database) {
		require.NoError(t, demo(2).Install(t.Context(), path("crm").DB))
		statements(t, owner, `CREATE TABLE billing.crmguard_demo_word (tenant text, word text, n bigint, body bytea)`)
		require.NoError(t, demo(2).Check(t.Context(), path("crm,billing")))
		apart := found(t, demo(2).Check(t.Context(), path("billing,crm")))
		require.Equal(t, 2, apart.Have)
		require.Contains(t, apart.Error(), "table crmguard_demo_word is not where crmguard_schema is")
		require.Error(t, demo(2).Install(t.Context(), path("billing,crm").DB), "not mended by creating more tables")
		statements(t, owner, `DROP TABLE crm.crmguard_demo_word`)
		found(t, demo(2).Check(t.Context(), path("crm,billing")))
	})
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		handle := d.Open(t)
		handle.SetMaxOpenConns(1) // temporary tables belong to a connection
		require.NoError(t, demo(2).Install(t.Context(), handle))
		db, err := sqldb.Open(t.Context(), handle)
		require.NoError(t, err)
		if d.Name == testdb.MariaDB {
			// Without a right to a table MariaDB does not say whether it is there.
			role, as := d.Role(t)
			statements(t, db, `GRANT SELECT ON crmguard_schema TO `+role)
			blind, err := sqldb.Open(t.Context(), as.Open(t))
			require.NoError(t, err)
			require.NoError(t, demo(2).Check(t.Context(), blind))
			statements(t, db, `DROP TABLE crmguard_demo_word`)
			require.Contains(t, found(t, demo(2).Check(t.Context(), db)).Error(), "crmguard_demo_word")
			require.NoError(t, demo(2).Check(t.Context(), blind))
			return
		}
		statements(t, db, `CREATE TEMPORARY TABLE crmguard_demo_word (tenant text, word text, n bigint, body text)`)
		found(t, demo(2).Check(t.Context(), db))
		statements(t, db, `DROP TABLE crmguard_demo_word`)
		require.NoError(t, demo(2).Check(t.Context(), db))
		statements(t, db, `DROP TABLE crmguard_demo_word`)
		require.Contains(t, found(t, demo(2).Check(t.Context(), db)).Error(), "crmguard_demo_word")
	})
}

// Tables of a second package go beside those of the first, not into whatever
// schema comes first: a second table of versions would hide the first.
func TestInstallStaysBesideTheTablesThatAreThere(t *testing.T) {
	onPostgres(t, func(t *testing.T, owner *sqldb.DB, path func(string) *sqldb.DB, _ testdb.Database) {
		require.NoError(t, demo(1).Install(t.Context(), path("crm").DB))
		require.NoError(t, demo(2).Install(t.Context(), path("billing,crm").DB))
		require.NoError(t, demo(2).Check(t.Context(), path("crm")))
		var n int
		require.NoError(t, owner.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_class WHERE relname LIKE 'crmguard_%' AND relkind = 'r'`).Scan(&n))
		require.Equal(t, 2, n)
		statements(t, owner, `DROP SCHEMA crm CASCADE`, `CREATE SCHEMA "Crm ""2"""`)
		require.NoError(t, demo(1).Install(t.Context(), path(`'"Crm ""2"""'`).DB))
		require.NoError(t, demo(2).Install(t.Context(), path(`'billing,"Crm ""2"""'`).DB))
	})
}

func TestErrorsOfSchemasTellTheRemedy(t *testing.T) {
	require.EqualError(t, &sqldb.SchemaError{Package: "audit", Have: 1, Want: 2}, "audit: tables are at version 1, this library needs 2: call Install, or apply the migrations it ships")
	require.True(t, strings.HasSuffix((&sqldb.SchemaError{Package: "audit", Want: 2, Found: "x"}).Error(), "; but first see to it that x"))
	require.EqualError(t, &sqldb.SchemaError{Package: "audit", Have: 2, Want: 2, Found: "x"}, "audit: tables are at version 2, this library needs 2: x")
	require.NotErrorIs(t, &sqldb.SchemaError{}, errors.ErrUnsupported)
}

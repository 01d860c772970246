package sqlschema_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/internal/sqlschema"
)

func TestInstallAppliesWhatIsMissing(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "x.db"))
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)

	one := fstest.MapFS{"0001_a.sql": {Data: []byte("CREATE TABLE a (id INTEGER);\nCREATE TABLE b (id INTEGER);\n")}}
	set := sqlschema.Set{Package: "demo", Migrations: one}
	var version *sqlschema.VersionError
	require.ErrorAs(t, set.Check(t.Context(), db), &version)
	require.Equal(t, 1, version.Want)

	require.NoError(t, set.Install(t.Context(), db))
	require.NoError(t, set.Install(t.Context(), db), "a second call changes nothing")
	require.NoError(t, set.Check(t.Context(), db))

	one["0002_b.sql"] = &fstest.MapFile{Data: []byte("ALTER TABLE a ADD COLUMN n INTEGER;\n")}
	require.ErrorAs(t, set.Check(t.Context(), db), &version)
	require.Equal(t, 1, version.Have)
	require.NoError(t, set.Install(t.Context(), db))
	_, err = db.ExecContext(t.Context(), `INSERT INTO a (id, n) VALUES (1, 2)`)
	require.NoError(t, err)
}

func TestAFailedMigrationLeavesNothing(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "x.db"))
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	set := sqlschema.Set{Package: "demo", Migrations: fstest.MapFS{"0001_a.sql": {Data: []byte("CREATE TABLE a (id INTEGER);\nCREATE TABEL b (id INTEGER);\n")}}}
	require.Error(t, set.Install(t.Context(), db))
	_, err = db.ExecContext(t.Context(), `SELECT 1 FROM a`)
	require.Error(t, err, "the first statement was rolled back")
	require.Error(t, set.Check(t.Context(), db))
}

func TestNoDatabaseIsAnErrorNotAPanic(t *testing.T) {
	require.ErrorContains(t, sqlschema.Set{Package: "demo", Migrations: fstest.MapFS{}}.Install(t.Context(), nil), "no database")
}

func TestMigrationsAreNumbered(t *testing.T) {
	set := sqlschema.Set{Package: "demo", Migrations: fstest.MapFS{"0002_a.sql": {}}}
	require.ErrorContains(t, set.Check(t.Context(), nil), "number 1")
}

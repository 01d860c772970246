package sqlschema_test

import (
	"database/sql"
	"errors"
	"fmt"
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

// Processes that start at the same time all find the tables installed, each
// migration once.
func TestInstallsAtOnce(t *testing.T) {
	migrations := fstest.MapFS{}
	for i := range 9 {
		migrations[fmt.Sprintf("%04d_t.sql", i+1)] = &fstest.MapFile{Data: fmt.Appendf(nil, "CREATE TABLE t%d (id INTEGER);\n", i)}
	}
	set := sqlschema.Set{Package: "demo", Migrations: migrations}
	for range 10 {
		source := "file:" + filepath.Join(t.TempDir(), "x.db") + "?_pragma=busy_timeout(20000)"
		errs := make(chan error)
		for range 4 {
			go func() {
				db, err := sql.Open("sqlite", source)
				if err == nil {
					err = errors.Join(set.Install(t.Context(), db), set.Check(t.Context(), db), db.Close())
				}
				errs <- err
			}()
		}
		for range 4 {
			require.NoError(t, <-errs)
		}
	}
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

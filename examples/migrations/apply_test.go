package main

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/golang-migrate/migrate/v4/database"
	migratemysql "github.com/golang-migrate/migrate/v4/database/mysql"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A tool applies the files of a folder, as often as it is asked to.
type tool struct {
	name  string
	apply func(t *testing.T, d testdb.Database, folder string)
}

// toolsFor are the tools that know the database.
func toolsFor(name testdb.Name) []tool {
	tools := []tool{{"goose", applyWithGoose}, {"golang-migrate", applyWithGolangMigrate("crmguard_migrations")}}
	switch name {
	case testdb.SQLite:
		return append(tools, tool{"sqlite3", shell("sqlite3", 0, "sqlite3")})
	case testdb.MariaDB:
		return append(tools, tool{"mariadb", shell("mariadb and mysql", 0, "mariadb")}, tool{"mysql", func(t *testing.T, d testdb.Database, folder string) {
			run(t, d, folder, "mysql", strings.ReplaceAll(block(t, "mariadb and mysql", "sh", 0), "mariadb ", "mysql "))
		}})
	default:
		return append(tools, tool{"goose with lib/pq", func(t *testing.T, d testdb.Database, folder string) {
			require.NoError(t, withGoose(t.Context(), goose.DialectPostgres, d.OpenWith(t, "postgres"), folder))
		}}, tool{"psql", shell("psql", 0, "psql")}, tool{"psql in one transaction", shell("psql", 1, "psql")})
	}
}

func applyWithGoose(t *testing.T, d testdb.Database, folder string) {
	t.Helper()
	require.NoError(t, withGoose(t.Context(), dialectOf(d.Name), d.Open(t), folder))
}

func dialectOf(name testdb.Name) goose.Dialect {
	return map[string]goose.Dialect{"sqlite": goose.DialectSQLite3, "mysql": goose.DialectMySQL, "postgres": goose.DialectPostgres}[kind(name)]
}

func applyWithGolangMigrate(table string) func(t *testing.T, d testdb.Database, folder string) {
	return func(t *testing.T, d testdb.Database, folder string) {
		t.Helper()
		var driver database.Driver
		var err error
		name := d.Name.Drivers()[0]
		switch d.Name {
		case testdb.SQLite:
			driver, err = migratesqlite.WithInstance(d.OpenWith(t, name), &migratesqlite.Config{MigrationsTable: table})
		case testdb.MariaDB:
			handle, problem := sql.Open(name, d.DSN(name)+"&multiStatements=true")
			require.NoError(t, problem)
			driver, err = migratemysql.WithInstance(handle, &migratemysql.Config{MigrationsTable: table})
		default:
			driver, err = migratepgx.WithInstance(d.OpenWith(t, name), &migratepgx.Config{MigrationsTable: table})
		}
		require.NoError(t, err)
		require.NoError(t, withGolangMigrate(name, driver, folder))
	}
}

// shell runs a command of the README.
func shell(section string, n int, program string) func(t *testing.T, d testdb.Database, folder string) {
	return func(t *testing.T, d testdb.Database, folder string) {
		t.Helper()
		run(t, d, folder, program, block(t, section, "sh", n))
	}
}

func run(t *testing.T, d testdb.Database, folder, program, script string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		require.NotEqual(t, "all", os.Getenv("CRMGUARD_SERVERS"), "%s is not installed", program)
		t.Skipf("%s is not installed", program)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Env = append(os.Environ(), "FOLDER="+folder, "DATABASE="+d.DSN(d.Name.Drivers()[0]))
	switch d.Name {
	case testdb.SQLite:
		path, _, _ := strings.Cut(strings.TrimPrefix(d.DSN("sqlite"), "file:"), "?")
		cmd.Env = append(cmd.Env, "DATABASE="+path)
	case testdb.MariaDB:
		config, err := mysql.ParseDSN(d.DSN("mysql"))
		require.NoError(t, err)
		connect := "--no-defaults --user=" + config.User + " --socket=" + config.Addr
		if config.Net == "tcp" {
			host, port, _ := strings.Cut(config.Addr, ":")
			connect = "--no-defaults --user=" + config.User + " --host=" + host + " --port=" + port
		}
		cmd.Env = append(cmd.Env, "CONNECT="+connect+" "+config.DBName, "MYSQL_PWD="+config.Passwd)
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// merged is a folder with the files of all packages for the database.
func merged(t *testing.T, name testdb.Name) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "migrations")
	require.NoError(t, writeMigrations(kind(name), folder))
	return folder
}

func kind(name testdb.Name) string {
	if own := map[testdb.Name]string{testdb.SQLite: "sqlite", testdb.MariaDB: "mysql"}[name]; own != "" {
		return own
	}
	return "postgres"
}

func installAll(t *testing.T, db *sql.DB) {
	t.Helper()
	for _, p := range packages() {
		require.NoError(t, p.install(t.Context(), db), p.name)
	}
}

func openAll(t *testing.T, db *sql.DB) {
	t.Helper()
	for _, p := range packages() {
		require.NoError(t, p.open(t.Context(), db), p.name)
	}
}

// versions are the rows of crmguard_schema with the moments at which they were
// written: what is applied again must not write them anew.
func versions(t *testing.T, db *sql.DB) (out []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT package, version, installed FROM crmguard_schema ORDER BY package, version`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		var version, installed int64
		require.NoError(t, rows.Scan(&name, &version, &installed))
		out = append(out, fmt.Sprint(name, " ", version, " ", installed))
	}
	require.NoError(t, rows.Err())
	return out
}

// each runs f for each database with each tool that knows it.
func each(t *testing.T, f func(t *testing.T, d testdb.Database, apply func(t *testing.T, d testdb.Database, folder string))) {
	for _, name := range testdb.Names() {
		for _, one := range toolsFor(name) {
			t.Run(string(name)+"/"+one.name, func(t *testing.T) { f(t, testdb.New(t, name), one.apply) })
		}
	}
}

func TestWhoeverAppliesTheFilesWithAToolCanOpen(t *testing.T) {
	each(t, func(t *testing.T, d testdb.Database, apply func(t *testing.T, d testdb.Database, folder string)) {
		folder := merged(t, d.Name)
		apply(t, d, folder)
		db := d.Open(t)
		openAll(t, db)
		before := versions(t, db)
		files, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Len(t, before, len(files), "a row a file")
		installAll(t, db)
		require.Equal(t, before, versions(t, db), "Install has nothing to do")
		apply(t, d, folder)
		require.Equal(t, before, versions(t, db), "nor has the tool a second time")
		openAll(t, db)
	})
}

func TestWhoeverInstalledFirstCanMoveToATool(t *testing.T) {
	each(t, func(t *testing.T, d testdb.Database, apply func(t *testing.T, d testdb.Database, folder string)) {
		db := d.Open(t)
		installAll(t, db)
		before := versions(t, db)
		apply(t, d, merged(t, d.Name))
		require.Equal(t, before, versions(t, db))
		openAll(t, db)
	})
}

// A tool that got no further than some file leaves what Install finishes, and
// Install leaves what the tool goes over once more.
func TestWhatAToolBeganInstallFinishes(t *testing.T) {
	each(t, func(t *testing.T, d testdb.Database, apply func(t *testing.T, d testdb.Database, folder string)) {
		whole := merged(t, d.Name)
		files, err := os.ReadDir(whole)
		require.NoError(t, err)
		for _, n := range []int{1, len(files) / 2, len(files) - 1} {
			one, part := testdb.New(t, d.Name), t.TempDir()
			for _, file := range files[:n] {
				text, err := os.ReadFile(filepath.Join(whole, file.Name()))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(part, file.Name()), text, 0o600))
			}
			apply(t, one, part)
			db := one.Open(t)
			var schema *audit.ErrSchema
			last := packages()[len(packages())-1]
			require.ErrorAs(t, last.open(t.Context(), db), &schema, "the last file is not there yet")
			require.Less(t, schema.Have, schema.Want)
			installAll(t, db)
			openAll(t, db)
			apply(t, one, whole)
			openAll(t, db)
			require.Len(t, versions(t, db), len(files))
		}
	})
}

// filesOf is a folder with the files of these packages.
func filesOf(t *testing.T, name testdb.Name, some ...shipped) string {
	t.Helper()
	folder := t.TempDir()
	for _, p := range some {
		paths, err := fs.Glob(p.migrations, kind(name)+"/*.sql")
		require.NoError(t, err)
		for _, path := range paths {
			text, err := fs.ReadFile(p.migrations, path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(folder, filepath.Base(path)), text, 0o600))
		}
	}
	return folder
}

// golang-migrate knows one number and goes on from there, so a package that is
// added later has a folder and a table of its own; in one folder it would be
// left out, and Open says so.
func TestWithGolangMigrateAPackageAddedLaterHasATableOfItsOwn(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		all := packages()
		for i := len(all) - 1; i >= 0; i-- { // the lower numbers last
			applyWithGolangMigrate("crmguard_"+all[i].name+"_migrations")(t, d, filesOf(t, d.Name, all[i]))
		}
		openAll(t, d.Open(t))

		other, last := testdb.New(t, d.Name), all[len(all)-1]
		applyWithGolangMigrate("crmguard_migrations")(t, other, filesOf(t, d.Name, last))
		applyWithGolangMigrate("crmguard_migrations")(t, other, filesOf(t, d.Name, all...))
		require.NoError(t, last.open(t.Context(), other.Open(t)))
		var schema *audit.ErrSchema
		require.ErrorAs(t, all[0].open(t.Context(), other.Open(t)), &schema, "passed over without a word by the tool, and not by Open")
	})
}

func TestWithGooseAPackageAddedLaterIsOutOfOrder(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		all, db := packages(), d.Open(t)
		dialect := dialectOf(d.Name)
		require.NoError(t, withGoose(t.Context(), dialect, db, filesOf(t, d.Name, all[len(all)-1])))
		whole := merged(t, d.Name)
		require.ErrorContains(t, withGoose(t.Context(), dialect, db, whole), "missing")
		provider, err := goose.NewProvider(dialect, db, os.DirFS(whole), goose.WithAllowOutofOrder(true))
		require.NoError(t, err)
		_, err = provider.Up(t.Context())
		require.NoError(t, err)
		openAll(t, db)
	})
}

// The GRANT statements that the command prints are enough to open as the role.
func TestTheRightsAreGrantedAsTheReadmeSays(t *testing.T) {
	for n, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			installAll(t, d.Open(t))
			role, as := d.Role(t)
			program := map[testdb.Name]string{testdb.PostgresC: "psql", testdb.MariaDB: "mariadb"}[name]
			run(t, d, "", program, "set -o pipefail\n"+strings.ReplaceAll(block(t, "Rights", "sh", n), "crm_app", role))
			for _, driver := range name.Drivers() {
				openAll(t, as.OpenWith(t, driver))
			}
			_, err := as.Open(t).ExecContext(context.WithoutCancel(t.Context()), `DELETE FROM crmguard_audit_events`)
			require.Error(t, err, "no right but those that were granted")
		})
	}
}

package testdb

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver mysql
	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	_ "github.com/lib/pq"              // the driver postgres
	_ "modernc.org/sqlite"             // the driver sqlite
)

// A Name is one of the databases that everything is tested on.
type Name string

// The four databases. The two of PostgreSQL are of one server and differ in
// how they compare text: by bytes, and by the rules of a language.
const (
	SQLite      Name = "sqlite"
	PostgresC   Name = "postgres-c"
	PostgresICU Name = "postgres-icu"
	MariaDB     Name = "mariadb"
)

// Names lists the four databases.
func Names() []Name { return []Name{SQLite, PostgresC, PostgresICU, MariaDB} }

// Drivers lists the drivers of database/sql that open such a database; the
// first one is what [Database.Open] uses.
func (n Name) Drivers() []string {
	switch n {
	case PostgresC, PostgresICU:
		return []string{"pgx", "postgres"}
	case MariaDB:
		return []string{"mysql"}
	default:
		return []string{"sqlite"}
	}
}

// A Database is empty when a test gets it, and dropped when the test ends.
type Database struct {
	Name     Name
	dsn      map[string]string // by driver
	on       *server           // nil: a file
	database string            // its name there
}

// DSN is the data source name for one of the drivers of the database.
func (d Database) DSN(driver string) string { return d.dsn[driver] }

// Open opens the database with its first driver and closes it with the test.
func (d Database) Open(tb testing.TB) *sql.DB {
	tb.Helper()
	return d.OpenWith(tb, d.Name.Drivers()[0])
}

// OpenWith opens the database with the driver named and closes it with the
// test.
func (d Database) OpenWith(tb testing.TB, driver string) *sql.DB {
	tb.Helper()
	dsn, ok := d.dsn[driver]
	if !ok {
		tb.Fatalf("testdb: %s has no driver %s; it has %v", d.Name, driver, d.Name.Drivers())
	}
	db, err := handle(driver, dsn)
	if err != nil {
		tb.Fatalf("testdb: open %s: %v", d.Name, err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil && (d.on == nil || !d.on.killed.Load()) {
			tb.Errorf("testdb: close %s: %v", d.Name, err)
		}
	})
	if err := db.PingContext(tb.Context()); err != nil {
		tb.Fatalf("testdb: reach %s: %v", d.Name, err)
	}
	return db
}

// Each runs f as a subtest on each of the four databases.
func Each(t *testing.T, f func(t *testing.T, d Database)) {
	t.Helper()
	for _, name := range Names() {
		t.Run(string(name), func(t *testing.T) { f(t, New(t, name)) })
	}
}

// EachDriver runs f as a subtest on each of the four databases and with each driver: one
// of PostgreSQL's under each of its two orders of text, for tests in which the two have
// nothing to do with each other.
func EachDriver(t *testing.T, f func(t *testing.T, d Database, driver string)) {
	t.Helper()
	Each(t, func(t *testing.T, d Database) {
		drivers := d.Name.Drivers()
		if d.Name == PostgresICU {
			drivers = drivers[1:]
		}
		f(t, d, drivers[0])
	})
}

// New makes an empty database for the test. Where its server is not there the
// test is skipped, or fails with CRMGUARD_SERVERS=all.
func New(tb testing.TB, name Name) Database {
	tb.Helper()
	switch name {
	case SQLite:
		return sqliteIn(tb.TempDir())
	case PostgresC, PostgresICU:
		return newOn(tb, name, postgresServer())
	case MariaDB:
		return newOn(tb, name, mariaServer())
	}
	tb.Fatalf("testdb: there is no database %q", name)
	return Database{}
}

// sqliteIn is a file that is as durable and as forgetful as the library wants
// it: see the package comments of the storing packages.
func sqliteIn(dir string) Database {
	return Database{Name: SQLite, dsn: map[string]string{
		"sqlite": "file:" + filepath.Join(dir, "test.db") +
			"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_pragma=secure_delete(1)",
	}}
}

// A server is where databases are made: started here, or named by the
// environment.
type server struct {
	driver string // for the administration
	admin  string // data source name of a user who may create databases
	create func(name Name, database string) []string
	dsn    func(database string, as login) map[string]string
	err    error // why there is none

	stopped atomic.Bool // by the test, for good
	killed  atomic.Bool // by the test: connections from before are broken
}

// databases counts what this process has created, for names of its own.
var databases atomic.Int64

func newOn(tb testing.TB, name Name, s *server) Database {
	tb.Helper()
	if s.err != nil {
		missing(tb, string(name), s.err)
	}
	admin, err := handle(s.driver, s.admin)
	if err != nil {
		tb.Fatalf("testdb: open %s: %v", name, err)
	}
	database := fmt.Sprintf("crmguard_%d_%d_%d", os.Getpid(), time.Now().UnixMilli(), databases.Add(1))
	tb.Cleanup(func() {
		if err := drop(admin, s.driver, database); err != nil && !s.stopped.Load() {
			tb.Errorf("testdb: drop a database of %s: %v", name, err)
		}
	})
	for _, statement := range s.create(name, database) {
		if _, err := admin.ExecContext(tb.Context(), statement); err != nil {
			tb.Fatalf("testdb: create a database of %s: %v", name, err)
		}
	}
	return Database{Name: name, dsn: s.dsn(database, login{}), on: s, database: database}
}

// missing skips the test, or fails it where everything has to be there.
func missing(tb testing.TB, what string, err error) {
	tb.Helper()
	if os.Getenv("CRMGUARD_SERVERS") == "all" {
		tb.Fatalf("testdb: %s: %v", what, err)
	}
	tb.Skipf("testdb: %s: %v", what, err)
}

// drop removes a database with whoever is still connected: a test that was
// stopped in the middle leaves connections behind. The test's context is over.
func drop(admin *sql.DB, driver, database string) error {
	defer func() { _ = admin.Close() }() // what counts is the answer of the statement
	statement := "DROP DATABASE IF EXISTS " + database
	if driver == "pgx" {
		statement += " WITH (FORCE)"
	}
	_, err := admin.Exec(statement)
	return err
}

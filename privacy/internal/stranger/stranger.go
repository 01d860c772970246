package stranger

import (
	"database/sql"
	"embed"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// A Variant is something that the schema has besides.
type Variant string

// The variants.
const (
	Cascade Variant = "cascade" // invoices go with their contact: ON DELETE CASCADE on what must be kept
	Trigger Variant = "trigger" // a change of a contact is written to the outbox, and so is its deletion
)

// Now is when tests erase: obligations run then that end later.
func Now() time.Time { return time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC) }

// Habits are what the first persons are like, one each: plain; NULL wherever a
// column takes it; empty texts and zeros; invisible characters; texts and bytes of
// 300,000 bytes; addresses and names spelt in several ways; an address that
// MariaDB takes for that of person 0; a second contact that was merged into the
// first. Whoever comes after them is plain.
func Habits() []string {
	return []string{"plain", "null", "empty", "invisible", "huge", "otherwise", "lookalike", "merged"}
}

// A Person is one of the CRM.
type Person struct {
	N      int
	Habit  string
	Tenant int64
	ID     int64 // contacts.id
	Merged int64 // the contact that was merged into it, 0 for none
}

// IDText is the id as a desk takes it.
func (p *Person) IDText() string { return fmt.Sprint(p.ID) }

// TenantText is the tenant as a desk takes it.
func (p *Person) TenantText() string { return fmt.Sprint(p.Tenant) }

// A World is one filled database. Its methods are for one goroutine.
type World struct {
	wholedb.DB
	Database testdb.Database
	People   []*Person

	dialect  sqldb.Dialect
	expected wholedb.Expectation
}

//go:embed *.sql
var schemas embed.FS

// Open makes and fills a CRM on a new database, with one person of each habit.
func Open(tb testing.TB, name testdb.Name, variants ...Variant) *World {
	tb.Helper()
	return OpenWith(tb, name, len(Habits()), variants...)
}

// OpenWith makes it with so many persons.
func OpenWith(tb testing.TB, name testdb.Name, people int, variants ...Variant) *World {
	tb.Helper()
	w := &World{Database: testdb.New(tb, name)}
	w.DB = wholedb.DB{Name: name, SQL: w.OpenDB(tb, name.Drivers()[0])}
	var err error
	if w.dialect, err = sqldb.Ask(tb.Context(), w.SQL); err != nil {
		tb.Fatalf("stranger: %v", err)
	}
	for n := range people {
		p := &Person{N: n, Habit: "plain", Tenant: int64(n%2 + 1), ID: firstID + int64(n)}
		if n < len(Habits()) {
			p.Habit = Habits()[n]
		}
		if p.Habit == "merged" {
			p.Merged = firstID + int64(people)
		}
		w.People = append(w.People, p)
	}
	w.create(tb, variants)
	w.fill(tb)
	if slices.Contains(variants, Trigger) {
		w.run(tb, w.file(tb, "_trigger.sql"))
	}
	return w
}

// Each runs f as a subtest on a new CRM on each of the four databases.
func Each(t *testing.T, f func(t *testing.T, w *World), variants ...Variant) {
	t.Helper()
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) { f(t, Open(t, name, variants...)) })
	}
}

// OpenDB opens the CRM with one of its drivers and closes it with the test. On
// SQLite foreign keys are enforced, which is for each connection to say.
func (w *World) OpenDB(tb testing.TB, driver string) *sql.DB {
	tb.Helper()
	if w.Database.Name != testdb.SQLite {
		return w.Database.OpenWith(tb, driver)
	}
	db, err := sql.Open(driver, w.Database.DSN(driver)+"&_pragma=foreign_keys(1)")
	if err != nil {
		tb.Fatalf("stranger: open: %v", err)
	}
	tb.Cleanup(func() { _ = db.Close() }) // a file that goes with the test
	return db
}

// Table is the name of a table as the database has it: invoices and their lines
// are in a schema of their own on PostgreSQL.
func (w *World) Table(name string) string {
	billing := strings.HasPrefix(name, "invoice")
	switch {
	case billing && w.dialect.Kind == sqldb.Postgres:
		return "billing." + name
	case billing && w.dialect.Kind == sqldb.MariaDB:
		return "billing_" + name
	}
	return name
}

// person returns the one who is so many places further in the same tenant.
func (w *World) person(p *Person, further int) *Person {
	n := len(w.People)
	q := w.People[(p.N+2*further+n)%n]
	if q.Tenant != p.Tenant {
		return p // an odd number of persons: the last has no next one
	}
	return q
}

func (w *World) create(tb testing.TB, variants []Variant) {
	tb.Helper()
	cascade := ""
	if slices.Contains(variants, Cascade) {
		cascade = " REFERENCES contacts (id) ON DELETE CASCADE"
	}
	w.run(tb, strings.ReplaceAll(w.file(tb, ".sql"), "{cascade}", cascade))
}

func (w *World) file(tb testing.TB, ending string) string {
	tb.Helper()
	kind := map[sqldb.Kind]string{sqldb.SQLite: "sqlite", sqldb.Postgres: "postgres", sqldb.MariaDB: "mysql"}[w.dialect.Kind]
	text, err := schemas.ReadFile(kind + ending)
	if err != nil {
		tb.Fatalf("stranger: %v", err)
	}
	return string(text)
}

// run executes a text of many statements: at once where the driver takes that.
func (w *World) run(tb testing.TB, text string) {
	tb.Helper()
	statements := []string{text}
	if w.Name == testdb.MariaDB {
		statements = strings.Split(strings.TrimSpace(text), ";\n")
	}
	for _, statement := range statements {
		if _, err := w.SQL.ExecContext(tb.Context(), statement); err != nil {
			tb.Fatalf("stranger: %v\n%s", err, statement[:min(len(statement), 300)])
		}
	}
}

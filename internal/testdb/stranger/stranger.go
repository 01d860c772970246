// Package stranger is a CRM whose schema other people wrote: what the library
// meets when somebody adds it to an application that has lived for years.
//
// Two schemas (on MySQL two databases, on SQLite one file without schemas) hold
// what such applications have: keys that are numbers, UUIDs, text, text without
// regard to case, or several columns of different types; an enum, JSON, exact
// decimals, times and dates, some of them as text; NULLs, checks, deferred
// constraints, cascades, a table that points to itself, many-to-many, rows that
// name "a contact or an account" by two columns without a foreign key, custom
// fields, soft deletion, a trigger that keeps a history, a view, a partitioned
// table and names that must be quoted. The schemas are the .sql files beside
// this one.
//
// New fills it the same way each time: from the 3,000 contacts in the folder
// that CRMGUARD_TESTDATA names, or from as many made-up ones where it is unset.
// Among the ids of contacts are [CRM.SpecialIDs], which are one to whoever
// trims, folds, normalises or counts.
//
// For tests only.
package stranger

import (
	"database/sql"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A CRM is one filled database.
type CRM struct {
	Name     testdb.Name
	Database testdb.Database
	DB       *sql.DB // opened with the first driver

	dialect sqldb.Dialect
	billing string // the database that is the second schema, on MySQL
	crm     string
	people  []person
}

// A Table is one of the CRM's.
type Table struct {
	Name string   // "contacts": the same on every database
	Path string   // "crm.contacts": schema and table without quotes
	SQL  string   // Path as SQL text
	Key  []string // columns of the primary key in its order, as SQL text
	Rows int
}

// The tables and the columns of their keys. Schema is "" where it is crm.
var tables = []struct {
	schema, name string
	key          []string
}{
	{"crm", "users", []string{"id"}},                                // bigserial
	{"crm", "accounts", []string{"id"}},                             // uuid; CHAR(36) on MySQL
	{"crm", "contacts", []string{"id"}},                             // text
	{"crm", "tags", []string{"name"}},                               // citext; without regard to case
	{"crm", "contact_tags", []string{"contact_id", "tag"}},          // text and citext
	{"crm", "sources", []string{"code"}},                            // a collation of ICU that takes texts for one
	{"crm", "activities", []string{"id"}},                           // bigserial
	{"crm", "events", []string{"occurred_at", "id"}},                // a time and a number, partitioned
	{"crm", "contacts_history", []string{"contact_id", "n"}},        // text and a number
	{"billing", "invoices", []string{"id"}},                         // uuid; BINARY(16) on MySQL
	{"billing", "invoice_lines", []string{"invoice_id", "line"}},    // uuid and a number
	{"billing", "rates", []string{"country", "kind", "valid_from"}}, // padded text, an enum and a date
	{"billing", "Credit Notes", []string{"No"}},                     // names that must be quoted
}

//go:embed postgres.sql
var postgresSchema string

//go:embed mysql.sql
var mysqlSchema string

//go:embed sqlite.sql
var sqliteSchema string

// New makes and fills a CRM on a new database. Where the server, or on
// PostgreSQL the extension citext, is not there, the test is skipped, or fails
// with CRMGUARD_SERVERS=all.
func New(tb testing.TB, name testdb.Name) *CRM {
	tb.Helper()
	c := &CRM{Name: name, Database: testdb.New(tb, name), people: readPeople(tb)}
	c.DB = c.OpenWith(tb, name.Drivers()[0])
	var err error
	if c.dialect, err = sqldb.Ask(tb.Context(), c.DB); err != nil {
		tb.Fatalf("stranger: %v", err)
	}
	c.create(tb)
	c.fill(tb)
	return c
}

// Each runs f as a subtest on a new CRM on each of the four databases.
func Each(t *testing.T, f func(t *testing.T, c *CRM)) {
	t.Helper()
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) { f(t, New(t, name)) })
	}
}

// OpenWith opens the CRM with one of its drivers and closes it with the test.
// On SQLite foreign keys are enforced, which is for each connection to say.
func (c *CRM) OpenWith(tb testing.TB, driver string) *sql.DB {
	tb.Helper()
	db := c.Database.OpenWith(tb, driver)
	if c.Name != testdb.SQLite {
		return db
	}
	db, err := sql.Open(driver, c.Database.DSN(driver)+"&_pragma=foreign_keys(1)")
	if err != nil {
		tb.Fatalf("stranger: open: %v", err)
	}
	tb.Cleanup(func() { _ = db.Close() }) // the database that testdb opened tells of faults
	return db
}

func (c *CRM) mysql() bool { return c.Name == testdb.MariaDB }

func (c *CRM) postgres() bool { return c.Name == testdb.PostgresC || c.Name == testdb.PostgresICU }

func (c *CRM) create(tb testing.TB) {
	tb.Helper()
	switch {
	case c.postgres():
		if _, err := c.DB.ExecContext(tb.Context(), "CREATE EXTENSION citext"); err != nil {
			if os.Getenv("CRMGUARD_SERVERS") == "all" {
				tb.Fatalf("stranger: citext is part of every CRM on PostgreSQL: %v", err)
			}
			tb.Skipf("stranger: citext cannot be had here: %v", err)
		}
		c.exec(tb, postgresSchema)
	case c.mysql():
		if err := c.DB.QueryRowContext(tb.Context(), "SELECT DATABASE()").Scan(&c.crm); err != nil {
			tb.Fatalf("stranger: %v", err)
		}
		c.billing = c.crm + "_billing"
		exact := "utf8mb4_nopad_bin"
		if c.dialect.Kind == sqldb.MySQL {
			exact = "utf8mb4_0900_bin"
		}
		tb.Cleanup(func() { // before the database that it refers to; the test's context is over
			if _, err := c.DB.Exec("DROP DATABASE IF EXISTS " + c.billing); err != nil {
				tb.Errorf("stranger: drop: %v", err)
			}
		})
		text := strings.NewReplacer("{crm}", c.crm, "{billing}", c.billing, "{exact}", exact).Replace(mysqlSchema)
		for statement := range strings.SplitSeq(text, ";\n") {
			if strings.TrimSpace(statement) != "" {
				c.exec(tb, statement)
			}
		}
	default:
		c.exec(tb, sqliteSchema)
	}
}

func (c *CRM) exec(tb testing.TB, query string, args ...any) {
	tb.Helper()
	if _, err := c.DB.ExecContext(tb.Context(), query, args...); err != nil {
		tb.Fatalf("stranger: %v\n%s", err, query[:min(len(query), 200)])
	}
}

// Tables lists the tables that hold rows of their own, without the view and
// the partitions.
func (c *CRM) Tables(tb testing.TB) []Table {
	tb.Helper()
	var out []Table
	for _, t := range tables {
		out = append(out, c.Table(tb, t.name))
	}
	return out
}

// Table describes one table as it stands; Rows is counted.
func (c *CRM) Table(tb testing.TB, name string) Table {
	tb.Helper()
	for _, known := range tables {
		if known.name != name {
			continue
		}
		t := Table{Name: name, Path: c.path(known.schema, name)}
		t.SQL = c.quote(tb, t.Path)
		for _, column := range known.key {
			t.Key = append(t.Key, c.quote(tb, column))
		}
		if err := c.DB.QueryRowContext(tb.Context(), "SELECT COUNT(*) FROM "+t.SQL).Scan(&t.Rows); err != nil {
			tb.Fatalf("stranger: %v", err)
		}
		return t
	}
	tb.Fatalf("stranger: there is no table %q", name)
	return Table{}
}

func (c *CRM) path(schema, name string) string {
	switch {
	case c.postgres():
		return schema + "." + name
	case c.mysql() && schema == "billing":
		return c.billing + "." + name
	case c.mysql():
		return c.crm + "." + name
	}
	return name
}

func (c *CRM) quote(tb testing.TB, name string) string {
	tb.Helper()
	quoted, err := c.dialect.Quote(name)
	if err != nil {
		tb.Fatalf("stranger: %v", err)
	}
	return quoted
}

// SpecialIDs are ids of contacts that stand in the table beside each other and
// differ by case, a zero in front, a blank, a mark, the Unicode form.
func (c *CRM) SpecialIDs() []string { return specialIDs() }

// Keys reads the whole table's keys as text, sorted, without a cursor: what a
// walk over the table has to give. Bytes that are no text stand as hexadecimal,
// times of PostgreSQL in ISO 8601, and an enum of MySQL as its number.
func (c *CRM) Keys(tb testing.TB, name string) []string {
	tb.Helper()
	t := c.Table(tb, name)
	columns := make([]string, len(t.Key))
	for i, column := range t.Key {
		switch {
		case c.postgres() && column == `"occurred_at"`:
			columns[i] = "to_jsonb(" + column + ") #>> '{}'"
		case c.postgres():
			columns[i] = column + "::text"
		case c.mysql() && column == "`kind`":
			columns[i] = column + " + 0"
		case c.mysql() && t.Path == c.billing+".invoices", c.mysql() && column == "`invoice_id`":
			columns[i] = "LOWER(HEX(" + column + "))"
		case c.mysql():
			columns[i] = "CONCAT(" + column + ")"
		default:
			columns[i] = "CAST(" + column + " AS TEXT)"
		}
	}
	rows, err := c.DB.QueryContext(tb.Context(), "SELECT "+strings.Join(columns, ", ")+" FROM "+t.SQL)
	if err != nil {
		tb.Fatalf("stranger: %v", err)
	}
	defer func() { _ = rows.Close() }()
	return readKeys(tb, rows, len(columns))
}

// KeyText is how Keys writes the values of one key.
func KeyText(values ...string) string { return strings.Join(values, "\x00") }

func uuidText(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

package randomschema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// A Case is a schema with its map and its data.
type Case struct {
	Name   testdb.Name
	Map    *datamap.Map
	People []Person

	Keys Keys // outside of the database

	tables     []*table
	rows       [][]*row // by table
	into       []int    // by person, whom they were merged into
	oneAddress []bool   // by person, who has that one's
	same       []int    // by person, another one who has the address, too, and is not merged
	twins      bool
	prefix     bool
	sealed     bool // the addresses of persons are sealed under their keys
	expected   wholedb.Expectation
}

// A Person is one of a case.
type Person struct {
	Tenant int64
	ID     string // as a desk takes it
}

// Draw makes a case for the database.
func Draw(t *rapid.T, on testdb.Name, opts Options) *Case {
	d := &drawer{T: t, on: on, opts: opts}
	d.people()
	for range d.upTo(1, 7, "tables") {
		d.further()
	}
	c := &Case{Name: on, tables: d.tables, twins: d.twins, prefix: d.prefix, sealed: d.sealed, Map: &datamap.Map{}}
	c.Keys.gone = map[string]bool{}
	for n := range d.upTo(3, 8, "persons") {
		c.People = append(c.People, Person{Tenant: int64(n%2 + 1)})
	}
	for _, table := range d.tables {
		c.Map.Tables = append(c.Map.Tables, table.mapped)
		if table.ownLink() {
			c.Map.Tables = append(c.Map.Tables, datamap.Table{
				Name: table.mapped.Link.Table, Key: []string{"record", "who"}, Columns: []datamap.Column{{Name: "tenant"}, {Name: "role"}},
			})
		}
	}
	c.fill(d)
	for n := range c.People {
		c.People[n].ID = fmt.Sprint(c.person(n))
	}
	return c
}

// Needles are the texts of the persons that have to be gone after their erasure.
func (c *Case) Needles(persons ...int) []wholedb.Needle { return c.expected.Gone(persons...) }

// Kept are the texts that have to stay where they are: see [wholedb.Lost].
func (c *Case) Kept(persons ...int) []wholedb.Needle { return c.expected.Kept(persons...) }

// Others are the rows that an erasure of the persons leaves as they are.
func (c *Case) Others(tb testing.TB, d wholedb.DB, persons ...int) []string {
	tb.Helper()
	return c.expected.Others(tb, d, persons...)
}

// Untouched is how many rows Others has to find.
func (c *Case) Untouched(persons ...int) int { return c.expected.Untouched(persons...) }

// Named are the tables whose rows name their person by themselves, each with its
// link table: one that is put back alone is found by that.
func (c *Case) Named() (all [][]string) {
	for _, t := range c.tables {
		switch t.way {
		case personal, byPerson:
			all = append(all, []string{t.name})
		case link:
			all = append(all, []string{t.name, t.mapped.Link.Table})
		default:
		}
	}
	return all
}

// Address is what a person is known by; of merged persons it may be the same.
func (c *Case) Address(person int) string { return strings.ToLower(c.email(person)) }

// Knows reports whether the database holds the address of the person in a row of
// theirs, and it can be read.
func (c *Case) Knows(tb testing.TB, d wholedb.DB, person int) (known bool) {
	tb.Helper()
	if _, err := c.Keys.aead(owner(fmt.Sprint(c.People[person].Tenant), c.People[person].ID)); c.sealed && err != nil {
		return false
	}
	people := c.rows[0][person]
	d.Rows(tb, func(r wholedb.Row) {
		if r.Table == c.tables[0].name && r.Text("id") == fmt.Sprint(people.values["id"]) {
			known = known || c.sealed || r.Text("email") == people.values["email"]
		}
	})
	return known
}

// Known are those of the texts that are found again when the database was put back
// and the keys of the persons are destroyed: not what only a sealed address leads to.
func (c *Case) Known(needles []wholedb.Needle) (known []wholedb.Needle) {
	lost := map[string]bool{}
	for _, t := range c.tables {
		lost[t.name] = c.sealed && (t.way == identity || t.parent != nil && lost[t.parent.name])
	}
	for _, n := range needles {
		table := n.Name[:strings.LastIndex(n.Name, ".")]
		if !lost[table] {
			known = append(known, n)
		}
	}
	return known
}

// DDL are the statements that make the tables.
func (c *Case) DDL() []string {
	var out []string
	if c.postgres() {
		out = append(out, "CREATE SCHEMA IF NOT EXISTS other", "CREATE EXTENSION IF NOT EXISTS citext",
			"DO $$ BEGIN CREATE TYPE random_grade AS ENUM ('a', 'b', 'c'); EXCEPTION WHEN duplicate_object THEN NULL; END $$")
	}
	for _, t := range c.tables {
		var lines []string
		for _, col := range t.all() {
			lines = append(lines, col.sql(c.Name))
		}
		if t.key[0].kind != serial {
			lines = append(lines, "PRIMARY KEY ("+list(t.mapped.Key)+")")
		}
		out = append(out, fmt.Sprintf("CREATE TABLE %s (%s)", t.name, strings.Join(append(lines, t.rules...), ", ")))
		for i, columns := range t.indexed {
			out = append(out, fmt.Sprintf("CREATE INDEX t%d_by%d ON %s (%s)", t.n, i, t.name, list(columns)))
		}
		if t.way == link {
			more := ""
			if t.ownLink() {
				more = "tenant " + typeName(c.Name, number) + " NOT NULL, role " + typeName(c.Name, name) + " NOT NULL, "
			}
			out = append(out, fmt.Sprintf("CREATE TABLE %s (record %s NOT NULL REFERENCES %s (id) ON DELETE CASCADE, who %s NOT NULL, %sPRIMARY KEY (record, who))",
				t.mapped.Link.Table, typeName(c.Name, t.key[0].kind.referring()), t.name, typeName(c.Name, c.tables[0].person().kind.referring()), more))
			out = append(out, fmt.Sprintf("CREATE INDEX t%d_by_who ON %s (who)", t.n, t.mapped.Link.Table))
		}
	}
	return out
}

// Create opens the empty database, makes the tables and fills them in one
// transaction. The handle is of this case alone: drivers remember what the tables
// of another one were like. SQLite enforces foreign keys.
func (c *Case) Create(ctx context.Context, d testdb.Database) (*sql.DB, error) {
	driver := d.Name.Drivers()[0]
	dsn := d.DSN(driver)
	if d.Name == testdb.SQLite {
		dsn += "&_pragma=foreign_keys(1)"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, fmt.Errorf("randomschema: %w", err)
	}
	if err := c.create(ctx, db); err != nil {
		return nil, errors.Join(err, c.Drop(ctx, db))
	}
	return db, nil
}

func (c *Case) create(ctx context.Context, db *sql.DB) error {
	for _, statement := range c.DDL() {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("randomschema: %s: %w", statement, err)
		}
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("randomschema: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, t := range c.tables {
		for _, r := range c.rows[t.n] {
			if err := c.insert(ctx, tx, t.name, t.all(), r.values); err != nil {
				return err
			}
			for _, n := range r.members {
				if t.way != link {
					break
				}
				columns := []column{{name: "record"}, {name: "who"}}
				if t.ownLink() {
					columns = append(columns, column{name: "tenant"}, column{name: "role"})
				}
				values := map[string]any{"record": r.values["id"], "who": c.person(n), "tenant": r.tenant, "role": "buyer"}
				if err := c.insert(ctx, tx, t.mapped.Link.Table, columns, values); err != nil {
					return err
				}
			}
		}
		if c.postgres() && t.key[0].kind == serial && len(c.rows[t.n]) > 0 {
			if _, err := tx.ExecContext(ctx, fmt.Sprintf("SELECT setval('%s_id_seq', max(id)) FROM %s", t.name, t.name)); err != nil {
				return fmt.Errorf("randomschema: %w", err)
			}
		}
	}
	return tx.Commit()
}

func (c *Case) insert(ctx context.Context, tx *sql.Tx, table string, columns []column, values map[string]any) error {
	names, marks, args := make([]string, len(columns)), make([]string, len(columns)), make([]any, len(columns))
	for i, col := range columns {
		names[i], marks[i], args[i] = col.name, "?", values[col.name]
		if c.postgres() {
			marks[i] = fmt.Sprintf("$%d", i+1)
		}
	}
	query := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table, list(names), list(marks))
	if _, err := tx.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("randomschema: %s: %w", query, err)
	}
	return nil
}

// Drop removes the tables that Create has made, as far as it came, and closes the
// handle.
func (c *Case) Drop(ctx context.Context, db *sql.DB) error {
	var all []error
	for i := range c.tables {
		t := c.tables[len(c.tables)-1-i]
		names := []string{t.name}
		if t.way == link {
			names = []string{t.mapped.Link.Table, t.name}
		}
		for _, name := range names {
			_, err := db.ExecContext(ctx, "DROP TABLE IF EXISTS "+name)
			all = append(all, err)
		}
	}
	return errors.Join(append(all, db.Close())...)
}

// ownLink says that the table's links have columns of their own.
func (t *table) ownLink() bool { return t.way == link && t.mapped.Link.Tenant != "" }

func (c *Case) postgres() bool { return c.Name == testdb.PostgresC || c.Name == testdb.PostgresICU }

func list(names []string) string { return strings.Join(names, ", ") }

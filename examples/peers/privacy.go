package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Four tables; each person has 1 contact, 3 deals, 10 activities and 5 notes.
var personTables = []string{
	`CREATE TABLE contacts (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, created INTEGER NOT NULL) STRICT`,
	`CREATE TABLE deals (id TEXT PRIMARY KEY, person TEXT NOT NULL, title TEXT NOT NULL, created INTEGER NOT NULL) STRICT`,
	`CREATE TABLE activities (id TEXT PRIMARY KEY, person TEXT NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL) STRICT`,
	`CREATE TABLE notes (id TEXT PRIMARY KEY, person TEXT NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL) STRICT`,
	`CREATE INDEX deals_person ON deals (person)`,
	`CREATE INDEX activities_person ON activities (person)`,
	`CREATE INDEX notes_person ON notes (person)`,
}

var perPerson = []struct {
	table, column string
	rows          int
}{{"deals", "title", 3}, {"activities", "body", 10}, {"notes", "body", 5}}

// created is when every row was, in microseconds: before any erasure.
const created = 1_700_000_000_000_000

// An engine is a kind of database in which people are erased.
type engine struct {
	name  string
	empty func(ctx context.Context, name string) (*sql.DB, error) // a new database
	typed func(statement string) string                           // a statement as this engine wants it
}

// engines are SQLite and, where a server is installed, PostgreSQL.
func engines(p *bench) ([]engine, error) {
	out := []engine{{
		name:  "SQLite",
		empty: func(ctx context.Context, name string) (*sql.DB, error) { return p.database(ctx, name) },
		typed: func(statement string) string { return statement },
	}}
	s, err := p.postgres()
	if errors.Is(err, errNoServer) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	return append(out, engine{
		name: "PostgreSQL",
		empty: func(ctx context.Context, _ string) (*sql.DB, error) {
			dsn, err := s.database(ctx)
			if err != nil {
				return nil, err
			}
			return p.connect(dsn, 4)
		},
		typed: inPostgres,
	}), nil
}

// inPostgres writes a statement of SQLite with the types and the numbered
// arguments of PostgreSQL.
func inPostgres(statement string) string {
	statement = strings.NewReplacer(" STRICT", "", "INTEGER", "BIGINT").Replace(statement)
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(statement, "?") {
		if n > 0 {
			fmt.Fprintf(&b, "$%d", n)
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

// A population is people in a database.
type population struct {
	engine
	db *sql.DB
}

// populate makes a database with n people in it, and tables besides.
func populate(ctx context.Context, e engine, name string, n int, besides ...string) (*population, error) {
	db, err := e.empty(ctx, name)
	if err != nil {
		return nil, err
	}
	c := &population{e, db}
	for _, statement := range slices.Concat(besides, personTables) {
		if _, err := db.ExecContext(ctx, e.typed(statement)); err != nil {
			return nil, err
		}
	}
	_, err = c.add(ctx, n)
	return c, err
}

// add inserts n people and their rows.
func (c *population) add(ctx context.Context, n int) (people []string, err error) {
	for range n {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		people = append(people, id.String())
	}
	return people, c.insert(ctx, people)
}

// insert makes people of these ids, with their rows.
func (c *population) insert(ctx context.Context, people []string) error {
	return within(ctx, c.db, func(tx *sql.Tx) error {
		if err := c.insertContacts(ctx, tx, people); err != nil {
			return err
		}
		for _, person := range people {
			for _, t := range perPerson {
				if err := c.insertRows(ctx, tx, t.table, person, t.rows); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// insertContacts makes people who have no other rows.
func (c *population) insertContacts(ctx context.Context, tx *sql.Tx, people []string) error {
	for chunk := range slices.Chunk(people, 1000) {
		var args []any
		for _, person := range chunk {
			args = append(args, person, "Zoë Müller", person+"@crm.example", int64(created))
		}
		if err := c.exec(ctx, tx, `INSERT INTO contacts VALUES `+tuples(len(chunk)), args...); err != nil {
			return err
		}
	}
	return nil
}

// insertRows gives a person n rows of a table.
func (c *population) insertRows(ctx context.Context, tx *sql.Tx, table, person string, n int) error {
	for from := 0; from < n; from += 1000 {
		var args []any
		size := min(1000, n-from)
		for i := range size {
			args = append(args, fmt.Sprintf("%s-%d", person, from+i), person, "about Zoë Müller and her order", int64(created))
		}
		if err := c.exec(ctx, tx, `INSERT INTO `+table+` VALUES `+tuples(size), args...); err != nil {
			return err
		}
	}
	return nil
}

// tuples are n rows of four arguments.
func tuples(n int) string { return strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?), ", n), ", ") }

func (c *population) exec(ctx context.Context, tx *sql.Tx, statement string, args ...any) error {
	_, err := tx.ExecContext(ctx, c.typed(statement), args...)
	return err
}

// found counts the rows of a person; of everybody where it is nobody's.
func (c *population) found(ctx context.Context, person string) (int, error) {
	total := 0
	for _, t := range []string{"contacts", "deals", "activities", "notes"} {
		query, args := `SELECT COUNT(*) FROM `+t, []any(nil)
		if person != "" {
			column := "person"
			if t == "contacts" {
				column = "id"
			}
			query, args = query+` WHERE `+column+` = ?`, []any{person}
		}
		n, err := one[int](ctx, c.db, c.typed(query), args...)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

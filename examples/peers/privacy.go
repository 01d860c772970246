package main

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// Four tables; each person has 1 contact, 3 deals, 10 activities and 5 notes.
var personTables = []string{
	`CREATE TABLE contacts (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, created INTEGER NOT NULL) STRICT`,
	`CREATE TABLE deals (id TEXT PRIMARY KEY, person TEXT NOT NULL, title TEXT NOT NULL) STRICT`,
	`CREATE TABLE activities (id TEXT PRIMARY KEY, person TEXT NOT NULL, body TEXT NOT NULL) STRICT`,
	`CREATE TABLE notes (id TEXT PRIMARY KEY, person TEXT NOT NULL, body TEXT NOT NULL) STRICT`,
	`CREATE INDEX deals_person ON deals (person)`,
	`CREATE INDEX activities_person ON activities (person)`,
	`CREATE INDEX notes_person ON notes (person)`,
}

var perPerson = []struct {
	table, column string
	rows          int
}{{"deals", "title", 3}, {"activities", "body", 10}, {"notes", "body", 5}}

const (
	bystanders  = 500 // who stay
	perDatabase = 20  // erasures, after which a young database is old
)

// An eraser forgets one person in a database of its own.
type eraser struct {
	name  string
	role  role
	db    *sql.DB
	erase func(ctx context.Context, person string) error
}

func privacyContests(ctx context.Context, p *bench) ([]contest, error) {
	note := "SQLite (modernc), WAL, synchronous=FULL, 500 other people. Ours plans, approves and executes: stored plan, two fsynced lines in the ledger outside the database, deletion, reading back by key and by a fresh search, signed certificate; the waiting times are configured away. The peer counts, deletes in one transaction with one line into a log table, and counts what is left. The floor only deletes. "
	young, err := erasures(ctx, p, "erase one person, 19 rows in 4 tables", note+"Database and ledger are made anew after 20 erasures.", 0)
	if err != nil {
		return nil, err
	}
	earlier := 100
	if p.small {
		earlier = 2
	}
	grown, err := erasures(ctx, p, fmt.Sprintf("erase one person when %d and more were erased before", earlier), note+"Here the databases are kept to the end, and with them the ledger, which ours reads and verifies whole.", earlier)
	return []contest{young, grown}, err
}

// erasures measures in databases in which some people were erased before.
func erasures(ctx context.Context, p *bench, what, note string, earlier int) (contest, error) {
	makers := []func(context.Context, *bench) (*eraser, error){deskEraser, carefulEraser, bareEraser}
	out := contest{Package: "privacy", What: what, Note: note}
	for _, create := range makers {
		fresh := func() (*eraser, error) {
			e, err := create(ctx, p)
			if err != nil {
				return nil, err
			}
			return e, errors.Join(addPeople(ctx, e.db, bystanders, nil), e.eraseNew(ctx, earlier))
		}
		first, err := fresh()
		if err != nil {
			return out, err
		}
		e, erased, people := first, 0, []string(nil)
		out.Contestants = append(out.Contestants, contestant{
			Name: first.name, Role: first.role,
			Answer: func() (string, error) { return first.answer(ctx) },
			Setup: func(n int) (err error) {
				if earlier == 0 && erased >= perDatabase { // a grown ledger is kept, a young one is made anew
					if e, err = fresh(); err != nil {
						return err
					}
					erased = 0
				}
				erased, people = erased+n, nil
				return addPeople(ctx, e.db, n, &people)
			},
			Run: func(int) error { return e.eraseAll(ctx, people) },
		})
	}
	return out, nil
}

func (e *eraser) eraseAll(ctx context.Context, people []string) error {
	for _, id := range people {
		if err := e.erase(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// eraseNew adds people and erases them.
func (e *eraser) eraseNew(ctx context.Context, n int) error {
	var people []string
	if err := addPeople(ctx, e.db, n, &people); err != nil {
		return err
	}
	return e.eraseAll(ctx, people)
}

// addPeople inserts people and their rows.
func addPeople(ctx context.Context, db *sql.DB, n int, ids *[]string) error {
	return within(ctx, db, func(tx *sql.Tx) error {
		for range n {
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			person := id.String()
			if _, err := tx.ExecContext(ctx, `INSERT INTO contacts VALUES (?, 'Zoë Müller', ?, 0)`, person, person+"@crm.example"); err != nil {
				return err
			}
			for _, t := range perPerson {
				for i := range t.rows {
					if _, err := tx.ExecContext(ctx, `INSERT INTO `+t.table+` VALUES (?, ?, 'about Zoë Müller and her order')`, fmt.Sprintf("%s-%d", person, i), person); err != nil {
						return err
					}
				}
			}
			if ids != nil {
				*ids = append(*ids, person)
			}
		}
		return nil
	})
}

func (e *eraser) rows(ctx context.Context, where string, args ...any) (int, error) {
	total := 0
	for _, t := range []string{"contacts", "deals", "activities", "notes"} {
		condition := where
		if where != "" && t == "contacts" {
			condition = ` WHERE id = ?`
		}
		n, err := one[int](ctx, e.db, `SELECT COUNT(*) FROM `+t+condition, args...)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// answer erases one person and counts who is left.
func (e *eraser) answer(ctx context.Context) (string, error) {
	var people []string
	if err := addPeople(ctx, e.db, 1, &people); err != nil {
		return "", err
	}
	found, err := e.rows(ctx, ` WHERE person = ?`, people[0])
	if err != nil {
		return "", err
	}
	if err := e.erase(ctx, people[0]); err != nil {
		return "", err
	}
	left, err := e.rows(ctx, ` WHERE person = ?`, people[0])
	if err != nil {
		return "", err
	}
	others, err := e.rows(ctx, "")
	return fmt.Sprintf("%d rows found, %d left, others keep %d", found, left, others), err
}

func deletePerson(ctx context.Context, tx *sql.Tx, person string) error {
	for _, statement := range []string{`DELETE FROM notes WHERE person = ?`, `DELETE FROM activities WHERE person = ?`, `DELETE FROM deals WHERE person = ?`, `DELETE FROM contacts WHERE id = ?`} {
		if _, err := tx.ExecContext(ctx, statement, person); err != nil {
			return err
		}
	}
	return nil
}

func bareEraser(ctx context.Context, p *bench) (*eraser, error) {
	db, err := p.database(ctx, "bare", personTables...)
	return &eraser{name: "four DELETEs in a transaction", role: floor, db: db, erase: func(ctx context.Context, person string) error {
		return within(ctx, db, func(tx *sql.Tx) error { return deletePerson(ctx, tx, person) })
	}}, err
}

func carefulEraser(ctx context.Context, p *bench) (*eraser, error) {
	db, err := p.database(ctx, "careful", append([]string{`CREATE TABLE erased (at INTEGER NOT NULL, rows INTEGER NOT NULL) STRICT`}, personTables...)...)
	e := &eraser{name: "hand-written SQL: DELETEs, log row, count afterwards", role: peer, db: db}
	e.erase = func(ctx context.Context, person string) error {
		found, err := e.rows(ctx, ` WHERE person = ?`, person)
		if err != nil {
			return err
		}
		if err := within(ctx, db, func(tx *sql.Tx) error {
			if err := deletePerson(ctx, tx, person); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO erased VALUES (?, ?)`, time.Now().UnixMicro(), found)
			return err
		}); err != nil {
			return err
		}
		left, err := e.rows(ctx, ` WHERE person = ?`, person)
		if err == nil && left != 0 {
			err = fmt.Errorf("%d rows are left", left)
		}
		return err
	}
	return e, err
}

func deskEraser(ctx context.Context, p *bench) (*eraser, error) {
	vault, err := newVault(ctx, p)
	if err != nil {
		return nil, err
	}
	db, err := p.database(ctx, "desk", personTables...)
	if err != nil {
		return nil, err
	}
	if err := privacy.Install(ctx, db); err != nil {
		return nil, err
	}
	dir, err := p.folder("ledger")
	if err != nil {
		return nil, err
	}
	ledger, err := erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(dir), Digests: vault.LedgerDigests()})
	if err != nil {
		return nil, err
	}
	if err := ledger.Create(ctx); err != nil {
		return nil, err
	}
	data := dataMap()
	store, err := sqlstore.Open(ctx, sqlstore.Config{Name: "crm", DB: db, Map: data})
	if err != nil {
		return nil, err
	}
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	desk, err := privacy.Open(ctx, privacy.Config{
		Map: data, DB: db, Ledger: ledger, Database: store, Sign: signer,
		Delay: -1, Lease: -1, PerDay: -1,
	})
	if err != nil {
		return nil, err
	}
	return &eraser{name: "Desk.PlanErasure, Approve, Execute", role: ours, db: db, erase: func(ctx context.Context, person string) error {
		plan, err := desk.PlanErasure(ctx, privacy.Request{Tenant: tenant, Person: person, Reason: "gdpr-17:1", By: "u1"})
		if err != nil {
			return err
		}
		if err := desk.Approve(ctx, plan.ID, "u2"); err != nil {
			return err
		}
		outcome, err := desk.Execute(ctx, plan.ID)
		if err == nil && outcome.State != privacy.Done {
			err = fmt.Errorf("the erasure is %s", outcome.State)
		}
		return err
	}}, nil
}

func dataMap() *datamap.Map {
	text := func(name, category string) datamap.Column {
		return datamap.Column{Name: name, Category: category, Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}
	}
	tables := []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Person: "id", Erase: datamap.Delete,
		Columns: []datamap.Column{text("name", "contact.name"), text("email", "contact.email"), {Name: "created"}},
	}}
	for _, t := range perPerson {
		tables = append(tables, datamap.Table{
			Name: t.table, Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
			Columns: []datamap.Column{text(t.column, "free.text")},
		})
	}
	return &datamap.Map{Tenant: tenant, Tables: tables}
}

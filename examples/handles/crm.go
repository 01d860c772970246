package main

import (
	"context"
	"database/sql"
	"path/filepath"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

const tenant = "main"

// Contact is a row, for all libraries at once.
type Contact struct {
	ID    string `gorm:"primaryKey" bun:",pk"`
	Email string
	Notes *string
}

const contactsTable = `CREATE TABLE contacts (id VARCHAR(40) PRIMARY KEY, email VARCHAR(100) NOT NULL, notes VARCHAR(1000))`

// crm is an application: a database, a trail in it, and what is recorded of a row.
type crm struct {
	db       *sql.DB
	trail    *audit.Trail
	verifier string
	contacts *audit.Differ[Contact]
}

// A way is how one library changes a row and records it. What move is handed
// stands for the rest of the transaction.
type way struct {
	name string
	move func(ctx context.Context, id, email string, rest func() error) error
}

func openCRM(ctx context.Context, driver, dsn, dir string) (*crm, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	c, err := newCRM(ctx, db, dir)
	if err != nil {
		_ = db.Close()
	}
	return c, err
}

func newCRM(ctx context.Context, db *sql.DB, dir string) (c *crm, err error) {
	c = &crm{db: db}
	c.contacts, err = audit.NewDiffer[Contact](audit.Shape{Kind: "contact", Show: []string{"email"}, Hide: []string{"notes"}, Skip: []string{"id"}})
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, contactsTable); err != nil {
		return nil, err
	}
	if err := sqltrail.Install(ctx, db); err != nil {
		return nil, err
	}
	store, err := sqltrail.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	sink, err := tilesink.Open(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	if err := audit.NewKeysFile(filepath.Join(dir, "crm.secret")); err != nil {
		return nil, err
	}
	keys, err := audit.KeysFile(filepath.Join(dir, "crm.secret"))
	if err != nil {
		return nil, err
	}
	key, verifier, err := audit.GenerateKey("crm.example/audit", 0)
	if err != nil {
		return nil, err
	}
	c.verifier = verifier
	c.trail, err = audit.Open(ctx, store, audit.Config{
		Name: "crm.example/audit", Tenant: tenant, Key: key, Sink: sink, Keys: keys,
		Fields: map[string][]string{"contact": c.contacts.Shape().Show}, PersonKinds: []string{"contact"},
	})
	if err != nil {
		return nil, err
	}
	return c, c.trail.Check(c.contacts)
}

// moved is the event of a contact that has another address.
func (c *crm) moved(before, after *Contact) audit.Event {
	return audit.Event{
		Tenant: tenant, Actor: "user-7", Action: "contact.update",
		Object: audit.PersonRef("contact", after.ID), Changes: c.contacts.Of(after.ID, before, after),
	}
}

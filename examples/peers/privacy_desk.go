package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// inMemory is where Linux has a file system in memory.
const inMemory = "/dev/shm"

// memory makes a folder in memory, or on the disk where there is no such place.
func (p *bench) memory(name string) (string, error) {
	dir, err := os.MkdirTemp(inMemory, "crmguard-peers-")
	if errors.Is(err, os.ErrNotExist) {
		return p.folder(name)
	}
	p.atEnd(func() error { return os.RemoveAll(dir) })
	return dir, err
}

func (p *bench) memoryNote() string {
	if _, err := os.Stat(inMemory); err != nil {
		return "on the disk, since this machine has no file system in memory"
	}
	return "in memory (" + inMemory + ")"
}

// openLedger opens a ledger as a process does that has just begun. All have the
// same keys.
func openLedger(medium erasurelog.Medium, now func() time.Time) (*erasurelog.Log, error) {
	secret := sha256.Sum256([]byte("a ledger that is measured"))
	digests, err := erasurelog.KeysFrom(secret[:])
	if err != nil {
		return nil, err
	}
	return erasurelog.Open(erasurelog.Config{Medium: medium, Digests: digests, Now: now})
}

// ledgerOf makes a ledger of entries from 30 days ago, half of them intents, and
// returns its folder.
func (p *bench) ledgerOf(ctx context.Context, entries int) (string, error) {
	if p.small {
		entries = 10
	}
	dir, err := p.memory("full")
	if err != nil {
		return "", err
	}
	ledger, err := openLedger(erasurelog.Folder(dir), func() time.Time { return time.Now().AddDate(0, 0, -30) })
	if err != nil {
		return "", err
	}
	if err := ledger.Create(ctx); err != nil {
		return "", err
	}
	for i := range entries / 2 {
		plan := uuid.NewString()
		for _, op := range []erasurelog.Op{erasurelog.Intent, erasurelog.Done} {
			if err := appendEntry(ctx, ledger, op, plan, personID(i)); err != nil {
				return "", err
			}
		}
	}
	return dir, nil
}

func appendEntry(ctx context.Context, ledger *erasurelog.Log, op erasurelog.Op, plan, person string) error {
	e, err := ledger.NewEntry(ctx, op, plan, tenant, person)
	if err != nil {
		return err
	}
	if op == erasurelog.Done {
		e.Cert = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU" // of an empty certificate
	}
	_, err = ledger.Append(ctx, nil, func(*erasurelog.State) (*erasurelog.Entry, error) { return &e, nil })
	return err
}

// A deskSetup says what a desk is made of.
type deskSetup struct {
	people   *population
	medium   erasurelog.Medium
	database func(*sqlstore.Store) datastore.Transactional // nil: the store itself
}

// open opens the desk as a process does that has just begun.
func (s deskSetup) open(ctx context.Context) (*privacy.Desk, error) {
	ledger, err := openLedger(s.medium, nil)
	if err != nil {
		return nil, err
	}
	data := dataMap()
	cfg := privacy.Config{
		Map: data, DB: s.people.db, Ledger: ledger, Sign: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)),
		Delay: privacy.None, Lease: privacy.None, PerDay: privacy.None,
		AllowReplay: func(context.Context, int, int) error { return nil },
	}
	if s.database != nil {
		store, err := sqlstore.Open(ctx, sqlstore.Config{DB: s.people.db, Map: data})
		if err != nil {
			return nil, err
		}
		cfg.Database = s.database(store)
	}
	return privacy.Open(ctx, cfg)
}

// install makes what a desk needs, of a copy of the ledger in full; "" is an empty
// one.
func (s deskSetup) install(ctx context.Context, dir, full string) error {
	if full != "" {
		if err := os.CopyFS(dir, os.DirFS(full)); err != nil {
			return err
		}
	} else {
		ledger, err := openLedger(s.medium, nil)
		if err != nil {
			return err
		}
		if err := ledger.Create(ctx); err != nil {
			return err
		}
	}
	return privacy.Install(ctx, s.people.db)
}

// deskEraser erases with ours; folder makes the place of its ledger.
func deskEraser(ctx context.Context, e engine, folder func(name string) (string, error), full string) (*eraser, error) {
	people, err := populate(ctx, e, "desk", bystanders)
	if err != nil {
		return nil, err
	}
	dir, err := folder("ledger")
	if err != nil {
		return nil, err
	}
	s := deskSetup{people: people, medium: erasurelog.Folder(dir)}
	if err := s.install(ctx, dir, full); err != nil {
		return nil, err
	}
	desk, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := desk.Replay(ctx); err != nil { // the database is behind a full ledger
		return nil, err
	}
	return &eraser{people: people, erase: func(ctx context.Context, person string) error {
		plan, err := approved(ctx, desk, person)
		if err != nil {
			return err
		}
		return execute(ctx, desk, plan)
	}}, nil
}

// approved plans an erasure and approves it.
func approved(ctx context.Context, desk *privacy.Desk, person string) (plan string, err error) {
	made, err := desk.PlanErasure(ctx, privacy.Request{Tenant: tenant, Person: person, Reason: "gdpr-17:1", By: "u1"})
	if err != nil {
		return "", err
	}
	return made.ID, desk.Approve(ctx, made.ID, "u2")
}

func execute(ctx context.Context, desk *privacy.Desk, plan string) error {
	outcome, err := desk.Execute(ctx, plan)
	if err == nil && outcome.State != privacy.Done {
		err = fmt.Errorf("the erasure is %s", outcome.State)
	}
	return err
}

func dataMap() *datamap.Map {
	text := func(name, category string) datamap.Column {
		return datamap.Column{Name: name, Category: category, Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}
	}
	tables := []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Person: "id", Created: "created", Erase: datamap.Delete,
		Columns: []datamap.Column{text("name", "contact.name"), text("email", "contact.email")},
	}}
	for _, t := range perPerson {
		tables = append(tables, datamap.Table{
			Name: t.table, Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
			Columns: []datamap.Column{text(t.column, "free.text")},
		})
	}
	return &datamap.Map{Tenant: tenant, Tables: tables}
}

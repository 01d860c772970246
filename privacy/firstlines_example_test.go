package privacy_test

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// must and check stand for what an application does about an error.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A person asks for their data, and to be forgotten.
func Example_firstLines() {
	ctx, dir := context.Background(), must(os.MkdirTemp("", "privacy"))
	defer os.RemoveAll(dir)
	db := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(1)"))
	defer db.Close()
	must(db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, name TEXT, created INTEGER) STRICT;
		CREATE INDEX contacts_person ON contacts (person); INSERT INTO contacts VALUES ('c1', 'p1', 'Ann Example', 0)`))
	outside, secret, person := filepath.Join(dir, "ledger"), filepath.Join(dir, "crm.secret"), "p1"
	check(erasurelog.NewKeysFile(secret)) // once
	_, certKey, err := ed25519.GenerateKey(nil)
	check(err)
	file := must(os.Create(filepath.Join(dir, "export.zip.age")))
	defer file.Close()
	recipient := must(age.GenerateX25519Identity()).Recipient().String() // the person's own

	dataMap := &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
		Columns: []datamap.Column{{Name: "name", Category: "contact.name", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}},
	}}}
	check(privacy.Install(ctx, db))
	ledger := must(erasurelog.In(outside, must(erasurelog.KeysFile(secret))))
	check(ledger.Create(ctx)) // once in the life of the system
	desk := must(privacy.Open(ctx, privacy.Config{Map: dataMap, DB: db, Ledger: ledger, Sign: certKey}))
	check(desk.Ready(ctx)) // at every start, before serving
	exported := must(desk.Export(ctx, "main", person, recipient, file))
	plan := must(desk.PlanErasure(ctx, privacy.Request{Tenant: "main", Person: person, Reason: "gdpr-17", By: "user/1"}))
	check(desk.Approve(ctx, plan.ID, "user/2"))
	outcome, err := desk.Execute(ctx, plan.ID) // ErrTooEarly before plan.NotBefore; then Waiting, then Done

	fmt.Println(exported.Manifest.Tables[0].Rows, plan.Counts[0].Table, plan.Counts[0].Class, outcome.State, errors.Is(err, privacy.ErrTooEarly))
	// Output: 1 contacts deleted  true
}

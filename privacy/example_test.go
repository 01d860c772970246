package privacy_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/certificate"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// exampleMap says that contacts lead to persons and go with them.
func exampleMap() *datamap.Map {
	return &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
		Columns: []datamap.Column{
			{Name: "name", Category: "contact.name", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"},
			{Name: "country", Category: "contact.country", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Shared: true},
		},
	}}}
}

// exampleDesk is what an application sets up once, here in a folder that is
// removed at the end, with a clock of its own.
func exampleDesk(ctx context.Context, dir string, now *time.Time) (*privacy.Desk, ed25519.PublicKey, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(1)")
	if err != nil {
		return nil, nil, err
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, name TEXT, country TEXT, created INTEGER) STRICT;
		CREATE INDEX contacts_person ON contacts (person);
		INSERT INTO contacts VALUES ('c1', 'p1', 'Ann Example', 'CH', 0), ('c2', 'p2', 'Bob Example', 'CH', 0)`); err != nil {
		return nil, nil, err
	}
	if err := privacy.Install(ctx, db); err != nil {
		return nil, nil, err
	}
	store, err := sqlstore.Open(ctx, sqlstore.Config{DB: db, Map: exampleMap()})
	if err != nil {
		return nil, nil, err
	}
	secret := filepath.Join(dir, "crm.secret")
	if err := erasurelog.NewKeysFile(secret); err != nil { // once
		return nil, nil, err
	}
	digests, err := erasurelog.KeysFile(secret) // or vault.LedgerDigests()
	if err != nil {
		return nil, nil, err
	}
	ledger, err := erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(filepath.Join(dir, "ledger")), Digests: digests, Now: func() time.Time { return *now }})
	if err != nil {
		return nil, nil, err
	}
	if err := ledger.Create(ctx); err != nil {
		return nil, nil, err
	}
	seed := sha256.Sum256([]byte("example"))
	key := ed25519.NewKeyFromSeed(seed[:])
	desk, err := privacy.Open(ctx, privacy.Config{
		Map: exampleMap(), DB: db, Ledger: ledger, Database: store, Sign: key,
		NotCovered: []string{"mail already sent"}, Now: func() time.Time { return *now },
	})
	return desk, key.Public().(ed25519.PublicKey), err
}

func exampleDir() (string, func()) {
	dir, err := os.MkdirTemp("", "desk")
	if err != nil {
		return "", func() {}
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

func ExampleDesk_Execute() {
	// exampleDir and exampleDesk stand in example_test.go.
	ctx := context.Background()
	dir, remove := exampleDir()
	defer remove()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	desk, public, err := exampleDesk(ctx, dir, &now)
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := desk.PlanErasure(ctx, privacy.Request{Tenant: "main", Person: "p1", Reason: "gdpr-17", By: "user/1"})
	fmt.Println(plan.Counts[0].Table, plan.Counts[0].Rows, plan.Counts[0].Class, err)
	fmt.Println(desk.Approve(ctx, plan.ID, "user/1"))
	fmt.Println(desk.Approve(ctx, plan.ID, "user/2"))
	_, err = desk.Execute(ctx, plan.ID)
	fmt.Println(err)

	now = plan.NotBefore
	outcome, err := desk.Execute(ctx, plan.ID)
	fmt.Println(outcome.State, err) // another process may still hold a cached key
	now = outcome.Until
	outcome, err = desk.Execute(ctx, plan.ID)
	fmt.Println(outcome.State, err)

	read, err := certificate.Verify(outcome.Certificate, public)
	says := read.Statement
	fmt.Println("erasure", says.Intent, says.Concerns(outcome.Salt, "main", "p1"), err)
	fmt.Println(says.NotCovered[0], "|", says.NotCovered[1])
	// Output:
	// contacts 1 deleted <nil>
	// privacy: whoever asked for the erasure cannot approve it
	// <nil>
	// privacy: the plan may not be executed yet
	// waiting <nil>
	// done <nil>
	// erasure 1 true <nil>
	// mail already sent | backups from before the erasure, until they are deleted: all they hold, for no key of the person was destroyed
}

func ExampleDesk_Export() {
	// exampleDir and exampleDesk stand in example_test.go.
	ctx := context.Background()
	dir, remove := exampleDir()
	defer remove()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	desk, _, err := exampleDesk(ctx, dir, &now)
	if err != nil {
		fmt.Println(err)
		return
	}
	identity, err := age.GenerateX25519Identity() // the person's own
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer // in earnest a file or an answer over HTTP
	exported, err := desk.Export(ctx, "main", "p1", identity.Recipient().String(), &file)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, table := range exported.Manifest.Tables {
		fmt.Println(table.Name, table.Rows)
	}
	fmt.Println(exported.Size == int64(file.Len()))
	// Output:
	// contacts 1
	// true
}

func ExampleDesk_Ready() {
	// exampleDir and exampleDesk stand in example_test.go.
	ctx := context.Background()
	dir, remove := exampleDir()
	defer remove()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	desk, _, err := exampleDesk(ctx, dir, &now)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := desk.Ready(ctx); err != nil { // at every start; ErrBehind: keep closed and Replay
		fmt.Println(err)
		return
	}
	replayed, err := desk.Replay(ctx) // a step of every restore
	fmt.Println(replayed.Entries, replayed.Erased, err)
	head, err := desk.LedgerHead(ctx) // for the backup manifest
	fmt.Println(len(head) > 0, err)
	// Output:
	// 0 0 <nil>
	// true <nil>
}

func ExampleDesk_Find() {
	// exampleDir and exampleDesk stand in example_test.go.
	ctx := context.Background()
	dir, remove := exampleDir()
	defer remove()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	desk, _, err := exampleDesk(ctx, dir, &now)
	if err != nil {
		fmt.Println(err)
		return
	}
	rows, err := desk.Find(ctx, "main", "p2")
	fmt.Println(rows[0].Store, rows[0].Table, rows[0].Key, rows[0].Class, err)
	plan, err := desk.PlanErasure(ctx, privacy.Request{Tenant: "main", Person: "p2", Reason: "gdpr-17", By: "user/1"})
	fmt.Println(plan.State, desk.Cancel(ctx, plan.ID), err)
	// Output:
	// database contacts c2 deleted <nil>
	// planned <nil> <nil>
}

package privacy_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"os"
	"path/filepath"
	"time"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// exampleCRM is what an application sets up once: a database with two contacts, a
// ledger beside it and a desk, here on SQLite in a folder that is removed at the
// end, with a clock of its own.
type exampleCRM struct {
	*privacy.Desk

	db     *sql.DB
	now    time.Time
	public ed25519.PublicKey // of the key that signs certificates

	dir string
	cfg privacy.Config
}

// newExample is the CRM; change, which may be nil, changes how its desk is set up.
func newExample(ctx context.Context, change func(*privacy.Config)) *exampleCRM {
	seed := sha256.Sum256([]byte("example"))
	key := ed25519.NewKeyFromSeed(seed[:])
	crm := &exampleCRM{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), public: key.Public().(ed25519.PublicKey), dir: must(os.MkdirTemp("", "privacy"))}
	secret := filepath.Join(crm.dir, "crm.secret")
	check(erasurelog.NewKeysFile(secret)) // once
	ledger := must(erasurelog.Open(erasurelog.Config{
		Medium: erasurelog.Folder(filepath.Join(crm.dir, "ledger")), Digests: must(erasurelog.KeysFile(secret)), Now: crm.clock,
	}))
	check(ledger.Create(ctx)) // once
	crm.cfg = privacy.Config{
		Ledger: ledger, Sign: key, NotCovered: []string{"mail already sent"}, Lease: privacy.None, Now: crm.clock,
		Map: &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
			Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
			Columns: []datamap.Column{
				{Name: "email", Category: "contact.email", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Identity: "email"},
				{Name: "country", Category: "contact.country", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Shared: true},
			},
		}}},
	}
	if change != nil {
		change(&crm.cfg)
	}
	crm.connect()
	must(crm.db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT, country TEXT, created INTEGER) STRICT;
		CREATE INDEX contacts_person ON contacts (person);
		INSERT INTO contacts VALUES ('c1', 'p1', 'ann@post.example', 'CH', 0), ('c2', 'p2', 'bob@post.example', 'CH', 0)`))
	check(privacy.Install(ctx, crm.db))
	crm.Desk = must(privacy.Open(ctx, crm.cfg))
	return crm
}

func (crm *exampleCRM) clock() time.Time { return crm.now }

func (crm *exampleCRM) path() string { return filepath.Join(crm.dir, "crm.db") }

func (crm *exampleCRM) connect() {
	crm.db = must(sql.Open("sqlite", "file:"+crm.path()+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(1)"))
	crm.cfg.DB = crm.db
}

// remove ends the example.
func (crm *exampleCRM) remove() {
	check(crm.db.Close())
	check(os.RemoveAll(crm.dir))
}

// approved plans the erasure of a person, as one principal asks and another one
// agrees, and lets the delay pass.
func (crm *exampleCRM) approved(ctx context.Context, person string) *privacy.Plan {
	plan := must(crm.PlanErasure(ctx, privacy.Request{Tenant: "main", Person: person, Reason: "gdpr-17", By: "user/1"}))
	check(crm.Approve(ctx, plan.ID, "user/2"))
	crm.now = plan.NotBefore
	return plan
}

// backup is a copy of the database as it is.
func (crm *exampleCRM) backup(ctx context.Context) string {
	path := filepath.Join(crm.dir, "backup.db")
	must(crm.db.ExecContext(ctx, "VACUUM INTO ?", path))
	return path
}

// restore puts a copy in the place of the database, and starts the application.
func (crm *exampleCRM) restore(ctx context.Context, backup string) {
	check(crm.db.Close())
	check(os.Rename(backup, crm.path()))
	crm.connect()
	crm.Desk = must(privacy.Open(ctx, crm.cfg))
}

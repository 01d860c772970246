package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
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

// From nothing to a log that anyone can verify.
func Example_firstLines() {
	ctx, dir := context.Background(), must(os.MkdirTemp("", "audit"))
	defer os.RemoveAll(dir)
	db := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)"))
	defer db.Close()
	must(db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, email TEXT) STRICT; INSERT INTO contacts VALUES ('p-1', 'ann@a.example')`))
	key, verifier, err := audit.GenerateKey("crm.example/audit", 0) // once; the first is a secret, the second goes to every auditor
	check(err)
	folder, secret, person := filepath.Join(dir, "log"), filepath.Join(dir, "crm.secret"), "p-1"
	check(audit.NewKeysFile(secret)) // once
	before, after := map[string]any{"email": "ann@a.example"}, map[string]any{"email": "ann@b.example"}

	check(sqltrail.Install(ctx, db))
	trail := must(audit.Open(ctx, must(sqltrail.Open(ctx, db)), audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: key, Fields: map[string][]string{"contact": {"email"}},
		Sink: must(tilesink.Open(folder)), Keys: must(audit.KeysFile(secret)), // or vault.AuditKeys()
	}))
	check(trail.Prepare(ctx, "main", person)) // before BEGIN
	tx := must(db.BeginTx(ctx, nil))
	must(tx.ExecContext(ctx, `UPDATE contacts SET email = ? WHERE id = ?`, after["email"], person))
	must(trail.Record(ctx, tx, audit.Event{ // its id may go into the row
		Tenant: "main", Actor: "user-7", Action: "contact.update",
		Object: audit.PersonRef("contact", person), Changes: audit.Diff(person, before, after),
	}))
	check(tx.Commit())
	must(trail.RunOnce(ctx)) // or go trail.Run(ctx), in any process
	report := must(auditlog.VerifyLog(ctx, os.DirFS(folder), auditlog.Trust{Key: verifier}))
	fmt.Println(report.Verdict, report.Verified) // ok only against a checkpoint that is kept elsewhere: Trust.Kept

	// Output: unanchored 2
}

package audit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

const shopPragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)"

// shop is a small application with a trail, for the examples below.
type shop struct {
	dir    string
	db     *sql.DB
	keys   *audittest.Keys // stands for vault.PersonSealer("opening") and vault.Tagger("log")
	sink   *tilesink.Dir
	vkey   string
	config audit.Config
	trail  *audit.Trail
}

func openShop(ctx context.Context) *shop {
	s, err := newShop(ctx)
	if err != nil {
		panic(err)
	}
	return s
}

func newShop(ctx context.Context) (s *shop, err error) {
	s = &shop{keys: audittest.NewKeys()}
	if s.dir, err = os.MkdirTemp("", "audit"); err != nil {
		return nil, err
	}
	if s.db, err = sql.Open("sqlite", "file:"+filepath.Join(s.dir, "crm.db")+shopPragmas); err != nil {
		return nil, err
	}
	if _, err = s.db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, email TEXT) STRICT`); err != nil {
		return nil, err
	}
	if err = sqltrail.Install(ctx, s.db); err != nil {
		return nil, err
	}
	if s.sink, err = tilesink.Open(filepath.Join(s.dir, "log")); err != nil {
		return nil, err
	}
	skey, vkey, err := audit.GenerateKey("crm.example/audit", 0)
	if err != nil {
		return nil, err
	}
	s.vkey = vkey
	s.config = audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: skey,
		Sink: s.sink, Keys: s.keys,
		Fields: map[string][]string{"contact": {"email"}},
	}
	return s, s.reopen(ctx)
}

func (s *shop) close() {
	s.db.Close()
	os.RemoveAll(s.dir)
}

// change is the business change of the examples: one row and its event.
func (s *shop) change(ctx context.Context, person, email string) (id string, err error) {
	if err := s.trail.Prepare(ctx, "main", person); err != nil { // before the transaction
		return "", err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `INSERT INTO contacts (id, email) VALUES (?, ?)`, person, email); err != nil {
		return "", err
	}
	id, err = s.trail.Record(ctx, tx, audit.Event{
		Tenant: "main", Actor: "u-1", Action: "contact.create", Object: audit.PersonRef("contact", person),
		Changes: audit.Diff(person, nil, map[string]any{"email": email}),
	})
	if err != nil {
		return "", err
	}
	return id, tx.Commit()
}

func ExampleTrail_Record() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	if _, err := s.change(ctx, "p-1", "ann@b.example"); err != nil {
		fmt.Println(err)
	}
	_, err := s.trail.Record(ctx, s.db, audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.create"})
	fmt.Println(errors.Is(err, audit.ErrNoTransaction))
	// Output: true
}

func ExampleTrail_RunOnce() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	result, err := s.trail.RunOnce(ctx)
	fmt.Println(result.Sequenced, result.Beat, result.Published, len(result.Refused), err)
	// Output: 1 true 2 0 <nil>
}

func ExampleTrail_Run() {
	// openShop is the set-up of the first Example, in example_test.go.
	s := openShop(context.Background())
	defer s.close()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.trail.Run(ctx) }() // in any process, in several
	stop()
	fmt.Println(<-done)
	// Output: context canceled
}

func Example_verify() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	id, _ := s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	leaf, _ := s.trail.Leaf(ctx, id)
	proof, _ := s.trail.Proof(ctx, id)

	// Elsewhere, years later, with nothing but the key:
	event, err := auditlog.Verify(auditlog.Trust{Key: s.vkey}, leaf, proof)
	fmt.Println(event.Action, event.Actor, err)
	// Output: contact.create u-1 <nil>
}

func Example_verifyLog() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	kept, _ := s.trail.Checkpoint(ctx) // mail it, print it, give it to a customer
	report, err := auditlog.VerifyLog(ctx, s.sink.FS(), auditlog.Trust{Key: s.vkey, Kept: kept})
	fmt.Println(report.Verdict, report.Verified, err)

	entries, _ := os.ReadFile(filepath.Join(s.dir, "log/tile/entries/000.p/2"))
	entries[60] ^= 1
	os.WriteFile(filepath.Join(s.dir, "log/tile/entries/000.p/2"), entries, 0o600)
	report, _ = auditlog.VerifyLog(ctx, s.sink.FS(), auditlog.Trust{Key: s.vkey})
	fmt.Println(report.Verdict, report.Faults[0].Index, report.Faults[0].What)
	// Output:
	// ok 2 <nil>
	// tampered 0 the entry does not match its hash
}

func Example_entries() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	for entry, err := range auditlog.Entries(ctx, s.sink.FS()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		leaf, err := auditlog.ParseLeaf(entry.Leaf)
		fmt.Println(entry.Index, leaf.Kind, err)
	}
	// Output:
	// 0 event <nil>
	// 1 beat <nil>
}

func ExampleTrail_History() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	for entry, err := range s.trail.History(ctx, "main", audit.PersonRef("contact", "p-1"), audit.Page{Size: 50}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, c := range entry.Changes {
			fmt.Println(entry.Leaf.Action, c.Path, c.Old, c.New, c.Verdict)
		}
	}
	// Output: contact.create email {} ann@b.example ok
}

func ExampleTrail_Erase() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	id, _ := s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	proof, _ := s.trail.Proof(ctx, id)

	// The row first, and the event that it is gone; the erasure is the last of all.
	s.trail.Prepare(ctx, "main", "p-1")
	tx, _ := s.db.BeginTx(ctx, nil)
	tx.ExecContext(ctx, `DELETE FROM contacts WHERE id = ?`, "p-1")
	s.trail.Record(ctx, tx, audit.Event{
		Tenant: "main", Actor: "u-1", Action: "contact.delete", Object: audit.PersonRef("contact", "p-1"),
		Changes: audit.Diff("p-1", map[string]any{"email": "ann@b.example"}, nil),
	})
	tx.Commit()
	fmt.Println(s.trail.Erase(ctx, "main", "p-1")) // or Eraser, as a func
	left, _ := s.trail.Left(ctx, "main", "p-1")
	fmt.Println("left:", left)
	s.trail.RunOnce(ctx)
	leaf, _ := s.trail.Leaf(ctx, id)
	_, err := auditlog.Verify(auditlog.Trust{Key: s.vkey}, leaf, proof)
	fmt.Println("proof:", err)
	report, _ := s.trail.VerifyStore(ctx, nil)
	fmt.Println(report.Verdict, report.Openings[audit.OpeningErased])
	// Output:
	// <nil>
	// left: 0
	// proof: <nil>
	// unanchored 2
}

func ExampleTrail_Eraser() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	erase := s.trail.Eraser() // func(ctx, tenant, person string) error
	fmt.Println(erase(ctx, "main", "nobody we know"))
	// Output: <nil>
}

func ExampleTrail_VerifyStore() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	s.db.ExecContext(ctx, `DELETE FROM crmguard_audit_openings`)
	report, err := s.trail.VerifyStore(ctx, nil)
	fmt.Println(report.Verdict, report.Openings[audit.OpeningMissing], err)
	fmt.Println(report.Faults[0].What)
	// Output:
	// tampered 1 <nil>
	// opening missing: no erasure, recovery or retention in the log explains it
}

func ExampleTrail_Recorder() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	record := s.trail.Recorder("u-7")   // what privacy, approvals and undo take
	s.trail.Prepare(ctx, "main", "p-1") // before the transaction, as for Record
	tx, _ := s.db.BeginTx(ctx, nil)
	fmt.Println(record(ctx, tx, "main", "privacy.plan", slog.String("object", "plan/9"), slog.String("person", "p-1"), slog.String("reason", "art17")))
	fmt.Println(record(ctx, tx, "main", "privacy.plan", slog.String("email", "ann@b.example")))
	tx.Commit()
	// Output:
	// <nil>
	// audit: invalid: an attribute has a key that is none of object, person, persons, reason, outcome, for, prior, policy, request, id, digest, count
}

func ExampleTrail_Noter() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	noted := s.trail.Noter("backup") // what backups, drills and key work take
	fmt.Println(noted(ctx, "main", "backup.done", slog.String("object", "snapshot/4f2a"), slog.Int("count", 3000)))
	// Output: <nil>
}

func ExampleTrail_Note() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	id, err := s.trail.Note(ctx, audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export", Outcome: audit.OutcomeDenied, Reason: "no-grant"})
	fmt.Println(len(id), err)
	// Output: 36 <nil>
}

func ExampleTrail_Beat() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	fmt.Println(s.trail.Beat(ctx)) // before a checkpoint is handed to another domain
	status, err := s.trail.Progress(ctx)
	fmt.Println(status.Size, status.Published, err)
	// Output:
	// <nil>
	// 1 1 <nil>
}

func ExampleTrail_CatchUp() {
	// openShop and shopPragmas stand in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	backup := filepath.Join(s.dir, "backup.db")
	s.db.ExecContext(ctx, `VACUUM INTO ?`, backup)
	s.change(ctx, "p-2", "bob@b.example")
	s.trail.RunOnce(ctx)

	s.db.Close() // the database is lost; an older one comes back
	s.db, _ = sql.Open("sqlite", "file:"+backup+shopPragmas)
	if err := s.reopen(ctx); err != nil {
		fmt.Println(err)
		return
	}
	_, err := s.trail.RunOnce(ctx)
	fmt.Println(err)
	fmt.Println(s.trail.CatchUp(ctx))
	result, err := s.trail.RunOnce(ctx)
	fmt.Println(result.Sequenced, err)
	// Output:
	// audit: database has 2 entries, the published log 3: call CatchUp
	// <nil>
	// 1 <nil>
}

func ExampleTrail_Republish() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	kept, _ := s.trail.Checkpoint(ctx) // in another administrative domain
	s.config.Kept = func(context.Context) ([]byte, error) { return kept, nil }
	s.reopen(ctx)

	os.RemoveAll(filepath.Join(s.dir, "log")) // the published folder is lost
	_, err := s.trail.RunOnce(ctx)
	fmt.Println(errors.Is(err, audit.ErrLogLost))
	repair, err := s.trail.Republish(ctx)
	fmt.Printf("%+v %v\n", repair, err)
	// Output:
	// true
	// {Kept:2 Size:2 Checked:2 Written:2 Signed:true} <nil>
}

func ExampleTrail_RebuildTiles() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	kept, _ := s.trail.Checkpoint(ctx) // in another administrative domain
	s.config.Kept = func(context.Context) ([]byte, error) { return kept, nil }
	s.reopen(ctx)

	s.db.ExecContext(ctx, `DELETE FROM crmguard_audit_tiles`) // somebody tidied up
	_, err := s.trail.RunOnce(ctx)
	fmt.Println(errors.Is(err, auditlog.ErrTampered))
	repair, err := s.trail.RebuildTiles(ctx)
	fmt.Printf("%+v %v\n", repair, err)
	// Output:
	// true
	// {Kept:2 Size:2 Checked:1 Written:1 Signed:false} <nil>
}

func ExampleTrail_Reseal() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	old := s.keys.Rotate()
	report, err := s.trail.Reseal(ctx, func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
		plain, err := s.keys.Open(ctx, tenant, person, sealed, ad)
		if err != nil {
			return nil, err
		}
		return s.keys.Seal(ctx, tenant, person, plain, ad)
	})
	fmt.Println(report.Resealed, err)
	count, where, err := s.trail.OpeningHolders(ctx, "main", old)
	fmt.Println(count, where, err)
	// Output:
	// 2 <nil>
	// 0 crmguard_audit_surrogates <nil>
}

func ExampleDiff() {
	before := map[string]any{"email": "ann@b.example", "stage": "lead"}
	after := map[string]any{"email": "ann@b.example", "stage": "customer"}
	for _, c := range audit.Diff("p-1", before, after) {
		fmt.Println(c.Path, c.Old, c.New)
	}
	// Output: stage lead customer
}

func ExampleHeadOf() {
	position := func(context.Context) ([]byte, error) { return []byte(`{"epoch":2,"sequence":41,"store":"k"}`), nil }
	n, hash, err := audit.HeadOf(position)(context.Background())
	fmt.Println(n, len(hash), err)
	// Output: 41 32 <nil>
}

// reopen opens the trail over another database.
func (s *shop) reopen(ctx context.Context) error {
	store, err := sqltrail.Open(ctx, s.db)
	if err != nil {
		return err
	}
	s.trail, err = audit.Open(ctx, store, s.config)
	return err
}

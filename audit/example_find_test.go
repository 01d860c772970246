package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// askedShop is a trail over SQLite, whose clock the Example sets: an application
// leaves Config.Now out, and From reads who is logged in.
func askedShop(ctx context.Context, dir string, user *string, clock *time.Time) (*audit.Trail, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)")
	if err != nil {
		return nil, err
	}
	if err := sqltrail.Install(ctx, db); err != nil {
		return nil, err
	}
	store, err := sqltrail.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	folder, err := tilesink.Open(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(dir, "crm.secret")
	if err := audit.NewKeysFile(secret); err != nil { // once
		return nil, err
	}
	keys, err := audit.KeysFile(secret)
	if err != nil {
		return nil, err
	}
	key, _, err := audit.GenerateKey("crm.example/audit", 0) // once
	if err != nil {
		return nil, err
	}
	return audit.Open(ctx, store, audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: key, Sink: folder, Keys: keys, PersonKinds: []string{"contact"},
		From: func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: *user} },
		Now:  func() time.Time { return *clock },
	})
}

// Who exported contacts in May: page by page, newest first. Config.From says who is
// at work, so that events and questions need not. What a policy only allowed is
// another question.
func ExampleTrail_Find() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx, user, clock := context.Background(), "u-1", time.Date(2026, time.April, 30, 17, 0, 0, 0, time.UTC)
	trail, err := askedShop(ctx, dir, &user, &clock)
	if err != nil {
		fmt.Println(err)
		return
	}
	export := func(who string, at time.Time) {
		user, clock = who, at
		if err := trail.Decisions(ctx, "contact.export", "contact/p-1", nil); err != nil { // nil stands for what the policy said
			fmt.Println(err)
		}
		if _, err := trail.Note(ctx, audit.Event{Action: "contact.export", Object: audit.PersonRef("contact", "p-1")}); err != nil {
			fmt.Println(err)
		}
	}
	export("u-1", clock)
	export("u-2", time.Date(2026, time.May, 4, 9, 30, 0, 0, time.UTC))
	export("u-3", time.Date(2026, time.May, 20, 11, 0, 0, 0, time.UTC))
	clock = time.Date(2026, time.June, 2, 8, 0, 0, 0, time.UTC)
	if err := trail.Flush(ctx); err != nil { // what is allowed is counted for a minute
		fmt.Println(err)
	}

	from := time.Date(2026, time.May, 1, 0, 0, 0, 0, time.UTC) // in the zone of whoever asks
	question := audit.Filter{Action: "contact.export", From: from, To: from.AddDate(0, 1, 0)}
	for page := (audit.Page{Size: 1}); ; {
		found, err := trail.Find(ctx, question, page)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, e := range found.Entries {
			fmt.Println(e.At.Format(time.DateTime), e.Leaf.Actor, e.Persons[e.Leaf.Object.ID])
		}
		if found.Next == "" {
			break
		}
		page.Before = found.Next
	}
	allowed, err := trail.Find(ctx, audit.Filter{Action: "contact.export", Outcome: audit.OutcomeAllowed}, audit.Page{})
	fmt.Println(len(allowed.Entries), "were allowed to, and", allowed.Entries[0].Leaf.Actor, "the last of them", err)
	// Output:
	// 2026-05-20 11:00:00 u-3 p-1
	// 2026-05-04 09:30:00 u-2 p-1
	// 3 were allowed to, and u-3 the last of them <nil>
}

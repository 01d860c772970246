package gormcapture_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/libtnb/sqlite"
	"gorm.io/gorm"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/gormcapture"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// What GORM changes stands in the history of its rows.
func ExampleRegister() { // Deal stands in env_test.go.
	ctx := context.Background()
	folder := must(os.MkdirTemp("", "gormcapture"))
	defer os.RemoveAll(folder)
	db := must(gorm.Open(sqlite.Open("file:"+filepath.Join(folder, "crm.db")+"?_pragma=secure_delete(1)&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"), &gorm.Config{}))
	raw := must(db.DB())
	defer raw.Close()
	check(sqltrail.Install(ctx, raw))
	key, _, err := audit.GenerateKey("crm.example/audit", 0)
	check(err)
	trail := must(audit.Open(ctx, must(sqltrail.Open(ctx, raw)), audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: key, Sink: &audittest.Sink{}, Keys: audittest.NewKeys(),
		PersonKinds: []string{"contact"}, Fields: map[string][]string{"contact": {"stage"}},
		From: func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: "user-7"} },
	}))
	check(db.AutoMigrate(&Contact{}, &Deal{}))
	must(gormcapture.Register(db, trail, gormcapture.Model{Of: &Contact{}, Kind: "contact", Person: true}))

	check(db.Create(&Contact{ID: "c-1", Stage: "lead"}).Error)
	check(db.Model(&Contact{}).Where("stage = ?", "lead").Update("stage", "customer").Error)
	must(trail.RunOnce(ctx))
	for entry, err := range trail.History(ctx, "main", audit.PersonRef("contact", "c-1"), audit.Page{Size: 10}) {
		check(err)
		fmt.Print(entry.Leaf.Actor, " ", entry.Leaf.Action)
		for _, c := range entry.Changes {
			fmt.Print(" ", c.Path)
		}
		fmt.Println()
	}
	// Output:
	// user-7 contact.update stage
	// user-7 contact.create
}

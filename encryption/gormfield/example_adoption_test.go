package gormfield_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/libtnb/sqlite"
	"github.com/tink-crypto/tink-go/v2/tink"
	"gorm.io/gorm"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
)

// Lead is a model of a table that is in use: the column in the clear stays beside
// the sealed one until the adoption is over.
type Lead struct {
	ID             int64 `gorm:"primaryKey"`
	Person         string
	Email          *string               // in the clear; the field goes with the column
	EmailSealed    *string               `gorm:"serializer:crmguard;type:blob"`
	EmailSealedIdx encryption.IndexValue `gorm:"serializer:crmguard;type:bigint"`
}

// SetMail puts a value where the stage has it. The writer is taken before the
// transaction, and the row is saved within its lease.
func (l *Lead) SetMail(w *adoption.Writer, mail string) error {
	l.Email, l.EmailSealed = nil, nil
	plain := w.Plain("email", mail)
	if err := plain.Err(); err != nil {
		return err
	}
	if !plain.IsNull() {
		l.Email = &mail
	}
	if w.Stage() != adoption.Plain {
		l.EmailSealed = &mail // the plugin seals it, and fills the index
	}
	return nil
}

// Mail is the value that the stage reads.
func (l *Lead) Mail(stage adoption.Stage) string {
	sealed := stage == adoption.ReadSealed || stage == adoption.SealedOnly
	switch {
	case sealed && l.EmailSealed != nil:
		return *l.EmailSealed
	case l.Email != nil:
		return *l.Email
	}
	return ""
}

// A GORM model of a live table goes from values in the clear to sealed ones, a
// stage at a time, with the same lines of the application at each.
func Example_adoption() {
	// Lead stands above, must and check in example_test.go, silent in env_test.go.
	ctx := context.Background()
	dir := must(os.MkdirTemp("", "adoption"))
	defer os.RemoveAll(dir)
	dataDB := must(sql.Open("sqlite", filepath.Join(dir, "data.db")+"?_pragma=busy_timeout(5000)"))
	defer dataDB.Close()
	must(dataDB.ExecContext(ctx, `CREATE TABLE leads (id INTEGER PRIMARY KEY, person TEXT NOT NULL, email TEXT)`))
	must(dataDB.ExecContext(ctx, `INSERT INTO leads (person, email) VALUES ('p1', 'ann@b.example'), ('p2', 'bob@b.example'), ('p3', NULL)`))
	vault := must(encryption.Create(ctx, encryption.Config{ // of an application: encryption.Open, and no Wait
		Keys: encryptiontest.Keys(),
		KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
			return insecurekeys.KEK(make([]byte, 32))
		},
		Wait: func(context.Context, time.Duration) error { return nil },
	}))
	check(vault.AddTenant(ctx, "main"))

	// At every start of the release that adopts: one definition, for the plugin and
	// for the adoption. What the model seals is the column beside the old one.
	db := must(gorm.Open(sqlite.New(sqlite.Config{Conn: dataDB}), &gorm.Config{Logger: silent()}))
	plugin := must(gormfield.New(vault, gormfield.Config{
		Tables: []encryption.Table{{Name: "leads", Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Find: encryption.Email}}}},
		Tenant: func(context.Context) (string, error) { return "main", nil },
	}))
	check(db.Use(plugin))
	check(adoption.Install(ctx, dataDB))
	a := must(adoption.Open(ctx, adoption.Config{
		DB: dataDB, Table: plugin.Table("leads"), Columns: []adoption.Column{{Name: "email", Plain: "email"}},
	}))

	// Before that release, by the owner of the table, and not by AutoMigrate: the
	// columns and the trigger of the adoption, and what refuses the clear in them.
	for _, statement := range append(must(a.SQL(ctx)), must(plugin.GuardSQL(db))...) {
		must(dataDB.ExecContext(ctx, statement))
	}
	check(plugin.Check(db))

	// The application, the same lines at every stage.
	use := func() {
		w := must(a.Writer(ctx, "main", "p2")) // before the transaction
		check(db.Transaction(func(tx *gorm.DB) error {
			var lead Lead
			if err := tx.First(&lead, "person = ?", "p2").Error; err != nil {
				return err
			}
			if err := lead.SetMail(w, "bob@new.example"); err != nil {
				return err
			}
			return tx.Save(&lead).Error // all columns of the adoption together
		}))
		where, args := must(a.Lookup(ctx, "main", "email", "bob@new.example")).Where("")
		var found []Lead
		check(db.Where(where, args...).Find(&found).Error)
		fmt.Println(w.Stage(), len(found), found[0].Mail(w.Stage()))
	}
	use()
	check(a.Move(ctx, "main", adoption.WriteBoth, adoption.MoveOptions{}))
	use()
	report := must(a.Backfill(ctx, "main", adoption.JobOptions{}))
	fmt.Println(report.Changed, "sealed now, clean:", report.Clean)
	check(a.Move(ctx, "main", adoption.ReadSealed, adoption.MoveOptions{}))
	use()
	must(a.Backfill(ctx, "main", adoption.JobOptions{})) // compares once more
	check(a.Move(ctx, "main", adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true}))
	use()
	for _, statement := range must(a.GuardSQL(ctx, adoption.Refuse)) {
		must(dataDB.ExecContext(ctx, statement))
	}
	report = must(a.Clear(ctx, "main", adoption.JobOptions{}))
	fmt.Println(report.Changed, "cleared, clean:", report.Clean)

	// The next release has neither the adoption nor the field Email any more.
	check(adoption.Finished(ctx, dataDB, "leads"))
	var all []Lead
	check(db.Omit("Email").Order("id").Find(&all).Error)
	fmt.Println(*all[0].EmailSealed, *all[1].EmailSealed, all[2].EmailSealed == nil)
	// Output:
	// plain 1 bob@new.example
	// write-both 1 bob@new.example
	// 1 sealed now, clean: true
	// read-sealed 1 bob@new.example
	// sealed-only 1 bob@new.example
	// 1 cleared, clean: true
	// ann@b.example bob@new.example true
}

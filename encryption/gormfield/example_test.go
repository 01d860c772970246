package gormfield_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/libtnb/sqlite"
	"github.com/tink-crypto/tink-go/v2/tink"
	"gorm.io/gorm"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

// Customer is a model with a sealed field that can be searched.
type Customer struct {
	ID       int64 `gorm:"primaryKey"`
	Person   string
	Email    string                `gorm:"serializer:crmguard;type:blob"`
	EmailIdx encryption.IndexValue `gorm:"serializer:crmguard;type:bigint;index"`
	Notes    *string               `gorm:"serializer:crmguard;type:blob"`
}

func Example() {
	// silent stands in env_test.go.
	ctx := context.Background()
	dir := must(os.MkdirTemp("", "example"))
	defer os.RemoveAll(dir)

	// The keys: in a database of their own, under a key of your KMS.
	keyDB := must(sql.Open("sqlite", filepath.Join(dir, "keys.db")+"?_pragma=secure_delete(1)&_pragma=busy_timeout(5000)"))
	defer keyDB.Close()
	check(sqlkeys.Install(ctx, keyDB))
	vault := must(encryption.Create(ctx, encryption.Config{
		Keys: must(sqlkeys.Open(ctx, keyDB)),
		KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
			return insecurekeys.KEK(make([]byte, 32)) // never so in production
		},
	}))
	check(vault.AddTenant(ctx, "main"))

	dataDB := must(sql.Open("sqlite", filepath.Join(dir, "data.db")))
	defer dataDB.Close()
	db := must(gorm.Open(sqlite.New(sqlite.Config{Conn: dataDB}), &gorm.Config{Logger: silent()}))
	plugin := must(gormfield.New(vault, gormfield.Config{
		Tables: []encryption.Table{{Name: "customers", Columns: []encryption.Column{
			{Name: "email", Find: encryption.Email},
			{Name: "notes"},
		}}},
		Tenant: func(context.Context) (string, error) { return "main", nil },
	}))
	check(db.Use(plugin))
	check(db.AutoMigrate(&Customer{}))
	for _, statement := range must(plugin.GuardSQL(db)) { // once, as the owner of the table
		must(dataDB.ExecContext(ctx, statement))
	}
	check(plugin.Check(db)) // at every start

	check(db.Create(&Customer{Person: "p-1", Email: "Ann@b.example"}).Error)
	where := must(plugin.Lookup(ctx, "main", "customers", "email_idx", "ANN@b.example"))
	var found []Customer
	check(db.Where(where).Find(&found).Error)
	fmt.Println(len(found), found[0].Email, plugin.Table("customers").Match("email_idx", found[0].Email, "ANN@b.example"))

	var stored []byte
	check(dataDB.QueryRowContext(ctx, "SELECT email FROM customers").Scan(&stored))
	fmt.Println(len(stored), "bytes in the database")

	fmt.Println(db.Where("email = ?", "Ann@b.example").Find(&found).Error)
	// Output:
	// 1 Ann@b.example true
	// 46 bytes in the database
	// gormfield: customers.email: in WHERE: a sealed column cannot be searched, sorted or computed with: use Lookup, on its blind index
}

package adoption_test

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
)

// The first step: all that stands in the way, before anything is changed.
func ExampleAdoption_Obstacles() {
	// application, must and check stand in example_test.go.
	ctx := context.Background()
	db, vault, end := application(ctx)
	defer end()
	must(db.ExecContext(ctx, `CREATE TABLE leads (id INTEGER PRIMARY KEY, person TEXT NOT NULL, email TEXT UNIQUE, CONSTRAINT address CHECK (email LIKE '%@%'))`))
	check(adoption.Install(ctx, db))
	leads := must(vault.Table(encryption.Table{Name: "leads", Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Find: encryption.Email}}}))
	a := must(adoption.Open(ctx, adoption.Config{DB: db, Table: leads, Columns: []adoption.Column{{Name: "email", Plain: "email"}}}))

	for _, obstacle := range must(a.Obstacles(ctx, "main")) {
		fmt.Println(obstacle.Before, "wants", obstacle.Asks()+":", obstacle.Why)
		for _, statement := range obstacle.SQL {
			fmt.Println(statement)
		}
	}
	// Output:
	// write-both wants LoseUnique "sqlite_autoindex_leads_1": email is UNIQUE in the clear, and no index of at least 128 bits is declared over the sealed column to take its place: add encryption.Index{Column: "email_unique", As: …, Unique: true} now, while the definition may change
	// sealed-only wants LoseChecks: CHECK address over email will refuse nothing any more, since NULL stands there: let the application check before it seals, or what it lets through blocks the way back, where Unseal is refused it
}

package encryption_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption"
)

// An index is added to a table that has rows: the release that knows it writes
// it at once, and searches it when the release before is gone.
func ExampleSealedTable_FenceOldWriters() {
	// exampleVault, exampleContacts, exampleDB, must and check stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	db, closeDB := exampleDB()
	defer closeDB()
	before := must(vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email"}}}))
	w := must(before.Writer(ctx, "main", "p1"))
	must(db.ExecContext(ctx, `INSERT INTO contacts (id, person, email) VALUES ('c1', 'p1', ?)`, w.Text("email", "a@b.example")))

	contacts := exampleContacts(vault) // the next release, with the index
	_, err := contacts.Lookup(ctx, "main", "email_idx", "a@b.example")
	fmt.Println("complete:", !errors.Is(err, encryption.ErrIncomplete))
	check(contacts.FenceOldWriters(ctx, "main")) // waits for a lease and the longest transaction
	check(contacts.RebuildIndexes(db, "main")(ctx))
	where, args := must(contacts.Lookup(ctx, "main", "email_idx", "a@b.example")).Where("")
	var id string
	fmt.Println(db.QueryRowContext(ctx, `SELECT id FROM contacts WHERE `+where, args...).Scan(&id), id)
	_, err = before.Writer(ctx, "main", "p2")
	fmt.Println("the release before writes no more:", errors.Is(err, encryption.ErrDefinition))
	// Output:
	// complete: false
	// <nil> c1
	// the release before writes no more: true
}

func ExampleVault_Unmerge() {
	// exampleVault, must and check stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	check(vault.AddAlias(ctx, "main", "p17", "p12"))
	check(vault.Unmerge(ctx, "main", "p17", "p12")) // they were two persons after all
	fmt.Println(must(vault.Aliases(ctx, "main", "p12")))
	fmt.Println(must(vault.Erase(ctx, "main", "p12")).Owners)
	// Output:
	// []
	// 1
}

func ExampleSealedTable_Row() {
	// exampleVault, exampleContacts and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	contacts := exampleContacts(vault)
	w := must(contacts.Writer(ctx, "main", "p1"))
	email, notes := must(w.Seal("email", []byte("ann@b.example"))), must(w.Seal("notes", []byte("calls back")))

	row := must(contacts.Row(ctx, "main", "p1", "c1"))
	fmt.Println(must(row.Text(ctx, "email", email)), "-", must(row.Text(ctx, "notes", notes)))
	// Output:
	// ann@b.example - calls back
}

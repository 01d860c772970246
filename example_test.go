package crmguard_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
)

// openVault opens a vault in memory; an application hands in its database and
// its KMS.
func openVault() (context.Context, *encryption.Vault) {
	ctx := context.Background()
	kek := try(insecurekeys.KEK(make([]byte, 32)))
	vault := try(encryption.Create(ctx, encryption.Config{
		Keys: encryptiontest.Keys(),
		KEK:  func(context.Context, string, string) (tink.AEADWithContext, error) { return kek, nil },
	}))
	if err := vault.AddTenant(ctx, "main"); err != nil {
		panic(err)
	}
	return ctx, vault
}

func try[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// A field is sealed under the key of the person it is about. Erasing the
// person destroys that key, so that every copy of the data stops opening at
// once. Copies of the keys end with the next RewrapKeys.
func Example() {
	ctx, vault := openVault()
	contacts := try(vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email"}}}))
	ann := try(contacts.Writer(ctx, "main", "person-17"))        // the only key fetch; before the transaction
	sealed := try(ann.Seal("email", []byte("ann@post.example"))) // store these bytes
	reader := try(contacts.Reader(ctx, "main", "person-17"))
	fmt.Println(try(reader.Row("person-17", "row-1").Text(ctx, "email", sealed)))
	try(vault.Erase(ctx, "main", "person-17")) // destroys the key: what it sealed opens nowhere, in no copy of the data
	reader = try(contacts.Reader(ctx, "main", "person-17"))
	_, err := reader.Row("person-17", "row-1").Text(ctx, "email", sealed)
	fmt.Println(errors.Is(err, encryption.ErrErased))
	// Output:
	// ann@post.example
	// true
}

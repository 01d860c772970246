package encryption_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
)

// A job that erases many persons waits once for all of them.
func ExampleVault_EraseMany() {
	// exampleVault and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	if err := vault.Ensure(ctx, "main", "p1", "p2", "p3"); err != nil {
		fmt.Println(err)
	}
	receipts := must(vault.EraseMany(ctx, "main", "p1", "p2", "p3"))
	fmt.Println(len(receipts), receipts[0].Keys, receipts[0].Unreadable.Equal(receipts[2].Unreadable))
	// Output: 3 1 true
}

// Create writes the lease into the key store, Open takes it from there, and
// ChangeLease changes it for every process.
func ExampleVault_ChangeLease() {
	// must stands in example_test.go.
	ctx := context.Background()
	kek := func(context.Context, string, string) (tink.AEADWithContext, error) {
		return insecurekeys.KEK(make([]byte, 32))
	}
	keys := encryptiontest.Keys()
	must(encryption.Create(ctx, encryption.Config{Keys: keys, KEK: kek, Lease: 50 * time.Millisecond}))

	vault := must(encryption.Open(ctx, encryption.Config{Keys: keys, KEK: kek}))
	fmt.Println(vault.ChangeLease(ctx, 10*time.Millisecond)) // waits the old lease out
	_, err := encryption.Open(ctx, encryption.Config{Keys: keys, KEK: kek, Lease: time.Minute})
	fmt.Println(err)
	// Output:
	// <nil>
	// encryption: definition: Config.Lease is 1m0s, the key store has 10ms: leave it 0, which takes the store's, and change that with ChangeLease
}

package leakage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/leakage"
)

// A column with few values hides nothing behind an index.
func ExampleMeasure() {
	// all stands in leakage_test.go.
	vault, err := encryption.Create(context.Background(), encryption.Config{
		Keys: encryptiontest.Keys(), // a key store in memory
		KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
			return insecurekeys.KEK(make([]byte, 32))
		},
	})
	if err != nil {
		panic(err)
	}
	contacts, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "gender", Find: encryption.Exact}}})
	if err != nil {
		panic(err)
	}
	values := all(append(slices.Repeat([]string{"female"}, 52), slices.Repeat([]string{"male"}, 8)...)) // in practice Plain, or SealedTable.Opened
	reports, err := leakage.Measure(contacts, "gender", values, leakage.Options{})
	fmt.Println(errors.Is(err, leakage.ErrLeakage))
	fmt.Println(reports[0])
	// Output:
	// true
	// contacts.gender, index gender_idx (exact/1, 32 bits): 60 values, 2 different among 60; most frequent 86.7 %; 0.00 rows found besides; attack names 30 of 30, 30 at 8 bits
}

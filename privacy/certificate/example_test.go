package certificate_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log"
	"time"

	"github.com/crmguard/crmguard/privacy/certificate"
)

// check stands for what an application does about an error.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// What was stored about a person is gone, but for three invoices.
func Example() {
	ctx, key := context.Background(), ed25519.NewKeyFromSeed(make([]byte, 32)) // of a key service, in earnest
	keys := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	done, until := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC), time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC)

	salt := certificate.NewSalt() // to be handed to the person with the certificate
	person, err := certificate.Commit(salt, "main", "p1")
	check(err)
	made, err := certificate.Sign(ctx, key, certificate.Statement{
		Intent: 7, Person: person, UnreadableLiveAt: done, FinalAt: done.Add(7 * 24 * time.Hour),
		Records: []certificate.Records{
			{Store: "crm", Table: "contacts", Class: certificate.Deleted, Count: 1},
			{Store: "crm", Table: "invoices", Class: certificate.Kept, Count: 3, Until: until, Because: "de-hgb-257"},
		},
	})
	check(err)
	read, err := certificate.Verify(made.Envelope, keys...) // with every key that ever signed
	check(err)
	fmt.Println(read.Statement.Concerns(salt, "main", "p1"), read.Statement.Records[1].Because)
	// Output: true de-hgb-257
}

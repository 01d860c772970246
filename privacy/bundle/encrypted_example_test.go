package bundle_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// A bundle leaves the process encrypted for its recipient.
func ExampleWrite() {
	// check stands in example_test.go.
	identity, err := age.GenerateX25519Identity() // of the recipient, who gives away identity.Recipient()
	check(err)
	records := func(yield func(datastore.Record, error) bool) {
		yield(datastore.Record{Table: "contacts", Key: "1", Fields: []datastore.Field{{Name: "name", Value: "Ann Example"}}}, nil)
	}

	var file bytes.Buffer
	sealed, err := age.Encrypt(&file, identity.Recipient())
	check(err)
	_, err = bundle.Write(context.Background(), sealed, bundle.Config{Tenant: "main", Made: time.Now()}, records)
	check(err)
	check(sealed.Close()) // without which nobody opens it

	opened, err := age.Decrypt(&file, identity)
	check(err)
	data, err := io.ReadAll(opened)
	check(err)
	manifest, err := bundle.Verify(bytes.NewReader(data), int64(len(data)))
	check(err)
	fmt.Println(manifest.Files[1].Name, manifest.Files[1].Rows)
	// Output: data/contacts.ndjson 1
}

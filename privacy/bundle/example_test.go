package bundle_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log"
	"time"

	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// check stands for what an application does about an error.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A person gets what is stored about them.
func Example() {
	ctx, now := context.Background(), time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	dataMap := &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Person: "id", Erase: datamap.Delete, Source: "the web form",
		Columns: []datamap.Column{{Name: "name", Category: "contact.name", Purpose: "dpv:CustomerManagement", Basis: "dpv:Contract"}},
	}}}
	var records iter.Seq2[datastore.Record, error] = func(yield func(datastore.Record, error) bool) { // of a store
		yield(datastore.Record{Table: "contacts", Key: "1", Fields: []datastore.Field{
			{Name: "id", Value: int64(1)}, {Name: "name", Value: "Ann Example"}, {Name: "email_idx", Withhold: "blind index"},
		}}, nil)
	}

	var out bytes.Buffer // in earnest a writer of package age over a file
	made, err := bundle.Write(ctx, &out, bundle.Config{
		Tenant: "main", Made: now, Map: dataMap,
		Controller: bundle.Controller{Name: "Example Ltd", Contact: "privacy@crm.example", Authority: "EDPB"},
	}, records)
	check(err)
	read, err := bundle.Verify(bytes.NewReader(out.Bytes()), int64(out.Len()))
	check(err)
	fmt.Println(read.Tables[0].Rows, read.Omissions[0].Reason, len(made.Files))
	// Output: 1 blind index 4
}

package integrity_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
)

// exampleSweep seals contacts and sweeps them.
func exampleSweep(table string, cities map[string]string) (*integrity.Sealer, *integrity.Roots) {
	ctx := context.Background()
	sealer, _ := integrity.NewSealer(&integritytest.Tagger{}, integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "city"}}})
	rows := func(yield func(integrity.SealedRow, error) bool) {
		for key, city := range cities {
			row := integrity.SealedRow{Ref: integrity.Ref{Tenant: "main", Table: table, Key: key, Version: 1, SchemaID: "contact/1"}, Values: map[string]any{"city": city}}
			row.Seal, _ = sealer.Seal(ctx, row.Ref, row.Values)
			if !yield(row, nil) {
				return
			}
		}
	}
	report, err := sealer.Sweep(ctx, rows, integrity.SweepOptions{Tenant: "main", Table: table})
	if err != nil {
		fmt.Println(err)
	}
	return sealer, report.Roots
}

func ExampleSealer_Verify() {
	// exampleSweep stands in verbs_example_test.go.
	ctx := context.Background()
	sealer, _ := exampleSweep("contacts", nil)
	row := integrity.SealedRow{Ref: integrity.Ref{Tenant: "main", Table: "contacts", Key: "r1", Version: 1, SchemaID: "contact/1"}, Values: map[string]any{"city": "Bern"}}
	fmt.Println(errors.Is(sealer.Verify(ctx, row), integrity.ErrNoSeal))
	row.Seal, _ = sealer.Seal(ctx, row.Ref, row.Values)
	fmt.Println(sealer.Verify(ctx, row))
	row.Ref.Key = "r2" // the row of somebody else, with this one's seal
	fmt.Println(errors.Is(sealer.Verify(ctx, row), integrity.ErrTampered))
	row.Values = map[string]any{"town": "Bern"}
	fmt.Println(sealer.Verify(ctx, row))
	// Output:
	// true
	// <nil>
	// true
	// integrity: row does not fit its layout: layout "contact/1": the row lacks "city"; the layout does not have "town"
}

func ExampleRoots_Diff() {
	// exampleSweep stands in verbs_example_test.go.
	_, before := exampleSweep("contacts", map[string]string{"r1": "Bern", "r2": "Genf"})
	_, after := exampleSweep("contacts", map[string]string{"r1": "Bern"}) // r2 was deleted
	diff, err := before.Diff(after)
	for _, d := range diff {
		fmt.Println(d.Bucket == integrity.BucketOf("main", "contacts", "r2"), d.Rows, "then", d.Other, err)
	}
	// Output: true 1 then 0 <nil>
}

func ExampleJointHead() {
	// exampleSweep stands in verbs_example_test.go.
	_, contacts := exampleSweep("contacts", map[string]string{"r1": "Bern"})
	_, deals := exampleSweep("deals", nil)
	head, err := integrity.JointHead(contacts, deals) // audit.Heads.Seals of the beat
	other, _ := integrity.JointHead(deals, contacts)
	fmt.Println(len(head), slices.Equal(head, other), slices.Equal(head, contacts.Head()), err)
	_, err = integrity.JointHead(contacts, contacts)
	fmt.Println(err)
	// Output:
	// 32 true false <nil>
	// integrity: not usable as roots: two of one tenant and table
}

func ExampleKnownHeaders() {
	columns := integrity.KnownHeaders()
	columns.Known["shoe_size"] = []string{"Shoe Size", "Schuhgrösse"} // a copy of one's own
	columns.Drop = append(columns.Drop, "PIN")
	fmt.Println(columns.Known["gender"], columns.Drop, len(integrity.KnownHeaders().Drop))
	// Output: [Gender 性别 Geschlecht] [Password CVV2 CVV CVC PIN] 4
}

func ExampleSchema_Unknown() {
	schema, _ := integrity.NewSchema("contact", integrity.Field{Name: "email", Type: integrity.Email})
	record := map[string]any{"email": "a@b.example", "emial": "x", "admin": true}
	for _, v := range schema.Validate(record) {
		fmt.Println(v.Code, v.Params) // the count only
	}
	fmt.Println(schema.Unknown(record)) // the names, for whoever may see them
	// Output:
	// unknown_field [{count 2}]
	// [admin emial]
}

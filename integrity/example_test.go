package integrity_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"strings"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
)

func ExampleNewSchema() {
	schema, err := integrity.NewSchema("contact",
		integrity.Field{Name: "email", Type: integrity.Email, Required: true, Label: map[string]string{"en": "E-mail", "zh-Hans": "电子邮件"}},
		integrity.Field{Name: "country", Type: integrity.Country},
		integrity.Field{Name: "stage", OneOf: []string{"lead", "customer"}},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range schema.Validate(map[string]any{"email": "ann at shop", "country": "CH", "stage": "won"}) {
		fmt.Println(v.Code, v.Path, "|", schema.Explain("en", v), "|", schema.Explain("zh", v))
	}
	// Output:
	// email /email | E-mail is not an e-mail address. | 电子邮件不是有效的电子邮件地址。
	// one_of /stage | stage must be one of: lead, customer. | stage必须是以下之一：lead, customer。
}

func ExampleSchema_Extend() {
	contact, _ := integrity.NewSchema("contact", integrity.Field{Name: "email", Type: integrity.Email})
	custom, err := contact.Extend(integrity.Field{Name: "shoe_size", Type: integrity.Integer})
	fmt.Println(custom.Fields(), contact.Fields(), err)

	_, err = custom.Extend(integrity.Field{Name: "code", Pattern: "("})
	fmt.Println(err)
	// Output:
	// [email shoe_size] [email] <nil>
	// integrity: bad definition: field "code": pattern: error parsing regexp: missing closing ): `(`
}

func ExampleImport() {
	file := strings.NewReader("First Name,E-Mail,CCNumber,Password,Shoe Size\n" +
		"Ann,ann@a.example,5.54563E+15,secret,39\n" +
		"Bob,bob at b,,,\n" +
		"Eve,ANN@a.example,,,\n")
	schema, _ := integrity.NewSchema("contact",
		integrity.Field{Name: "first_name", Group: "name"}, integrity.Field{Name: "last_name", Group: "name"},
		integrity.Field{Name: "email", Type: integrity.Email, Required: true},
		integrity.Field{Name: "card_number", Type: integrity.Card},
	)
	rows := integrity.CSV(file, integrity.CSVOptions{Columns: integrity.KnownHeaders()})
	options := integrity.ImportOptions{Schema: schema, Unique: []string{"email"}, Rejects: os.Stdout}
	report, err := integrity.Import(context.Background(), rows, options, func(_ context.Context, batch []integrity.Accepted) error {
		for _, row := range batch {
			fmt.Println("store line", row.Line, len(row.Values), "fields", len(row.Custom), "custom")
		}
		return nil
	})
	fmt.Println(report.Read, "=", report.Accepted, "+", report.Rejected, report.ColumnsDropped, err)
	// Output:
	// line,field,code,outcome
	// 2,card_number,card,field_dropped
	// 3,email,email,row_rejected
	// 4,email,duplicate,row_rejected
	// store line 2 2 fields 1 custom
	// 3 = 1 + 2 map[Password:1] <nil>
}

func ExampleCSV() {
	for row, err := range integrity.CSV(strings.NewReader("email;city\na@b.example;Bern\nbroken\n"), integrity.CSVOptions{Comma: ';'}) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(row.Line, row.Values["city"])
	}
	// Output:
	// 2 Bern
	// integrity: line 3: too_few_columns: row_rejected
}

func ExampleSealer_Seal() {
	ctx := context.Background()
	var tagger integritytest.Tagger // in production vault.Tagger("seal")
	sealer, _ := integrity.NewSealer(&tagger, integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "city"}, {Name: "active", Type: integrity.Boolean}}})

	ref := integrity.Ref{Tenant: "main", Table: "contacts", Key: "r1", Version: 7, SchemaID: "contact/1"}
	seal, err := sealer.Seal(ctx, ref, map[string]any{"city": "Bern", "active": true})
	fmt.Println(len(seal), err)

	// As the database gives it back, and after someone changed it there.
	fmt.Println(sealer.Verify(ctx, integrity.SealedRow{Ref: ref, Values: map[string]any{"city": "Bern", "active": int64(1)}, Seal: seal}))
	fmt.Println(sealer.Verify(ctx, integrity.SealedRow{Ref: ref, Values: map[string]any{"city": "Basel", "active": int64(1)}, Seal: seal}))
	// Output:
	// 37 <nil>
	// <nil>
	// integrity: row is not what was sealed
}

func ExampleSealer_Sweep() {
	ctx := context.Background()
	sealer, _ := integrity.NewSealer(&integritytest.Tagger{}, integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "city"}}})
	store := map[string]integrity.SealedRow{}
	put := func(key, city string, version int64) {
		row := integrity.SealedRow{Ref: integrity.Ref{Tenant: "main", Table: "contacts", Key: key, Version: version, SchemaID: "contact/1"}, Values: map[string]any{"city": city}}
		row.Seal, _ = sealer.Seal(ctx, row.Ref, row.Values)
		store[key] = row
	}
	rows := iter.Seq2[integrity.SealedRow, error](func(yield func(integrity.SealedRow, error) bool) {
		for _, row := range store {
			if !yield(row, nil) {
				return
			}
		}
	})
	put("r1", "Bern", 1)
	old := store["r1"]
	put("r1", "Basel", 2)
	put("r2", "Genf", 1)
	options := integrity.SweepOptions{Tenant: "main", Table: "contacts"}
	anchored, _ := sealer.Sweep(ctx, rows, options) // its Roots.Head() goes into the audit trail

	store["r1"] = old // an old row, put back with its old seal
	report, err := sealer.Sweep(ctx, rows, options)
	fmt.Println("seals:", report.Verified, report.OK(), err)
	diff, err := report.Roots.Diff(anchored.Roots)
	fmt.Println("roots:", len(diff), diff[0].Bucket == integrity.BucketOf("main", "contacts", "r1"), err)
	// Output:
	// seals: 2 true <nil>
	// roots: 1 true <nil>
}

func ExampleParseRoots() {
	sealer, _ := integrity.NewSealer(&integritytest.Tagger{}, integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "city"}}})
	none := func(func(integrity.SealedRow, error) bool) {}
	report, _ := sealer.Sweep(context.Background(), none, integrity.SweepOptions{Tenant: "main", Table: "contacts"})
	text, _ := report.Roots.MarshalText() // keep it beside the backups, and the head in the audit trail
	roots, err := integrity.ParseRoots(text)
	fmt.Println(roots.Table(), roots.Rows(), string(roots.Head()) == string(report.Roots.Head()), err)
	// Output:
	// contacts 0 true <nil>
}

func ExampleSealer_Reseal() {
	ctx := context.Background()
	sealer, _ := integrity.NewSealer(&integritytest.Tagger{}, integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "city"}}})
	before := integrity.SealedRow{Ref: integrity.Ref{Tenant: "main", Table: "contacts", Key: "r1", Version: 1, SchemaID: "contact/1"}, Values: map[string]any{"city": "Bern"}}
	before.Seal, _ = sealer.Seal(ctx, before.Ref, before.Values)

	next := before.Ref
	next.Version = 2
	_, err := sealer.Reseal(ctx, before, next, map[string]any{"city": "Basel"})
	fmt.Println(err)

	before.Values["city"] = "Basel" // changed behind the application's back: not to be blessed
	_, err = sealer.Reseal(ctx, before, next, map[string]any{"city": "Basel"})
	fmt.Println(err)
	// Output:
	// <nil>
	// integrity: row is not what was sealed
}

func ExampleSchema_Explain() {
	schema, _ := integrity.NewSchema("contact", integrity.Field{Name: "city", MaxLen: 3, Label: map[string]string{"zh-Hans": "城市"}})
	v := schema.Validate(map[string]any{"city": "Bern"})[0]
	fmt.Println(schema.Explain("en-GB", v), schema.Explain("zh-CN", v))
	// Output:
	// city is longer than 3 characters. 城市超过 3 个字符。
}

package integrity_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/crmguard/crmguard/integrity"
)

// must stands for what an application does about an error.
func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// Keep wrong data out, and find what was changed behind one's back.
func Example_firstLines() {
	ctx, dir := context.Background(), must(os.MkdirTemp("", "integrity"))
	defer os.RemoveAll(dir)
	secret := filepath.Join(dir, "crm.secret")
	if err := integrity.NewKeysFile(secret); err != nil { // once
		log.Fatal(err)
	}
	file := strings.NewReader("E-Mail,Stage\nann@a.example,lead\nbob at b,lead\n")
	store := func(_ context.Context, batch []integrity.Accepted) error {
		fmt.Println("store", len(batch), "row")
		return nil
	}

	schema := must(integrity.NewSchema("contact",
		integrity.Field{Name: "email", Type: integrity.Email, Required: true},
		integrity.Field{Name: "stage", OneOf: []string{"lead", "customer"}}))
	for _, v := range schema.Validate(map[string]any{"email": "ann at shop", "stage": "won"}) {
		fmt.Println(v.Path, v.Code, schema.Explain("zh", v))
	}
	report := must(integrity.Import(ctx, integrity.CSV(file, integrity.CSVOptions{Columns: integrity.KnownHeaders()}),
		integrity.ImportOptions{Schema: schema, Unique: []string{"email"}}, store))

	sealer := must(integrity.NewSealer(must(integrity.KeysFile(secret)), // or the tagger of a vault
		integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "email"}, {Name: "stage"}}}))
	row := integrity.SealedRow{
		Ref:    integrity.Ref{Tenant: "main", Table: "contacts", Key: "c-1", Version: 1, SchemaID: "contact/1"},
		Values: map[string]any{"email": "ann@a.example", "stage": "lead"},
	}
	row.Seal = must(sealer.Seal(ctx, row.Ref, row.Values)) // stored beside the row
	row.Values["stage"] = "customer"                       // by somebody who cannot seal
	fmt.Println(sealer.Verify(ctx, row))

	fmt.Println(report.Accepted, report.Rejected)
	// Output:
	// /email email email不是有效的电子邮件地址。
	// /stage one_of stage必须是以下之一：lead, customer。
	// store 1 row
	// integrity: row is not what was sealed
	// 1 1
}

package integrity_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
)

// A table is read as its database holds it, here SQLite; the lines are the same
// on PostgreSQL, MariaDB and MySQL.
func ExampleReader_Sealed() {
	ctx := context.Background()
	db, _ := sql.Open("sqlite", "file:example_sealed?mode=memory&cache=shared")
	defer db.Close()
	_, _ = db.ExecContext(ctx, `CREATE TABLE deals (id INTEGER PRIMARY KEY, version INTEGER, seal BLOB, amount NUMERIC(12,2), hold INTEGER)`)

	layout := integrity.Layout{ID: "deal/1", Columns: []integrity.Column{{Name: "amount", Type: integrity.Decimal, Scale: 2}, {Name: "hold", Type: integrity.Integer}}}
	sealer, _ := integrity.NewSealer(&integritytest.Tagger{}, layout)
	for _, key := range []string{"17", "18"} {
		ref := integrity.Ref{Tenant: "main", Table: "deals", Key: key, Version: 1, SchemaID: "deal/1"}
		seal, _ := sealer.Seal(ctx, ref, map[string]any{"amount": "12.50", "hold": 1})
		_, _ = db.ExecContext(ctx, `INSERT INTO deals VALUES (?, ?, ?, ?, ?)`, key, ref.Version, seal, "12.50", 1)
	}

	reader, err := integrity.OpenReader(ctx, db) // once
	if err != nil {
		fmt.Println(err)
		return
	}
	deals := integrity.Table{Tenant: "main", Name: "deals", Key: "id", Version: "version", Seal: "seal"}
	sweep := func() (integrity.SweepReport, error) {
		rows, err := db.QueryContext(ctx, `SELECT id, version, seal, `+reader.Columns(layout.Columns)+` FROM deals ORDER BY id`)
		if err != nil {
			return integrity.SweepReport{}, err
		}
		return sealer.Sweep(ctx, reader.Sealed(rows, sealer, deals), integrity.SweepOptions{Tenant: "main", Table: "deals"})
	}
	report, err := sweep()
	fmt.Println(report.Verified, report.OK(), err) // SQLite keeps 12.50 as 12.5

	// The bytes of "1": a Scan into an int64 gives 1, WHERE hold = 1 finds nothing.
	_, _ = db.ExecContext(ctx, `UPDATE deals SET hold = x'31' WHERE id = 18`)
	report, err = sweep()
	for _, f := range report.Findings {
		fmt.Println(f.Verdict, f.Key, f.Column, report.OK(), err)
	}
	// Output:
	// 2 true <nil>
	// tampered 18 hold false <nil>
}

func ExampleReader_FromRows() {
	ctx := context.Background()
	db, _ := sql.Open("sqlite", "file:example_from_rows?mode=memory&cache=shared")
	defer db.Close()
	_, _ = db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT, due DATE)`)
	_, _ = db.ExecContext(ctx, `INSERT INTO contacts VALUES ('c-1', '2026-01-02')`)
	reader, _ := integrity.OpenReader(ctx, db)
	columns := []integrity.Column{{Name: "id"}, {Name: "due", Type: integrity.Date}}

	// The driver would make a time of the declared DATE, of other texts too.
	for _, query := range []string{`SELECT id, due FROM contacts`, `SELECT ` + reader.Columns(columns) + ` FROM contacts`} {
		rows, err := db.QueryContext(ctx, query)
		if err != nil {
			fmt.Println(err)
			return
		}
		for values, err := range reader.FromRows(rows, columns...) {
			fmt.Println(values["due"], err != nil)
		}
	}
	// Output:
	// <nil> true
	// 2026-01-02 false
}

package integrity_test

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
)

func ExampleCells() {
	ctx := context.Background()
	db, _ := sql.Open("sqlite", "file:example_cells?mode=memory&cache=shared")
	defer db.Close()
	_, _ = db.ExecContext(ctx, `CREATE TABLE deals (id TEXT, version INTEGER, schema_id TEXT, seal BLOB, amount NUMERIC(12,2), hold INTEGER)`)

	layout := integrity.Layout{ID: "deal/1", Columns: []integrity.Column{{Name: "amount", Type: integrity.Decimal, Scale: 2}, {Name: "hold", Type: integrity.Integer}}}
	sealer, _ := integrity.NewSealer(&integritytest.Tagger{}, layout)
	for _, key := range []string{"d1", "d2"} {
		ref := integrity.Ref{Tenant: "main", Table: "deals", Key: key, Version: 1, SchemaID: "deal/1"}
		seal, _ := sealer.Seal(ctx, ref, map[string]any{"amount": "12.50", "hold": 1})
		_, _ = db.ExecContext(ctx, `INSERT INTO deals VALUES (?, ?, ?, ?, ?, ?)`, key, ref.Version, ref.SchemaID, seal, "12.50", 1)
	}

	rows := func(yield func(integrity.SealedRow, error) bool) {
		rows, err := db.QueryContext(ctx, `SELECT id, version, schema_id, seal, `+integrity.SQLiteColumns(layout.Columns)+` FROM deals ORDER BY id`)
		if err != nil {
			yield(integrity.SealedRow{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			row := integrity.SealedRow{Ref: integrity.Ref{Tenant: "main", Table: "deals"}}
			row.Values, err = integrity.Cells(rows, &row.Ref.Key, &row.Ref.Version, &row.Ref.SchemaID, &row.Seal)
			if !yield(row, err) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(integrity.SealedRow{}, err)
		}
	}
	report, err := sealer.Sweep(ctx, rows, integrity.SweepOptions{Tenant: "main", Table: "deals"})
	fmt.Println(report.Verified, report.OK(), err) // SQLite keeps 12.50 as 12.5

	// The bytes of "1": a Scan into an int64 gives 1, WHERE hold = 1 finds nothing.
	_, _ = db.ExecContext(ctx, `UPDATE deals SET hold = x'31' WHERE id = 'd2'`)
	report, err = sealer.Sweep(ctx, rows, integrity.SweepOptions{Tenant: "main", Table: "deals"})
	for _, f := range report.Findings {
		fmt.Println(f.Verdict, f.Key, f.Column, report.OK(), err)
	}
	// Output:
	// 2 true <nil>
	// tampered d2 hold false <nil>
}

// A key that the table holds as a number enters the seal as its decimal text.
func ExampleCells_integerKey() {
	ctx := context.Background()
	db, _ := sql.Open("sqlite", "file:example_cells_integer?mode=memory&cache=shared")
	defer db.Close()
	_, _ = db.ExecContext(ctx, `CREATE TABLE contacts (id INTEGER PRIMARY KEY, version INTEGER, schema_id TEXT, seal BLOB, email TEXT)`)
	layout := integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "email"}}}
	sealer, _ := integrity.NewSealer(&integritytest.Tagger{}, layout)
	ref := integrity.Ref{Tenant: "main", Table: "contacts", Key: strconv.FormatInt(17, 10), Version: 1, SchemaID: "contact/1"}
	seal, _ := sealer.Seal(ctx, ref, map[string]any{"email": "ann@a.example"})
	_, _ = db.ExecContext(ctx, `INSERT INTO contacts VALUES (17, 1, 'contact/1', ?, 'ann@a.example')`, seal)

	rows, err := db.QueryContext(ctx, `SELECT id, version, schema_id, seal, `+integrity.SQLiteColumns(layout.Columns)+` FROM contacts`)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		row := integrity.SealedRow{Ref: integrity.Ref{Tenant: "main", Table: "contacts"}}
		row.Values, err = integrity.Cells(rows, &id, &row.Ref.Version, &row.Ref.SchemaID, &row.Seal)
		row.Ref.Key = strconv.FormatInt(id, 10)
		fmt.Println(row.Ref.Key, err, sealer.Verify(ctx, row))
	}
	fmt.Println(rows.Err())
	// Output:
	// 17 <nil> <nil>
	// <nil>
}

func ExampleTextFromBytes() {
	columns := []integrity.Column{{Name: "city"}, {Name: "photo", Type: integrity.Bytes}}
	values := map[string]any{"city": []byte("Bern"), "photo": []byte{1}} // as a driver of MySQL gives them
	integrity.TextFromBytes(columns, values)
	fmt.Println(values["city"], values["photo"])
	// Output: Bern [1]
}

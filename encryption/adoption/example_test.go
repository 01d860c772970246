package adoption_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
)

// must and check stand for what an application does about errors.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// application opens a database that has lived for years, and a vault that waits
// for nobody. The vault of an application is encryption.Open.
func application(ctx context.Context) (db *sql.DB, vault *encryption.Vault, end func()) {
	dir := must(os.MkdirTemp("", "adoption"))
	db = must(sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")+"?_pragma=busy_timeout(5000)"))
	must(db.ExecContext(ctx, `CREATE TABLE contacts (id INTEGER PRIMARY KEY, person TEXT NOT NULL, email TEXT)`))
	must(db.ExecContext(ctx, `INSERT INTO contacts (person, email) VALUES ('p1', 'ann@b.example'), ('p2', 'bob@b.example'), ('p3', NULL)`))
	vault = must(encryption.Create(ctx, encryption.Config{
		Keys: encryptiontest.Keys(),
		KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
			return insecurekeys.KEK(make([]byte, 32))
		},
		Wait: func(context.Context, time.Duration) error { return nil },
	}))
	check(vault.AddTenant(ctx, "main"))
	return db, vault, func() {
		check(db.Close())
		check(os.RemoveAll(dir))
	}
}

// person is a contact as a page of the application shows it.
type person struct {
	ID     int64
	Person string
	Plain  *string           // the column in the clear
	Sealed encryption.Sealed // the sealed one
	Email  string            // what the page shows
}

func (p *person) AdoptedCells() (owner, row string, cells []adoption.Cell) {
	return p.Person, fmt.Sprint(p.ID), []adoption.Cell{{Column: "email", Plain: p.Plain, Sealed: p.Sealed.Bytes(), Text: &p.Email}}
}

// people reads rows as the application does.
func people(ctx context.Context, db *sql.DB, where string, args ...any) (out []*person) {
	rows := must(db.QueryContext(ctx, `SELECT id, person, email, email_sealed FROM contacts WHERE `+where+` ORDER BY id`, args...))
	defer rows.Close()
	for rows.Next() {
		p := &person{}
		check(rows.Scan(&p.ID, &p.Person, &p.Plain, &p.Sealed))
		out = append(out, p)
	}
	check(rows.Err())
	return out
}

// A whole adoption of one column.
func Example() {
	// application, people, must and check stand in example_test.go.
	ctx := context.Background()
	db, vault, end := application(ctx)
	defer end()
	id, mail := 2, "bob@new.example"

	// At every start of the release that adopts, everywhere.
	check(adoption.Install(ctx, db))
	contacts := must(vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{
		{Name: "email", SQL: "email_sealed", Find: encryption.Email}, // beside the column email
	}}))
	a := must(adoption.Open(ctx, adoption.Config{DB: db, Table: contacts, Columns: []adoption.Column{{Name: "email", Plain: "email"}}}))

	// Before anything: all that stands in the way to sealed values only, with remedies.
	for _, obstacle := range must(a.Obstacles(ctx, "main")) {
		fmt.Println(obstacle.Before, obstacle, obstacle.SQL)
	}

	// Before that release: the columns that the table lacks, by who owns it.
	for _, statement := range must(a.SQL(ctx)) {
		must(db.ExecContext(ctx, statement))
	}

	// The application, the same lines at every stage.
	use := func() {
		w := must(a.Writer(ctx, "main", "p2")) // before BEGIN
		must(db.ExecContext(ctx, `UPDATE contacts SET email = ?, email_sealed = ?, email_sealed_idx = ? WHERE id = ?`,
			w.Plain("email", mail), w.Text("email", mail), w.Int64("email_sealed_idx", mail), id))
		where, args := must(a.Lookup(ctx, "main", "email", "ann@b.example")).Where("") // Postgres("", 1)
		found := people(ctx, db, where, args...)
		check(adoption.OpenAll(ctx, a, "main", found))
		fmt.Println(w.Stage(), found[0].Email)
	}
	use()

	// The operator, one stage at a time, with days in between.
	check(a.Move(ctx, "main", adoption.WriteBoth, adoption.MoveOptions{}))
	use()
	report := must(a.Backfill(ctx, "main", adoption.JobOptions{RowsPerSecond: 2000}))
	fmt.Println(report.Rows, "rows,", report.Changed, "sealed now, clean:", report.Clean)
	check(a.Move(ctx, "main", adoption.ReadSealed, adoption.MoveOptions{}))
	use()
	must(a.Backfill(ctx, "main", adoption.JobOptions{})) // compares once more
	check(a.Move(ctx, "main", adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true}))
	use()
	for _, statement := range must(a.GuardSQL(ctx, adoption.Refuse)) {
		must(db.ExecContext(ctx, statement))
	}
	report = must(a.Clear(ctx, "main", adoption.JobOptions{}))
	fmt.Println(report.Changed, "cleared, clean:", report.Clean)

	// At every start of the next release, which has no adoption any more.
	check(adoption.Finished(ctx, db, "contacts"))
	// Output:
	// plain ann@b.example
	// write-both ann@b.example
	// 3 rows, 1 sealed now, clean: true
	// read-sealed ann@b.example
	// sealed-only ann@b.example
	// 1 cleared, clean: true
}

// The way back from each stage.
func ExampleAdoption_Unseal() {
	// application, people, must and check stand in example_test.go.
	ctx := context.Background()
	db, vault, end := application(ctx)
	defer end()
	check(adoption.Install(ctx, db))
	contacts := must(vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Find: encryption.Email}}}))
	a := must(adoption.Open(ctx, adoption.Config{DB: db, Table: contacts, Columns: []adoption.Column{{Name: "email", Plain: "email"}}}))
	for _, statement := range must(a.SQL(ctx)) {
		must(db.ExecContext(ctx, statement))
	}
	check(a.Move(ctx, "main", adoption.WriteBoth, adoption.MoveOptions{}))
	must(a.Backfill(ctx, "main", adoption.JobOptions{}))
	check(a.Move(ctx, "main", adoption.ReadSealed, adoption.MoveOptions{}))
	must(a.Backfill(ctx, "main", adoption.JobOptions{}))
	check(a.Move(ctx, "main", adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true}))
	must(a.Clear(ctx, "main", adoption.JobOptions{}))

	check(a.Move(ctx, "main", adoption.ReadSealed, adoption.MoveOptions{}))
	report := must(a.Unseal(ctx, "main", adoption.JobOptions{}))
	fmt.Println(report.Changed, "filled, clean:", report.Clean)
	check(a.Move(ctx, "main", adoption.WriteBoth, adoption.MoveOptions{}))
	check(a.Move(ctx, "main", adoption.Plain, adoption.MoveOptions{}))
	for _, p := range people(ctx, db, "email IS NOT NULL") {
		fmt.Println(*p.Plain)
	}
	// Output:
	// 2 filled, clean: true
	// ann@b.example
	// bob@b.example
}

// An id that the database draws is not known before INSERT. A value that is bound
// to the person alone (LevelOwner, the default) needs none; a value that is bound
// to the row has its id drawn beforehand, on PostgreSQL many with one call:
//
//	SELECT nextval(pg_get_serial_sequence('contacts', 'id')) FROM generate_series(1, 100)
func ExampleWriter_Row() {
	// application, must and check stand in example_test.go.
	ctx := context.Background()
	db, vault, end := application(ctx)
	defer end()
	check(adoption.Install(ctx, db))
	contacts := must(vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{
		{Name: "email", SQL: "email_sealed", Level: encryption.LevelRow},
	}}))
	a := must(adoption.Open(ctx, adoption.Config{DB: db, Table: contacts, Columns: []adoption.Column{{Name: "email", Plain: "email"}}}))
	for _, statement := range must(a.SQL(ctx)) {
		must(db.ExecContext(ctx, statement))
	}
	check(a.Move(ctx, "main", adoption.WriteBoth, adoption.MoveOptions{}))

	var id int64 // SQLite has no sequences: the application draws by itself
	check(db.QueryRowContext(ctx, `SELECT MAX(id) + 1 FROM contacts`).Scan(&id))
	w := must(a.Writer(ctx, "main", "p4"))
	w = must(w.Row(must(encryption.RowText(id))))
	must(db.ExecContext(ctx, `INSERT INTO contacts (id, person, email, email_sealed) VALUES (?, ?, ?, ?)`,
		id, "p4", w.Plain("email", "dan@b.example"), w.Text("email", "dan@b.example")))
	report := must(a.Backfill(ctx, "main", adoption.JobOptions{}))
	fmt.Println(report.Changed, "sealed now,", report.Same, "as it should be")
	// Output:
	// 2 sealed now, 1 as it should be
}

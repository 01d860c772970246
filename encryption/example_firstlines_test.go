package encryption_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

// A whole program on PostgreSQL: seal a row, find it, open it, and forget the
// person. The contacts stand in
//
//	CREATE TABLE contacts (id text PRIMARY KEY, person text NOT NULL, email bytea, email_idx bigint, notes bytea);
//	CREATE INDEX ON contacts (email_idx);
//
// and the folder KEK_FOLDER holds the file kek-1:
//
//	(umask 077 && head -c 32 /dev/urandom > kek-1)
func Example_firstLines() {
	ctx, id, person, mail := context.Background(), "c1", "p1", "Ann@b.example"

	keyDB, db := try(sql.Open("pgx", os.Getenv("KEYS_URL"))), try(sql.Open("pgx", os.Getenv("CRM_URL"))) // two servers
	ok(sqlkeys.Install(ctx, keyDB))
	vault := try(encryption.Create(ctx, encryption.Config{ // once; Open with the same at every other start
		Keys: try(sqlkeys.Open(ctx, keyDB)),
		KEK:  insecurekeys.Folder(os.Getenv("KEK_FOLDER")), // the key above all keys: a file here, better a KMS
		Data: []*sql.DB{db},
	}))
	ok(vault.AddTenant(ctx, "main")) // a customer of yours with keys of its own, or the only one
	contacts := try(vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{
		{Name: "email", Find: encryption.Email}, // found by the column email_idx
		{Name: "notes"},
	}}))

	w := try(contacts.Writer(ctx, "main", person)) // the person's key; before BEGIN, good for 5 s
	try(db.ExecContext(ctx, `INSERT INTO contacts (id, person, email, email_idx) VALUES ($1, $2, $3, $4)`,
		id, person, w.Text("email", mail), w.Int64("email_idx", mail)))

	where, args := try(contacts.Lookup(ctx, "main", "email_idx", "ANN@b.example")).Postgres("", 1) // Where("") for SQLite and MariaDB
	var email encryption.Sealed
	ok(db.QueryRowContext(ctx, `SELECT id, person, email FROM contacts WHERE `+where, args...).Scan(&id, &person, &email))
	mail = try(try(contacts.Row(ctx, "main", person, id)).Text(ctx, "email", email.Bytes()))
	fmt.Println(mail) // Ann@b.example

	try(vault.Erase(ctx, "main", person)) // waits for the lease of other processes: 5 s
}

// try and ok stand for what an application does about an error.
func try[T any](v T, err error) T {
	ok(err)
	return v
}

func ok(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Command sqlc seals columns that are read and written by code which sqlc has
// generated: sqlc.yaml overrides the types of sealed columns and of their index
// columns (encryption.Sealed, encryption.IndexValue), for SQLite on database/sql
// and for PostgreSQL on pgx. The queries know nothing of keys; contacts.go seals
// what goes into them and opens what comes out, a page with one query for keys.
//
//	go run .                    on SQLite, in a temporary folder
//	go run . postgres://…       on an empty PostgreSQL database
//
// Queries name the columns that they read, without the index column, whose
// values are for conditions only.
package main

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/tink-crypto/tink-go/v2/tink"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/examples/sqlc/postgres"
	"github.com/crmguard/crmguard/examples/sqlc/sqlite"
)

//go:embed schema.sqlite.sql
var sqliteSchema string

//go:embed schema.postgres.sql
var postgresSchema string

const tenant = "main"

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	dir, err := os.MkdirTemp("", "sqlc")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	keyDB, err := sql.Open("sqlite", filepath.Join(dir, "keys.db")+"?_pragma=secure_delete(1)&_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer keyDB.Close()
	vault, err := openVault(ctx, keyDB)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		conn, err := pgx.Connect(ctx, args[0])
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, postgresSchema); err != nil {
			return err
		}
		return show(ctx, vault, onPostgres{postgres.New(conn)})
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "data.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, sqliteSchema); err != nil {
		return err
	}
	return show(ctx, vault, onSQLite{sqlite.New(db)})
}

// openVault makes a vault under a key of nobody's: use that of a KMS.
func openVault(ctx context.Context, keyDB *sql.DB) (*encryption.Vault, error) {
	if err := sqlkeys.Install(ctx, keyDB); err != nil {
		return nil, err
	}
	keys, err := sqlkeys.Open(ctx, keyDB)
	if err != nil {
		return nil, err
	}
	vault, err := encryption.Create(ctx, encryption.Config{
		Keys: keys,
		KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
			return insecurekeys.KEK(make([]byte, 32))
		},
	})
	if err != nil {
		return nil, err
	}
	return vault, vault.AddTenant(ctx, tenant)
}

func show(ctx context.Context, vault *encryption.Vault, on queries) error {
	table, err := vault.Table(definition())
	if err != nil {
		return err
	}
	c := &contacts{tenant: tenant, table: table, queries: on}
	id, err := c.add(ctx, "p-1", "ann@b.example", "prefers mornings")
	if err != nil {
		return err
	}
	if err := c.changeEmail(ctx, id, "p-1", "Ann.Lee@b.example"); err != nil {
		return err
	}
	found, err := c.find(ctx, "ANN.LEE@b.example")
	if err != nil {
		return err
	}
	for _, one := range found {
		fmt.Println(one.person, one.email, one.notes)
	}
	return nil
}

package main

import (
	"context"
	"database/sql"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
)

// contacts is the table and what is adopted of it: the same lines as in the
// application, from one package of yours that both import. The address was UNIQUE in
// the clear, so its index is, too.
func contacts(ctx context.Context, vault *encryption.Vault, db *sql.DB) (*adoption.Adoption, error) {
	if err := adoption.Install(ctx, db); err != nil { // or the migrations, with a tool
		return nil, err
	}
	table, err := vault.Table(encryption.Table{
		Name: "contacts",
		Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Index: []encryption.Index{
			{Column: "email_sealed_idx", As: encryption.Email, Unique: true},
		}}},
	})
	if err != nil {
		return nil, err
	}
	return adoption.Open(ctx, adoption.Config{DB: db, Table: table, Columns: []adoption.Column{{Name: "email", Plain: "email"}}})
}

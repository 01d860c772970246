package crmguard_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// opensAdoption asks for the stages of a table: that nobody has adopted it is no
// matter of the tables.
func opensAdoption(ctx context.Context, db *sql.DB) error {
	err := adoption.Finished(ctx, db, "contacts")
	if errors.Is(err, adoption.ErrStage) {
		return nil
	}
	return err
}

// phones adopts a column of the table contacts.
func phones(ctx context.Context, vault *encryption.Vault, db *sql.DB) (*adoption.Adoption, error) {
	table, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "phone", SQL: "phone_sealed", Find: encryption.Exact}}})
	if err != nil {
		return nil, err
	}
	return adoption.Open(ctx, adoption.Config{DB: db, Table: table, Columns: []adoption.Column{{Name: "phone", Plain: "phone"}}})
}

// tablesForAdoption makes a table with all the columns that the adoption asks for:
// the role may not.
func tablesForAdoption(t *testing.T, owner *sql.DB, role string) {
	t.Helper()
	bytes := "LONGBLOB"
	postgres := try(sqldb.Ask(t.Context(), owner)).Kind == sqldb.Postgres
	if postgres {
		bytes = "bytea"
	}
	statements := []string{
		`CREATE TABLE contacts (id varchar(40) PRIMARY KEY, person varchar(40), phone varchar(40), phone_sealed ` + bytes + `, phone_sealed_idx bigint)`,
		`GRANT SELECT, INSERT, UPDATE, DELETE ON contacts TO ` + role,
	}
	if !postgres { // who moves waits for writers
		var database string
		require.NoError(t, owner.QueryRowContext(t.Context(), `SELECT DATABASE()`).Scan(&database))
		statements = append(statements, `GRANT LOCK TABLES ON `+database+`.* TO `+role)
	}
	for _, statement := range statements {
		_, err := owner.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// everyVerbOfAdoption goes there and back with a table of one row.
func everyVerbOfAdoption(t *testing.T) func(ctx context.Context, db *sql.DB) error {
	vault := encryptiontest.Vault(t, "main")
	return func(ctx context.Context, db *sql.DB) error {
		for _, statement := range []string{`DELETE FROM contacts`, `INSERT INTO contacts (id, person, phone) VALUES ('c1', 'p1', '0151')`} {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		a, err := phones(ctx, vault, db)
		if err != nil {
			return err
		}
		move := func(to adoption.Stage) error {
			return a.Move(ctx, "main", to, adoption.MoveOptions{OldReleaseGone: true})
		}
		job := func(f func(context.Context, string, adoption.JobOptions) (adoption.Report, error)) error {
			report, err := f(ctx, "main", adoption.JobOptions{Again: true})
			if err == nil && report.Refused+report.Differ+report.Locked > 0 {
				err = fmt.Errorf("something was left: %+v", report)
			}
			return err
		}
		for _, step := range []func() error{
			func() error { return move(adoption.WriteBoth) },
			func() error { return job(a.Backfill) },
			func() error { return move(adoption.ReadSealed) },
			func() error { return job(a.Backfill) },
			func() error { return move(adoption.SealedOnly) },
			func() error { return job(a.Clear) },
			func() error { return job(a.ClearErased) },
			func() error { _, err := a.Status(ctx, "main"); return err },
			func() error { return move(adoption.ReadSealed) },
			func() error { return job(a.Unseal) },
			func() error { return move(adoption.WriteBoth) },
			func() error { return move(adoption.Plain) },
			func() error { return a.ClearRows(ctx, "main", "p1") },
		} {
			if err := step(); err != nil {
				return err
			}
		}
		var left int
		require.NoError(t, db.QueryRowContext(ctx, `SELECT COUNT(*) FROM contacts WHERE phone IS NOT NULL OR phone_sealed IS NOT NULL`).Scan(&left))
		require.Zero(t, left)
		return nil
	}
}

// adoptionOnSQL seals a column of a table that is in use, and empties the clear.
func adoptionOnSQL(t *testing.T, db *sql.DB) {
	ctx := t.Context()
	run := func(statements ...string) {
		for _, statement := range statements {
			_, err := db.ExecContext(ctx, statement)
			require.NoError(t, err, statement)
		}
	}
	run(`ALTER TABLE contacts ADD COLUMN phone `+map[bool]string{true: "TEXT", false: "VARCHAR(40)"}[try(sqldb.Ask(ctx, db)).Kind == sqldb.SQLite], `UPDATE contacts SET phone = '0151'`)
	require.NoError(t, adoption.Install(ctx, db))
	a := try(phones(ctx, encryptiontest.Vault(t, "main"), db))
	run(try(a.SQL(ctx))...)
	for _, stage := range []adoption.Stage{adoption.WriteBoth, adoption.ReadSealed, adoption.SealedOnly} {
		require.NoError(t, a.Move(ctx, "main", stage, adoption.MoveOptions{OldReleaseGone: stage == adoption.SealedOnly}))
		require.True(t, try(a.Backfill(ctx, "main", adoption.JobOptions{})).Clean)
	}
	run(try(a.GuardSQL(ctx, adoption.Refuse))...)
	require.True(t, try(a.Clear(ctx, "main", adoption.JobOptions{})).Clean)
	require.NoError(t, adoption.Finished(ctx, db, "contacts"))
	row := &phone{}
	require.NoError(t, db.QueryRowContext(ctx, `SELECT phone, phone_sealed FROM contacts`).Scan(&row.plain, &row.sealed))
	require.Nil(t, row.plain)
	require.NoError(t, adoption.OpenAll(ctx, a, "main", []*phone{row}))
	require.Equal(t, "0151", row.text)

	store := datastore.Func{Name: "phones", Class: datastore.Deleted, Erase: a.ClearRows, Remaining: a.RowsLeft}.Store()
	scope := datastore.Scope{Tenant: "main", Person: "p1"}
	require.Equal(t, 1, try(store.Remaining(ctx, scope, nil)))
	require.NoError(t, store.Erase(ctx, scope, nil))
	require.Zero(t, try(store.Remaining(ctx, scope, nil)))
}

// phone is the row of a contact.
type phone struct {
	plain  *string
	sealed encryption.Sealed
	text   string
}

func (p *phone) AdoptedCells() (owner, row string, cells []adoption.Cell) {
	return "p1", "c1", []adoption.Cell{{Column: "phone", Plain: p.plain, Sealed: p.sealed.Bytes(), Text: &p.text}}
}

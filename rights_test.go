package crmguard_test

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
)

// A storing package ships its tables as migrations, and the rights that the
// application's role needs on them. Its whole work is a func, so that it can
// be asked to fail.
type storing struct {
	name       string
	install    func(ctx context.Context, db *sql.DB) error
	open       func(ctx context.Context, db *sql.DB) error
	migrations func() fs.FS
	grants     func() fs.FS
	databases  []testdb.Name
	// work is made once and does every verb each time it is called; nil where
	// a test of the package itself does.
	work func(t *testing.T) func(ctx context.Context, db *sql.DB) error
	// prepare makes tables of the application that the work needs, as their
	// owner, with rights for the role; nil where it needs none.
	prepare func(t *testing.T, owner *sql.DB, role string)
}

func storingPackages() []storing {
	return []storing{
		{
			"encryption", sqlkeys.Install, opens(sqlkeys.Open), sqlkeys.Migrations, sqlkeys.Grants,
			testdb.Names(), nil, nil,
		},
		{
			"audit", sqltrail.Install, opens(sqltrail.Open), sqltrail.Migrations, sqltrail.Grants,
			testdb.Names(), everyVerbOfAudit, nil,
		},
		{
			"privacy", privacy.Install, opensPrivacy, privacy.Migrations, privacy.Grants,
			testdb.Names(), everyVerbOfPrivacy, tablesForPrivacy,
		},
		{
			"adoption", adoption.Install, opensAdoption, adoption.Migrations, adoption.Grants,
			testdb.Names(), everyVerbOfAdoption, tablesForAdoption,
		},
	}
}

func opens[T any](open func(context.Context, *sql.DB) (T, error)) func(context.Context, *sql.DB) error {
	return func(ctx context.Context, db *sql.DB) error {
		_, err := open(ctx, db)
		return err
	}
}

// Each storing package does its whole work as a role that has the rights which
// it ships, and each of them is needed: without it a verb fails, says that a
// right is missing, and names the table.
func TestTheGrantsAreEnoughAndEachIsNeeded(t *testing.T) {
	for _, s := range storingPackages() {
		if s.work == nil {
			continue
		}
		for _, name := range s.databases {
			for _, driver := range name.Drivers() {
				if name == testdb.SQLite || name == testdb.PostgresICU {
					continue // one knows no roles, and rights are the same in every order of text
				}
				t.Run(s.name+"/"+string(name)+"/"+driver, func(t *testing.T) {
					d := testdb.New(t, name)
					owner := d.Open(t)
					must := func(statement string) {
						_, err := owner.ExecContext(t.Context(), statement)
						require.NoError(t, err, statement)
					}
					require.NoError(t, s.install(t.Context(), owner))
					role, as := d.Role(t)
					rights := d.Rights(t, s.grants(), role)
					for _, right := range rights {
						must(right.Grant)
					}
					if s.prepare != nil {
						s.prepare(t, owner, role)
					}
					db := as.OpenWith(t, driver)
					require.NoError(t, s.work(t)(t.Context(), db))
					for _, right := range rights {
						for _, other := range rights { // some rights are needed for the first rows only
							if other.Table != "crmguard_schema" {
								must(`DELETE FROM ` + other.Table)
							}
						}
						must(right.Revoke)
						err := s.work(t)(t.Context(), db)
						require.ErrorIs(t, err, fs.ErrPermission, right.Revoke)
						require.ErrorContains(t, err, "table "+right.Table)
						must(right.Grant)
					}
				})
			}
		}
	}
}

// everyVerbOfAudit calls each verb of a trail that reads or writes its tables.
func everyVerbOfAudit(t *testing.T) func(ctx context.Context, db *sql.DB) error {
	vault := encryptiontest.Vault(t, "main")
	skey, _, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	folder := t.TempDir()
	config := audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: skey, Sink: try(tilesink.Open(folder)), Keys: vault.AuditKeys(),
		Fields: map[string][]string{"contact": {"city"}},
	}
	lost := testdb.New(t, testdb.SQLite).Open(t) // where the log was begun
	require.NoError(t, sqltrail.Install(t.Context(), lost))
	first := try(audit.Open(t.Context(), try(sqltrail.Open(t.Context(), lost)), config))
	published := audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export", Persons: []string{"p0"}}
	try(first.Note(t.Context(), published))
	try(first.RunOnce(t.Context()))
	call := 0
	return func(ctx context.Context, db *sql.DB) error {
		call++
		store, err := sqltrail.Open(ctx, db)
		if err != nil {
			return err
		}
		trail, err := audit.Open(ctx, store, config)
		if err != nil {
			return err
		}
		if err := trail.CatchUp(ctx); err != nil {
			return err
		}
		caughtUp, err := trail.Progress(ctx)
		if err != nil {
			return err
		}
		require.EqualValues(t, 2, caughtUp.Published, "the missing event and its beat are there, or nothing was caught up with")
		if err := trail.Prepare(ctx, "main", "p1"); err != nil {
			return err
		}
		event := audit.Event{
			Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", "p1"),
			Changes: audit.Diff("p1", map[string]any{"city": "Bern"}, map[string]any{"city": "Basel"}),
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err := trail.Record(ctx, tx, event); err != nil {
			_ = tx.Rollback()
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		if _, err := trail.Note(ctx, audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"}); err != nil {
			return err
		}
		if _, err := trail.RunOnce(ctx); err != nil {
			return err
		}
		if err := trail.Beat(ctx); err != nil {
			return err
		}
		var last string
		for entry, err := range trail.History(ctx, "main", event.Object, audit.Page{}) {
			if err != nil {
				return err
			}
			last = entry.Leaf.ID
		}
		if _, err := trail.Proof(ctx, last); err != nil {
			return err
		}
		if _, err := trail.Status(ctx); err != nil {
			return err
		}
		kept, err := os.ReadFile(folder + "/checkpoint")
		if err != nil {
			return err
		}
		if _, err := trail.VerifyStore(ctx, kept); err != nil {
			return err
		}
		if _, _, err := trail.OpeningHolders(ctx, "main", 1); err != nil {
			return err
		}
		if _, err := trail.Reseal(ctx, func(_ context.Context, _, _ string, sealed, _ []byte) ([]byte, error) {
			return append(append([]byte{}, sealed[:len(sealed)-1]...), byte(call)), nil
		}); err != nil {
			return err
		}
		return trail.Erase(ctx, "main", "p1")
	}
}

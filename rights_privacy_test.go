package crmguard_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// opensPrivacy opens what stands on the desk's tables, whatever the tables of
// the application are.
func opensPrivacy(ctx context.Context, db *sql.DB) error {
	_, err := sqlstore.Open(ctx, sqlstore.Config{DB: db, Map: &datamap.Map{Tables: []datamap.Table{{Name: "contacts"}}}})
	return err
}

func mapOfRights() *datamap.Map {
	return &datamap.Map{Tenant: "main", Tables: []datamap.Table{
		{
			Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
			Columns: []datamap.Column{{Name: "city", Category: "contact.city", Identity: "email", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}},
		},
		{
			Name: "talks", Key: []string{"id"}, Erase: datamap.Delete, Link: &datamap.Link{Table: "talk_persons", Record: "talk", Person: "person"},
			Columns: []datamap.Column{{Name: "body", Category: "text", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}},
		},
	}}
}

// tablesForPrivacy makes the tables of mapOfRights. The application inserts
// into them, the store has the rights that sqlstore lists.
func tablesForPrivacy(t *testing.T, owner *sql.DB, role string) {
	t.Helper()
	statements := []string{
		`CREATE TABLE contacts (id varchar(40) PRIMARY KEY, person varchar(40), city varchar(40), created bigint)`,
		`CREATE TABLE talks (id varchar(40) PRIMARY KEY, body varchar(40))`,
		`CREATE TABLE talk_persons (talk varchar(40), person varchar(40), PRIMARY KEY (talk, person))`,
	}
	for _, table := range []string{"contacts", "talks", "talk_persons"} {
		statements = append(statements, `GRANT INSERT ON `+table+` TO `+role)
	}
	run := func(statement string) {
		_, err := owner.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	for _, statement := range statements {
		run(statement)
	}
	for _, statement := range try(sqlstore.Grants(t.Context(), owner, mapOfRights(), role)) {
		run(statement)
	}
}

// everyVerbOfPrivacy calls each verb of a desk that reads or writes its tables.
func everyVerbOfPrivacy(t *testing.T) func(ctx context.Context, db *sql.DB) error {
	digests := encryptiontest.Vault(t).LedgerDigests()
	return func(ctx context.Context, db *sql.DB) error {
		store, err := sqlstore.Open(ctx, sqlstore.Config{
			DB: db, Map: mapOfRights(), EraseOwner: func(context.Context, string, string) error { return nil },
			Redact: func(context.Context, sqlstore.JointRow) (sqlstore.Redaction, error) {
				return sqlstore.Redaction{Retire: []string{"r:" + uuid.NewString()}}, nil
			},
		})
		if err != nil {
			return err
		}
		ledger, err := erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(filepath.Join(t.TempDir(), "ledger")), Digests: digests})
		if err != nil {
			return err
		}
		if err := ledger.Create(ctx); err != nil {
			return err
		}
		desk, err := privacy.Open(ctx, privacy.Config{
			Map: mapOfRights(), DB: db, Ledger: ledger, Database: store, Delay: -1, Lease: -1,
			Sign: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)),
		})
		if err != nil {
			return err
		}
		ann, bob, talk, home := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
		created := time.Now().Add(-time.Hour).UnixMicro()
		contact := func() error {
			_, err := db.ExecContext(ctx, fmt.Sprintf(`INSERT INTO contacts VALUES ('%s', '%s', '%s', %d)`, uuid.NewString(), ann, home, created))
			return err
		}
		require.NoError(t, contact())
		for _, statement := range []string{
			`INSERT INTO talks VALUES ('` + talk + `', 'both')`,
			`INSERT INTO talk_persons VALUES ('` + talk + `', '` + ann + `'), ('` + talk + `', '` + bob + `')`,
		} {
			_, err := db.ExecContext(ctx, statement)
			require.NoError(t, err)
		}
		if err := desk.Ready(ctx); err != nil {
			return err
		}
		request := privacy.Request{Tenant: "main", Person: ann, Reason: "gdpr-17", By: "user/1"}
		withdrawn, err := desk.PlanErasure(ctx, request)
		if err != nil {
			return err
		}
		if err := desk.Cancel(ctx, withdrawn.ID); err != nil {
			return err
		}
		plan, err := desk.PlanErasure(ctx, request)
		if err != nil {
			return err
		}
		if err := desk.Approve(ctx, plan.ID, "user/2"); err != nil {
			return err
		}
		outcome, err := desk.Execute(ctx, plan.ID)
		if err != nil {
			return err
		}
		for _, store := range outcome.Stores {
			if store.Err != nil {
				return store.Err
			}
		}
		require.Equal(t, privacy.Done, outcome.State)
		if err := contact(); err != nil { // as a restore would
			return err
		}
		replayed, err := desk.Replay(ctx)
		if err != nil {
			return err
		}
		require.Equal(t, 1, replayed.Erased)
		undated := uuid.NewString()
		if _, err := db.ExecContext(ctx, fmt.Sprintf(`INSERT INTO contacts VALUES ('%s', '%s', '%s', NULL)`, undated, ann, home)); err != nil {
			return err
		}
		if _, err = desk.Replay(ctx); !errors.Is(err, privacy.ErrUndecided) {
			return err
		}
		if err := desk.OpenAnyway(ctx, privacy.Opening{By: "user/1", Approved: "user/2", Because: "sales", Until: time.Now().Add(time.Hour), Tenant: "main"}); err != nil {
			return err
		}
		if err := desk.Decide(ctx, privacy.Decision{Tenant: "main", Person: ann, Table: "contacts", Key: undated, Erase: true, By: "user/1", Because: "restored"}); err != nil {
			return err
		}
		if _, err = desk.Replay(ctx); err != nil {
			return err
		}
		if _, _, err := desk.Suppressed(ctx, "main", "email", home); err != nil {
			return err
		}
		if err := desk.Unsuppress(ctx, "main", "email", home); err != nil {
			return err
		}
		_, err = desk.Status(ctx)
		return err
	}
}

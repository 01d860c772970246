package crmguard_test

import (
	"bytes"
	"context"
	"database/sql"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/sqlledger"
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
			"ledger", sqlledger.Install, opens(sqlledger.Open), sqlledger.Migrations, sqlledger.Grants,
			testdb.Names(), everyVerbOfLedger, nil,
		},
		{
			"accesscontrol", roles.Install, opensRoles, roles.Migrations, roles.Grants,
			testdb.Names(), everyVerbOfRoles, nil,
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
		Name: "crm.example/audit", Tenant: "main", Key: skey, Keys: vault.AuditKeys(),
		Sink: try(tilesink.Open(folder)), Mirror: try(tilesink.Open(t.TempDir())),
		Fields: map[string][]string{"contact": {"city"}},
	}
	lost := testdb.New(t, testdb.SQLite).Open(t) // where the log was begun
	require.NoError(t, sqltrail.Install(t.Context(), lost))
	first := try(audit.Open(t.Context(), try(sqltrail.Open(t.Context(), lost)), config))
	published := audit.Event{
		Tenant: "main", Actor: "u-1", Action: "contact.export", Persons: []string{"p0"},
		Changes: audit.Diff("p0", map[string]any{"city": "Bern"}, map[string]any{"city": "Basel"}),
	}
	try(first.Note(t.Context(), published))
	try(first.RunOnce(t.Context()))
	call := 0
	return func(ctx context.Context, db *sql.DB) error {
		call++
		w := auditWork{t: t, db: db, config: config, call: call, folder: folder}
		for _, step := range []func(context.Context) error{w.open, w.catchUp, w.record, w.forge, w.sequence, w.read, w.change} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// auditWork is the whole work of a trail, in steps.
type auditWork struct {
	t      *testing.T
	db     *sql.DB
	config audit.Config
	trail  *audit.Trail
	call   int
	folder string
}

func (w *auditWork) open(ctx context.Context) error {
	store, err := sqltrail.Open(ctx, w.db)
	if err != nil {
		return err
	}
	w.trail, err = audit.Open(ctx, store, w.config)
	return err
}

func (w *auditWork) catchUp(ctx context.Context) error {
	if err := w.trail.CatchUp(ctx); err != nil {
		return err
	}
	caughtUp, err := w.trail.Progress(ctx)
	if err == nil {
		require.EqualValues(w.t, 2, caughtUp.Published, "the missing event and its beat are there, or nothing was caught up with")
	}
	return err
}

func (w *auditWork) record(ctx context.Context) error {
	if err := w.trail.Prepare(ctx, "main", "p1", "p2"); err != nil {
		return err
	}
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for range 2 {
		if _, err := w.trail.Record(ctx, tx, audit.Event{
			Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", "p1"),
			Changes: audit.Diff("p1", map[string]any{"city": "Bern"}, map[string]any{"city": "Basel"}),
		}); err != nil {
			_ = tx.Rollback()
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	_, err = w.trail.Note(ctx, audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
	return err
}

// forge changes a row that waits, and brings more heads than are kept: what has the
// sequencer set a row aside, and drop heads.
func (w *auditWork) forge(ctx context.Context) error {
	asked := try(sqldb.Open(ctx, w.db))
	var seq int64
	var body []byte
	if err := sqldb.One(ctx, asked, []any{&seq, &body}, `SELECT seq, body FROM crmguard_audit_events WHERE idx IS NULL ORDER BY LENGTH(body) DESC, seq LIMIT 1`); err != nil {
		return err
	}
	if _, err := asked.ExecContext(ctx, asked.Bind(`UPDATE crmguard_audit_events SET body = ? WHERE seq = ?`), bytes.Replace(body, []byte("u-1"), []byte("u-2"), 1), seq); err != nil {
		return sqldb.Safe(err)
	}
	var rows [][]any
	for n := range 1003 {
		rows = append(rows, []any{1000 + n, make([]byte, 32), 0, []byte{}, []byte{}})
	}
	return asked.Insert(ctx, asked, sqldb.Insert{Table: "crmguard_audit_heads", Columns: []string{"size", "root", "at", "note", "tag"}, Key: []string{"size"}}, rows)
}

func (w *auditWork) sequence(ctx context.Context) error {
	for range 2 {
		if _, err := w.trail.RunOnce(ctx); err != nil {
			return err
		}
		if _, err := w.trail.Readmit(ctx); err != nil {
			return err
		}
	}
	if _, err := w.trail.RunOnce(ctx); err != nil {
		return err
	}
	return w.trail.Beat(ctx)
}

func (w *auditWork) read(ctx context.Context) error {
	var last string
	for entry, err := range w.trail.History(ctx, "main", audit.PersonRef("contact", "p1"), audit.Page{}) {
		if err != nil {
			return err
		}
		last = entry.Leaf.ID
	}
	if _, err := w.trail.Proof(ctx, last); err != nil {
		return err
	}
	if _, err := w.trail.Status(ctx); err != nil {
		return err
	}
	kept, err := os.ReadFile(w.folder + "/checkpoint")
	if err != nil {
		return err
	}
	if _, err := w.trail.VerifyStore(ctx, kept); err != nil {
		return err
	}
	_, _, err = w.trail.OpeningHolders(ctx, "main", 1)
	return err
}

func (w *auditWork) change(ctx context.Context) error {
	if err := w.trail.Merge(ctx, "main", "p2", "p1"); err != nil {
		return err
	}
	if _, err := w.trail.Reseal(ctx, func(_ context.Context, _, _ string, sealed, _ []byte) ([]byte, error) {
		return append(append([]byte{}, sealed[:len(sealed)-1]...), byte(w.call)), nil
	}); err != nil {
		return err
	}
	if err := w.trail.Erase(ctx, "main", "p1"); err != nil {
		return err
	}
	_, err := w.trail.Dismiss(ctx)
	return err
}

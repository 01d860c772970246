package crmguard_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
)

// pgxTx is a transaction of pgx's own for a trail, as the comment of package audit
// has it.
type pgxTx struct{ pgx.Tx }

// ExecContext is all that recording needs.
func (t pgxTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := t.Exec(ctx, query, args...)
	return driver.RowsAffected(tag.RowsAffected()), err
}

// auditOnPgx does it on a pool of pgx's own: the sale is a pgx.Tx, and the trail's own
// work goes over the same pool.
func auditOnPgx(t *testing.T, db *sql.DB) {
	ctx := t.Context()
	conn := try(db.Conn(ctx))
	var name string
	require.NoError(t, conn.Raw(func(c any) error {
		name = c.(*stdlib.Conn).Conn().Config().ConnString()
		return nil
	}))
	require.NoError(t, conn.Close())
	pool := try(pgxpool.New(ctx, name))
	defer pool.Close()
	over := stdlib.OpenDBFromPool(pool)
	defer over.Close()
	require.NoError(t, sqltrail.Install(ctx, over))
	skey, vkey, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	folder := t.TempDir()
	trail := try(audit.Open(ctx, try(sqltrail.Open(ctx, over)), audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: skey, Sink: try(tilesink.Open(folder)), Keys: encryptiontest.Vault(t, "main").AuditKeys(),
		Fields: map[string][]string{"contact": {"city"}},
	}))
	require.NoError(t, trail.Prepare(ctx, "main", "p1"))
	sale := func(end func(tx pgx.Tx) error) {
		tx := try(pool.Begin(ctx))
		try(tx.Exec(ctx, `UPDATE contacts SET city = $1 WHERE id = $2`, "Basel", "c1"))
		try(trail.Record(ctx, pgxTx{tx}, audit.Event{
			Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", "p1"),
			Changes: audit.Diff("p1", map[string]any{"city": "Bern"}, map[string]any{"city": "Basel"}),
		}))
		require.NoError(t, end(tx))
	}
	sale(func(tx pgx.Tx) error { return tx.Rollback(ctx) })
	sale(func(tx pgx.Tx) error { return tx.Commit(ctx) })
	try(trail.RunOnce(ctx))
	report := try(auditlog.VerifyLog(ctx, os.DirFS(folder), auditlog.Trust{Key: vkey}))
	require.Equal(t, auditlog.Unanchored, report.Verdict)
	require.EqualValues(t, 1, report.Verified-report.Beats, "the one that committed")
	found := try(trail.Find(ctx, audit.Filter{Tenant: "main", Person: "p1"}, audit.Page{}))
	require.Equal(t, "Basel", found.Entries[0].Changes[0].New)
}

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The files that capture.Pack writes are migrations like all others.
func TestATriggerPackIsAppliedByATool(t *testing.T) {
	each(t, func(t *testing.T, d testdb.Database, apply func(t *testing.T, d testdb.Database, folder string)) {
		if kind(d.Name) != "postgres" {
			return // triggers are written for PostgreSQL
		}
		table := capture.Table{Name: "public.deals", Kind: "deal", Tenant: `it's; a "tenant" \ ` + "\n-- +goose Down"}
		up, _, err := capture.Pack(table)
		require.NoError(t, err)
		folder := t.TempDir()
		require.NoError(t, os.Chmod(folder, 0o755)) // psql reads it as another user
		require.NoError(t, os.WriteFile(filepath.Join(folder, "20270101120000_capture.up.sql"), []byte(up), 0o644))
		db := d.Open(t)
		_, err = db.ExecContext(t.Context(), `CREATE TABLE deals (id int PRIMARY KEY)`)
		require.NoError(t, err)
		apply(t, d, folder)
		_, err = db.ExecContext(t.Context(), `INSERT INTO deals VALUES (1)`)
		require.NoError(t, err)
		var tenant string
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT tenant FROM crmguard_audit_captured`).Scan(&tenant))
		require.Equal(t, table.Tenant, tenant)
		lacks, err := capture.Missing(t.Context(), db, table)
		require.NoError(t, err)
		require.Empty(t, lacks)
	})
}

package sqltrail_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Where the class lets sales go on without their event, the next sale does not wait for
// the count of what was lost either: the table of events is locked all the time.
func TestNoSaleWaitsForTheCountOfWhatWasLost(t *testing.T) {
	db := testdb.New(t, testdb.PostgresC).OpenWith(t, "pgx")
	s := newShop(t, db, "crm.example/audit")
	s.config.Classes = map[string]audit.Failure{"contact.": audit.FailOpen}
	s.trail = s.over(db)
	require.NoError(t, s.trail.Prepare(t.Context(), "main", "p"))
	lock, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = lock.ExecContext(t.Context(), `LOCK TABLE crmguard_audit_events IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	sell := func() (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // the lock outlasts it
		defer cancel()
		if err := s.trail.Prepare(ctx, "main", "p"); err != nil {
			return "", err
		}
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer func() { _ = tx.Rollback() }()
		_, err = tx.ExecContext(ctx, `SET LOCAL lock_timeout = '100ms'`)
		require.NoError(t, err)
		id, err := s.trail.Record(ctx, tx, sale(t, "p"))
		if err != nil {
			return "", err
		}
		return id, tx.Commit()
	}
	for range 3 {
		id, err := sell()
		require.NoError(t, err)
		require.Empty(t, id, "it was lost, and counted")
	}
	require.NoError(t, lock.Rollback())
	s.sequence()
	rows, err := db.QueryContext(t.Context(), `SELECT leaf FROM crmguard_audit_entries`)
	require.NoError(t, err)
	defer rows.Close()
	lost := int64(0)
	for rows.Next() {
		var raw []byte
		require.NoError(t, rows.Scan(&raw))
		leaf, err := auditlog.ParseLeaf(raw)
		require.NoError(t, err)
		if leaf.Gap != nil {
			lost += leaf.Gap.Count
		}
	}
	require.NoError(t, rows.Err())
	require.EqualValues(t, 3, lost)
}

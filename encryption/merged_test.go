package encryption_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/jobs"
)

// However often a person was merged into the next, the rows of the first go over
// to the last.
func TestALongChainOfMergesIsClimbed(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p000")
	for i := range 130 {
		require.NoError(t, e.vault.AddAlias(t.Context(), tenant, fmt.Sprintf("p%03d", i), fmt.Sprintf("p%03d", i+1)))
	}
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, []int{1, 0}, []int{report.Moved, report.Unreadable})
	var owner string
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT person FROM contacts`).Scan(&owner))
	require.Equal(t, "p130", owner)
}

// A batch as large as somebody likes, of which every row is to be read again.
func TestALargeBatchIsReadAgain(t *testing.T) {
	e := newEnv(t, 4)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	const n = 1200
	for i := range n {
		_, err := e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email) VALUES (?, 'p1', ?)`, fmt.Sprintf("c%05d", i), w.Text("email", "x@y.example"))
		require.NoError(t, err)
	}
	_, active := e.rotate(t)
	retired := false
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{Batch: n, AfterRow: func(ctx context.Context, _ *sql.Tx, _, _ string) (err error) {
		if !retired {
			retired = true
			active, err = e.another(t).NewKeyVersion(ctx, tenant)
		}
		return err
	}})
	require.NoError(t, err)
	require.Equal(t, []int{n, n, n}, []int{report.Rows, report.Cells, report.Conflicts})
	census, err := e.contacts.Census(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, map[uint32]int64{active: n}, census.KeyVersions)
}

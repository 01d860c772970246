package sqltrail_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// One statement changes very many rows that are captured, beside sales: no sale waits
// for it, each pass files the events first and of the rows a bounded number, and in the
// end each row has one entry. CRM_ROWS asks for more of them.
func TestAFloodOfCapturedRowsHoldsUpNoSale(t *testing.T) {
	rows := 3500
	if text := os.Getenv("CRM_ROWS"); text != "" {
		var err error
		rows, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	d := testdb.New(t, testdb.PostgresC)
	w := begin(t, d, "pgx", quick(d, "pgx")) // waits for no lock
	tx, err := w.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	for _, query := range []string{`SET LOCAL session_replication_role = replica`, `INSERT INTO deals SELECT g, 0 FROM generate_series(1, ` + strconv.Itoa(rows) + `) g`} {
		_, err = tx.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	flood, err := w.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = flood.ExecContext(t.Context(), `UPDATE deals SET amount = amount + 1`)
	require.NoError(t, err)
	sold, longest, passes := 0, time.Duration(0), 0
	sell := func() {
		began := time.Now()
		_, err := w.sell(t.Context(), sold)
		require.NoError(t, err)
		longest, sold = max(longest, time.Since(began)), sold+1
	}
	sell() // beside the open transaction
	require.Equal(t, 1, w.run().Sequenced)
	require.NoError(t, flood.Commit())
	began := time.Now()
	for left := rows; left > 0; passes++ {
		sell()
		r := w.run()
		require.Equal(t, 1, r.Sequenced, "the event of this pass")
		require.Equal(t, min(left, 1000), r.Captured, "and no more rows than a pass takes")
		require.Equal(t, r.Size, r.Published)
		left -= r.Captured
	}
	took := time.Since(began)
	got := w.agrees()
	require.Len(t, got.captured, rows)
	w.verified(w.checkpoint())
	t.Logf("%d rows of one statement, %d passes in %v, %d sales beside them, the longest %v", rows, passes, took.Round(time.Millisecond), sold, longest.Round(time.Millisecond))
}

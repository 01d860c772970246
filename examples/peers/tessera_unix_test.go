//go:build unix

package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/transparency-dev/tessera"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// The folder that tessera writes, with its state beside the log and the partial
// tiles of sizes before, is a log to us as the one that we write is to it.
func TestWeReadTheLogThatTesseraWrites(t *testing.T) {
	dir, key, add, err := tesseraLog(t.Context(), newTestBench(t))
	require.NoError(t, err)
	_, _, leaves, _ := theirLog(t, 600)
	var kept []byte
	n := 0
	for _, size := range []int{200, 256, 300, len(leaves)} {
		var entries []*tessera.Entry
		for ; n < size; n++ {
			entries = append(entries, tessera.NewEntry(leaves[n]))
		}
		require.NoError(t, add(entries))
		report, err := auditlog.VerifyLog(t.Context(), os.DirFS(dir), auditlog.Trust{Key: key, Kept: kept})
		require.NoError(t, err)
		want := auditlog.OK
		if kept == nil {
			want = auditlog.Unanchored
		}
		require.Equal(t, want, report.Verdict, "%+v", report.Faults)
		require.EqualValues(t, size, report.Verified)
		i := 0
		for e, err := range auditlog.Entries(t.Context(), os.DirFS(dir)) {
			require.NoError(t, err)
			require.Equal(t, leaves[i], e.Leaf)
			i++
		}
		require.Equal(t, size, i)
		require.NoError(t, fsckVerdict(t, dir, key))
		kept = []byte(read(t, dir, "checkpoint"))
	}
}

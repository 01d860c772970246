package merkle_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// The edge that roots are computed with, against x/mod's own.
func TestEdgeAgainstTlog(t *testing.T) {
	var (
		e      merkle.Edge
		hashes []tlog.Hash
	)
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = hashes[index]
		}
		return out, nil
	})
	_, ok := e.Root()
	require.False(t, ok)
	for n := range int64(700) {
		data := []byte{byte(n), byte(n >> 8)}
		more, err := tlog.StoredHashes(n, data, reader)
		require.NoError(t, err)
		hashes = append(hashes, more...)
		e.Push(tlog.RecordHash(data))
		want, err := tlog.TreeHash(n+1, reader)
		require.NoError(t, err)
		got, _ := e.Root()
		require.Equal(t, want, got, "%d entries", n+1)
	}
}

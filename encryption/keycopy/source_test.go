package keycopy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// ownersCopy is a copy of some owners, all right in itself but for its mac; one of
// them is erased.
func ownersCopy(t *testing.T, rows, erased int) []byte {
	t.Helper()
	var file bytes.Buffer
	w := &copyWriter{out: bufio.NewWriter(&file), sum: sha256.New()}
	require.NoError(t, w.line(copyHeader{V: 1, Store: "s", Epoch: 1, Sequence: 1, Written: "x", KEK: "k", Lease: 5_000_000}))
	for i := range rows {
		w.count++
		state := "live"
		if i == erased {
			state = "tombstone"
		}
		require.NoError(t, w.line(copyRow{Kind: keystore.KindOwner, Tenant: "t1", Owner: fmt.Sprintf("p%06d", i), State: state, Sequence: 1}))
	}
	require.NoError(t, w.line(copyEnd{Count: w.count, SHA256: encode64(w.sum.Sum(nil))}))
	require.NoError(t, w.out.Flush())
	return file.Bytes()
}

// Of a copy that changed after it was verified no row is handed out that stands in a
// page that changed, nor one behind it.
func TestNoRowOfAPageThatChangedIsHandedOut(t *testing.T) {
	for _, rows := range []int{1, keyring.PageSize - 1, keyring.PageSize, keyring.PageSize + 1, 2*keyring.PageSize + 3} {
		whole := ownersCopy(t, rows, -1)
		_, end, sums, err := scanCopy(t.Context(), bytes.NewReader(whole), func(copyRow) error { return nil })
		require.NoError(t, err)
		require.Len(t, sums, rows/keyring.PageSize)
		from := source{filepath.Join(t.TempDir(), "copy"), sums, end.SHA256}
		for changed := range rows {
			if changed%97 != 0 && changed != rows-1 && changed%keyring.PageSize > 1 {
				continue
			}
			require.NoError(t, os.WriteFile(from.path, ownersCopy(t, rows, changed), 0o600))
			seen := 0
			err := from.each(t.Context(), func(row copyRow) error {
				seen++
				require.Equal(t, "live", row.State)
				return nil
			})
			require.ErrorIs(t, err, keyring.ErrCopy)
			require.Equal(t, changed/keyring.PageSize*keyring.PageSize, seen)
		}
		require.NoError(t, os.WriteFile(from.path, whole, 0o600))
		seen := 0
		require.NoError(t, from.each(t.Context(), func(copyRow) error { seen++; return nil }))
		require.Equal(t, rows, seen)
	}
}

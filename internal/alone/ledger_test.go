package alone_test

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/alone"
)

// The keys that are kept are those that are derived anew each time, whoever asks
// first.
func TestLedgerIsLedgerDigests(t *testing.T) {
	s, err := alone.From(append(bytes.Repeat([]byte{1}, 31), 2))
	require.NoError(t, err)
	ledger := s.Ledger()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, label := range []string{"crmguard/ledger/mac/v1", "crmguard/ledger/digest/v1", "crmguard/ledger/mac/v1"} {
				for _, data := range []string{"", "a", "b"} {
					wantRoots, want, err := s.LedgerDigests(t.Context(), label, []byte(data))
					if err != nil {
						t.Error(err)
					}
					roots, got, err := ledger(t.Context(), label, []byte(data))
					if err != nil || roots[0] != wantRoots[0] || !bytes.Equal(got[0], want[0]) {
						t.Errorf("%s of %q differs", label, data)
					}
				}
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = ledger(ctx, "crmguard/ledger/mac/v1", nil)
	require.ErrorIs(t, err, context.Canceled)
}

func BenchmarkLedger(b *testing.B) {
	s, err := alone.From(append(bytes.Repeat([]byte{1}, 31), 2))
	require.NoError(b, err)
	ledger := s.Ledger()
	for b.Loop() {
		_, _, err := ledger(b.Context(), "crmguard/ledger/digest/v1", make([]byte, 60))
		require.NoError(b, err)
	}
}

//go:build unix

package tilesink_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
	"github.com/crmguard/crmguard/internal/killtest"
)

// A process that is stopped in the middle of a swap, between comparing and
// writing, keeps others from swapping and from nothing else. When it goes on, it
// writes in place of what it compared.
func TestAProcessIsStoppedInTheMiddleOfASwap(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		sink, err := tilesink.Open(dir)
		require.NoError(t, err)
		sink.Over(durabletest.Ask(func(step, _ string) error {
			if step != "rename" {
				return nil
			}
			return killtest.Stand("compared")
		}))
		require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("2 of the stopped one")))
		return
	}
	dir := t.TempDir()
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	sink.Patience(0)
	require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("1")))
	killtest.Pause(t, dir, "compared", func() {
		require.ErrorIs(t, sink.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("2")), tilesink.ErrBusy)
		require.NoError(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")))
		data, err := sink.ReadFile(t.Context(), "checkpoint")
		require.NoError(t, err)
		require.Equal(t, "1", string(data))
	})
	require.ErrorIs(t, sink.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("2")), audit.ErrChanged)
	data, err := sink.ReadFile(t.Context(), "checkpoint")
	require.NoError(t, err)
	require.Equal(t, "2 of the stopped one", string(data))
}

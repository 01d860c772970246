package hanging

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A store that does not come back is asked by one goroutine, however often somebody
// wants to know; when it has come back it is asked again.
func TestAStoreThatHangsIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Left
		var asked atomic.Int64
		freed := make(chan struct{})
		ask := func(context.Context) (int, error) {
			asked.Add(1)
			<-freed
			return 7, nil
		}
		_, err := Ask(t.Context(), &q, time.Second, ask)
		require.ErrorIs(t, err, ErrSilent)
		time.Sleep(2 * time.Second)
		for range 3 {
			_, err = Ask(t.Context(), &q, time.Second, ask)
			require.ErrorIs(t, err, ErrSilent)
		}
		require.EqualValues(t, 1, asked.Load())
		close(freed)
		synctest.Wait()
		got, err := Ask(t.Context(), &q, time.Second, ask)
		require.NoError(t, err)
		require.Equal(t, 7, got)
		require.EqualValues(t, 2, asked.Load())
	})
}

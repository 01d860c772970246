package audit

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// A store that does not come back is asked by one goroutine, however often somebody
// wants to know; when it has come back it is asked again.
func TestAStoreThatHangsIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q leftBehind
		var asked atomic.Int64
		freed := make(chan struct{})
		ask := func(context.Context) (int, error) {
			asked.Add(1)
			<-freed
			return 7, nil
		}
		_, err := within(t.Context(), &q, time.Second, ask)
		require.ErrorIs(t, err, errSilent)
		time.Sleep(2 * time.Second)
		for range 3 {
			_, err = within(t.Context(), &q, time.Second, ask)
			require.ErrorIs(t, err, errSilent)
		}
		require.EqualValues(t, 1, asked.Load())
		close(freed)
		synctest.Wait()
		got, err := within(t.Context(), &q, time.Second, ask)
		require.NoError(t, err)
		require.Equal(t, 7, got)
		require.EqualValues(t, 2, asked.Load())
	})
}

// What the database refuses is not the fault of the folder.
func TestAFaultOfTheDatabaseIsNamed(t *testing.T) {
	f := faultFinding(Finding{}, fmt.Errorf("audit: read: %w", sqldb.Safe(coded{"57P01"})))
	require.Equal(t, HealthAlarm, f.Level)
	require.Contains(t, f.Remedy, "the database cannot be read")
}

package keyring

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A grant is over at its end, and at any moment before its beginning.
func TestAGrantHoldsFromItsBeginningToItsEnd(t *testing.T) {
	for _, start := range []time.Time{time.Now(), time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)} {
		g := grantFrom(start, time.Minute)
		for after, over := range map[time.Duration]bool{-time.Hour: true, -1: true, 0: false, time.Minute - 1: false, time.Minute: true, time.Hour: true} {
			require.Equal(t, over, g.Ended(start.Add(after)), after)
			require.Equal(t, over, g.Over(start.Add(after)), after)
		}
		require.True(t, g.half().Over(start.Add(time.Minute/2)))
	}
}

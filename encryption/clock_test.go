package encryption_test

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// lagging returns t as a machine reads it whose monotonic clock has stood still
// for a while and whose wall clock has not, as after a sleep. Package time offers
// no way to make such a moment; the first test that uses it proves that it is one.
func lagging(t time.Time, still time.Duration) time.Time {
	(*struct {
		wall uint64
		ext  int64 // the monotonic reading, where there is one
		loc  *time.Location
	})(unsafe.Pointer(&t)).ext -= int64(still)
	return t
}

func TestALaggingMomentIsOne(t *testing.T) {
	now := time.Now()
	got := lagging(now, time.Hour)
	require.Equal(t, -time.Hour, got.Sub(now), "monotonic")
	require.True(t, got.Round(0).Equal(now.Round(0)), "wall")
}

package losses

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A gap is from the first to the last loss, also when the clock went back.
func TestAGapAcrossAClockThatWentBack(t *testing.T) {
	var g All
	id := ID{"main", "page."}
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, at := range []time.Duration{0, -time.Hour, time.Minute, -time.Minute} {
		g.Lost(id, noon.Add(at))
	}
	one := g.counting[id]
	require.EqualValues(t, 4, one.Count)
	require.Equal(t, noon.Add(-time.Hour), one.From)
	require.Equal(t, noon.Add(time.Minute), one.To)
}

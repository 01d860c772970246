package worst

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheLeastGivesWay(t *testing.T) {
	more := func(a, b int) bool { return a > b }
	var list []int
	var full bool
	for _, n := range []int{2, 1, 2, 1} {
		list, full = Keep(list, 4, n, more)
		require.False(t, full)
	}
	for n, want := range map[int][]int{
		0: {2, 1, 2, 1},
		1: {2, 1, 2, 1},
		2: {2, 1, 2, 2},
		3: {2, 1, 2, 3},
	} {
		got, full := Keep(append([]int(nil), list...), 4, n, more)
		require.True(t, full)
		require.Equal(t, want, got, "%d", n)
	}
	got, full := Keep(nil, 0, 1, more)
	require.True(t, full)
	require.Empty(t, got)
}

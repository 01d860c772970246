package backup

import (
	"runtime"
	"testing"
)

const chunkerVector = "85f3dafc44877f5f4ecb3dd2af7fd834d59c7bc555006ef7e72a6c07cd7be248"

var frozenChunks = []int{
	1194605, 1646519, 1098295, 1437406, 1069923, 910380, 1176574, 1275791, 553824, 525319,
	1410187, 1251251, 1146525, 1070950, 635887, 1066701, 1111322, 1273376, 1116685,
}

func allocated(tb testing.TB) uint64 {
	tb.Helper()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

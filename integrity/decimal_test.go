package integrity_test

import (
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

// A database that knows decimals tells these pairs apart, and a float64 does not:
// whoever scans into one gets no seal that both would fit.
func TestAFloatIsADecimalOnlyWhereItStandsForOne(t *testing.T) {
	for _, c := range []struct {
		scale int
		taken float64
		not   []float64
	}{
		{0, 1<<53 - 1, []float64{1 << 53, 1e17, -1e17, 1e300, math.Inf(1), math.NaN()}},
		{2, 12345678901234.56, []float64{90071992547409.93, -90071992547409.94, 1 << 53}},
		{6, 1234567890.123457, []float64{9007199254.740991 * 2}},
	} {
		column := integrity.Column{Name: "amount", Type: integrity.Decimal, Scale: c.scale}
		for _, x := range []float64{c.taken, -c.taken, 0} {
			got, err := column.Canonical(x)
			require.NoError(t, err)
			want, err := column.Canonical(strconv.FormatFloat(x, 'f', c.scale, 64))
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		for _, x := range c.not {
			_, err := column.Canonical(x)
			require.ErrorIs(t, err, integrity.ErrRow, "%v", x)
		}
	}
}

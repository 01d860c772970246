package frame_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
)

func TestPartsNeverRunIntoEachOther(t *testing.T) {
	require.NotEqual(t, frame.Join("ab", "c"), frame.Join("a", "bc"))
	require.Equal(t, []byte{0, 0, 0, 2, 'a', 'b', 0, 0, 0, 0}, frame.Join("ab", ""))
	require.Equal(t, len(frame.Join("ab")), frame.Size("ab"))
}

// The row seal vector of formats.md, section 7.
func TestRowSealVector(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	city, err := frame.Of("Bern")
	require.NoError(t, err)
	in := frame.Join("crmguard/seal/v1", "t1", "contacts", "r1")
	in = append(in, 0, 0, 0, 0, 0, 0, 0, 7)
	in = append(in, frame.Join("contact/1", "")...)
	in = append(in, 0, 0, 0, 1)
	in = city.Append(frame.Append(in, "city"))
	mac := hmac.New(sha256.New, key)
	mac.Write(in)
	require.Equal(t, "16c10f26123d9f4b8f18015971702e7494f5beee6dc2c390f5b2df5a5ecd178e", hex.EncodeToString(mac.Sum(nil)))
}

func TestTypesStayApart(t *testing.T) {
	seen := map[string]any{}
	for _, v := range []any{nil, "", "0", 0, false, []byte("0"), time.UnixMicro(0), 0.0, frame.Value{}} {
		value, err := frame.Of(v)
		require.NoError(t, err)
		encoded := string(value.Append(nil))
		require.NotContains(t, seen, encoded, "%v has the encoding of another value", v)
		seen[encoded] = v
	}
}

func TestWhatHasNoEncodingIsRefused(t *testing.T) {
	for _, v := range []any{math.NaN(), math.Inf(1), "\xff", uint64(math.MaxUint64), struct{}{}, make(chan int)} {
		_, err := frame.Of(v)
		require.ErrorIs(t, err, frame.ErrValue)
	}
	for _, s := range []string{"01", "-0", "-0.00", "1.", ".5", "1e3", "", "+1"} {
		_, err := frame.OfDecimal(s)
		require.ErrorIs(t, err, frame.ErrValue, s)
	}
	for _, s := range []string{"0", "-1", "0.00", "-0.01", "10.50"} {
		v, err := frame.OfDecimal(s)
		require.NoError(t, err)
		require.Equal(t, s, string(v.Data))
	}
	_, err := frame.OfDate("2026-02-30")
	require.ErrorIs(t, err, frame.ErrValue)
	_, err = frame.OfDate("2026-02-28")
	require.NoError(t, err)
	_, err = frame.OfJSON([]byte(`{"a":1,"a":2}`))
	require.ErrorIs(t, err, frame.ErrValue)
	v, err := frame.OfJSON([]byte(`{"b":1.50,"a":null}`))
	require.NoError(t, err)
	require.Equal(t, `{"a":null,"b":1.5}`, string(v.Data))
}

func TestJSONIsTheNumberThatItIs(t *testing.T) {
	for a, b := range map[string]string{
		"9007199254740992": "9007199254740993", "123456789012345678901": "123456789012345678902", "0.1": "0.1000000000000000055", "1e-400": "0", "1e400": "1e401",
	} {
		x, err := frame.OfJSON([]byte(`{"n":` + a + `}`))
		require.NoError(t, err)
		y, err := frame.OfJSON([]byte(`{"n":` + b + `}`))
		require.NoError(t, err)
		require.NotEqual(t, x, y, "%s %s", a, b)
	}
	_, err := frame.OfJSON([]byte(`{"n":-0}`))
	require.ErrorIs(t, err, frame.ErrValue, "databases hand -0 back as 0")
}

func TestZeroHasOneSign(t *testing.T) {
	x, err := frame.Of(math.Copysign(0, -1))
	require.NoError(t, err)
	y, err := frame.Of(0.0)
	require.NoError(t, err)
	require.Equal(t, x, y)
}

func TestATimeThatDoesNotFitIsNoOtherTime(t *testing.T) {
	for _, at := range []time.Time{time.Unix(1<<60, 0), time.Unix(-1<<60, 0), time.UnixMicro(math.MaxInt64).Add(time.Microsecond)} {
		_, err := frame.Of(at)
		require.ErrorIs(t, err, frame.ErrValue)
	}
	for _, at := range []time.Time{{}, time.UnixMicro(math.MaxInt64), time.UnixMicro(math.MinInt64), time.Unix(0, -1999)} {
		v, err := frame.Of(at)
		require.NoError(t, err)
		require.Equal(t, frame.OfInt(frame.Time, at.UnixMicro()), v)
	}
}

func TestIntegersAreTwosComplement(t *testing.T) {
	for _, v := range []any{int8(-1), int16(-1), int32(-1), int64(-1), -1} {
		value, err := frame.Of(v)
		require.NoError(t, err)
		require.Equal(t, "ffffffffffffffff", hex.EncodeToString(value.Data))
	}
	for _, v := range []any{uint8(7), uint16(7), uint32(7), uint64(7), uint(7)} {
		value, err := frame.Of(v)
		require.NoError(t, err)
		require.Equal(t, "0000000000000007", hex.EncodeToString(value.Data))
	}
}

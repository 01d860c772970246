package integrity_test

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

// Two systems keep a value in two ways: what it means is compared.
func TestCanonicalIsWhatAValueMeans(t *testing.T) {
	text := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField())
	east, noon := time.FixedZone("", 7200), time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		column integrity.Type
		a, b   any
		same   bool
	}{
		{integrity.JSON, `1`, `1.0`, true},
		{integrity.JSON, `{"a":1E2,"b":[]}`, `{ "b": [], "a": 100 }`, true},
		{integrity.JSON, `{"id":9007199254740993}`, `{"id":9007199254740992}`, false},
		{integrity.JSON, `12345678901234567.89`, `12345678901234567.99`, false},
		{integrity.JSON, `1e-400`, `0`, false},
		{integrity.JSON, "\"é\"", "\"e\u0301\"", false},
		{integrity.JSON, `{"a":1}`, `{"A":1}`, false},
		{integrity.Text, "é", "e\u0301", false},
		{integrity.Text, nil, "", false},
		{integrity.Text, sql.NullString{String: "a", Valid: true}, "a", true},
		{integrity.Text, (*sql.NullString)(nil), nil, true},
		{integrity.Text, new(string), "", true},
		{integrity.Bytes, nil, []byte{}, false},
		{integrity.Text, [16]byte{0xab}, "ab000000-0000-0000-0000-000000000000", true},
		{integrity.Text, (*panics)(nil), nil, true},
		{integrity.Text, sql.Null[string]{V: "left"}, nil, true},
		{integrity.Text, sql.RawBytes(nil), nil, true},
		{integrity.Integer, "12", 12, true},
		{integrity.Integer, 12.0, 12, true},
		{integrity.Integer, "12.00", 12, true},
		{integrity.Integer, json.Number("12"), 12, true},
		{integrity.Integer, json.Number("1.2e1"), 12, true},
		{integrity.Integer, time.Microsecond, 1000, true},
		{integrity.Decimal, json.Number("7.5"), "7.50", true},
		{integrity.Decimal, json.Number("75e-1"), "7.50", true},
		{integrity.JSON, json.RawMessage(`{"a":1}`), `{"a":1.0}`, true},
		{integrity.JSON, map[string]any{"a": []string{"x"}}, `{"a":["x"]}`, true},
		{integrity.JSON, json.RawMessage("null"), nil, false},
		{integrity.Bytes, json.RawMessage(`{}`), []byte(`{}`), true},
		{integrity.Decimal, "7.5", "007.500", true},
		{integrity.Decimal, "7.5", 7.5, true},
		{integrity.Decimal, "7", int64(7), true},
		{integrity.Decimal, sql.NullString{String: "7.5", Valid: true}, "7.50", true},
		{integrity.Decimal, "-0.00", "0", true},
		{integrity.Boolean, true, 1, true},
		{integrity.Float, math.Copysign(0, -1), 0.0, true},
		{integrity.Float, int64(3), 3.0, true},
		{integrity.Float, float32(0.1), 0.1, false},
		{integrity.Date, time.Date(2026, 1, 1, 0, 0, 0, 0, east), "2026-01-01", true},
		{integrity.Time, noon, noon.In(east), true},
		{integrity.Time, noon, noon.Add(999 * time.Nanosecond), true},
		{integrity.Time, noon, "2026-01-01T14:00:00+02:00", true},
		{integrity.Time, "2026-01-01T12:00:00.0000009Z", noon.UnixMicro(), true},
		{integrity.Time, noon, "2026-01-01 13:00:00+01", true},
		{integrity.Time, noon, noon.In(time.FixedZone("CET", 3600)).String(), true},
		{integrity.Time, noon, "2026-01-01 12:00:00.000001+00:00", false},
		{integrity.Time, noon, noon.Add(time.Microsecond), false},
		{integrity.Sealed, text, sealedField(), true},
	} {
		c := integrity.Column{Name: "c", Type: tc.column}
		if tc.column == integrity.Decimal {
			c.Scale = 2
		}
		a, err := c.Canonical(tc.a)
		require.NoError(t, err, "%s %v", tc.column, tc.a)
		b, err := c.Canonical(tc.b)
		require.NoError(t, err, "%s %v", tc.column, tc.b)
		require.Equal(t, tc.same, bytes.Equal(a, b), "%s %v %v", tc.column, tc.a, tc.b)
	}
}

type panics struct{ p *string }

func (v panics) Value() (driver.Value, error) { return *v.p, nil }

func TestWhatMeansNothingIsRefused(t *testing.T) {
	for column, values := range map[integrity.Type][]any{
		integrity.Text:    {[]byte("Canary"), 7, "Canary\xff", [4]int{}, json.Number("7"), []string{"Canary"}, panics{}, struct{}{}},
		integrity.Integer: {"Canary", "012", "1.5", 1.5, 1e18, uint64(math.MaxUint64), json.Number("1.5"), []byte("1"), true},
		integrity.Decimal: {"1.505", "NaN", "1E+2", "", math.NaN(), []byte("1.50"), true},
		integrity.Boolean: {"t", "1", 2, 1.0, []byte("1")},
		integrity.Date:    {"0000-00-00", "2026-02-30", "2026-01-02 00:00:00", time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), 7},
		integrity.Time:    {"infinity", "2026-01-02 03:04:05", "2026-01-02", time.Unix(1<<60, 0), 1.0, "2026-01-02T03:04:05,5Z", "2026-01-02T3:04:05Z", "2026-01-02T03:04:05+24:00", "0000-01-02T03:04:05Z", "2026-01-02T03:04:60Z"},
		integrity.JSON:    {`{"a":1,"a":2}`, `{"n":-0}`, `{Canary`, []byte(`{}`), ``, "\"\xff\""},
		integrity.Float:   {math.NaN(), math.Inf(1), "1.5", true},
		integrity.Bytes:   {"Canary", 7},
		integrity.Sealed:  {"Canary", []byte("Canary"), 7},
		99:                {"Canary", 7, true},
	} {
		c := integrity.Column{Name: "city", Type: column}
		if column == integrity.Decimal {
			c.Scale = 2
		}
		for _, value := range values {
			_, err := c.Canonical(value)
			require.ErrorIs(t, err, integrity.ErrRow, "%s %v", column, value)
			require.ErrorContains(t, err, `column "city"`)
			require.NotContains(t, err.Error(), "Canary")
			_, isBytes := value.([]byte)
			require.Equal(t, isBytes && column != integrity.Bytes, strings.Contains(err.Error(), "Reader"), "%s %v", column, value)
		}
	}
}

func TestColumnsAreChecked(t *testing.T) {
	require.NoError(t, integrity.CheckColumns())
	require.NoError(t, integrity.CheckColumns(integrity.Column{Name: "a"}, integrity.Column{Name: "b", Type: integrity.Decimal, Scale: 2}))
	for name, columns := range map[string][]integrity.Column{
		"no name": {{}}, "NUL": {{Name: "a\x00"}}, "long": {{Name: strings.Repeat("a", 256)}}, "twice": {{Name: "a"}, {Name: "b"}, {Name: "a", Type: integrity.JSON}},
		"type": {{Name: "a", Type: 99}}, "below": {{Name: "a", Type: -1}}, "scale": {{Name: "a", Scale: 1}}, "negative": {{Name: "a", Type: integrity.Decimal, Scale: -1}},
	} {
		require.ErrorIs(t, integrity.CheckColumns(columns...), integrity.ErrConfig, name)
	}
}

package integrity_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/integrity"
)

// seen collects what Check is shown of each field.
type seen map[string]string

func (s seen) schema(tb testing.TB) *integrity.Schema {
	tb.Helper()
	look := func(name string) func(any, map[string]any) integrity.Code {
		return func(value any, record map[string]any) integrity.Code {
			s[name] = fmt.Sprintf("%T:%v", value, value)
			if t, ok := value.(time.Time); ok {
				s[name] = "time:" + t.UTC().Format(time.RFC3339Nano)
			}
			s["record of "+name] = fmt.Sprint(len(record), record[name] == value, record["unknown"])
			return ""
		}
	}
	schema, err := integrity.NewSchema("s",
		integrity.Field{Name: "text", Check: look("text")},
		integrity.Field{Name: "country", Type: integrity.Country, Check: look("country")},
		integrity.Field{Name: "n", Type: integrity.Integer, Check: look("n")},
		integrity.Field{Name: "d", Type: integrity.Decimal, Scale: 2, Check: look("d")},
		integrity.Field{Name: "b", Type: integrity.Boolean, Check: look("b")},
		integrity.Field{Name: "date", Type: integrity.Date, Check: look("date")},
		integrity.Field{Name: "time", Type: integrity.Time, Check: look("time")},
		integrity.Field{Name: "broken", Type: integrity.Email},
	)
	require.NoError(tb, err)
	return schema
}

// A rule that was written for one way in works in all of them.
func TestCheckSeesTheSameTypesEverywhere(t *testing.T) {
	point := time.Date(2026, 2, 3, 4, 5, 6, 7000, time.FixedZone("", 3600))
	want := seen{
		"text": "string:x", "country": "string:CH", "n": "int64:5", "d": "string:5.00", "b": "bool:true", "date": "string:2026-02-03", "time": "time:2026-02-03T03:05:06.000007Z",
	}
	for _, name := range slices.Collect(maps.Keys(want)) {
		want["record of "+name] = "7 true <nil>"
	}

	forms := map[string]map[string]any{
		"a file":      {"text": "x", "country": " ch", "n": " 5", "d": "05", "b": "yes", "date": "2026-02-03", "time": "2026-02-03T04:05:06.000007+01:00", "broken": "x", "unknown": "y"},
		"JSON":        {"text": "x", "country": "CH", "n": 5.0, "d": json.Number("5"), "b": true, "date": "2026-02-03", "time": "2026-02-03T03:05:06.000007Z", "broken": "x", "unknown": "y"},
		"Go":          {"text": "x", "country": "CH", "n": uint8(5), "d": 5, "b": true, "date": point, "time": point, "broken": 7, "unknown": "y"},
		"json.Number": {"text": "x", "country": "CH", "n": json.Number("5"), "d": "5.0", "b": true, "date": "2026-02-03", "time": point.UTC(), "broken": "x", "unknown": "y"},
	}
	for name, record := range forms {
		got := seen{}
		_, err := integrity.Import(t.Context(), rowsOf(record), integrity.ImportOptions{Schema: got.schema(t), ReportOnly: true}, nil)
		require.NoError(t, err)
		require.Equal(t, want, got, "import of %s", name)
		if name == "a file" {
			continue
		}
		got = seen{}
		require.Len(t, got.schema(t).Validate(record), 2, "the broken field and the unknown one")
		require.Equal(t, want, got, "form of %s", name)
	}

	type row struct {
		Text    *string         `json:"text"`
		Country any             `json:"country"`
		N       sql.Null[int32] `json:"n"`
		D       int             `json:"d"`
		B       sql.NullBool    `json:"b"`
		Date    *sql.NullTime   `json:"date"`
		Time    time.Time       `json:"time"`
		Broken  sql.NullString  `json:"broken"`
	}
	got := seen{}
	typed, err := integrity.For[row](got.schema(t))
	require.NoError(t, err)
	text := "x"
	broken := typed.Validate(&row{&text, "CH", sql.Null[int32]{V: 5, Valid: true}, 5, sql.NullBool{Bool: true, Valid: true}, &sql.NullTime{Time: point, Valid: true}, point, sql.NullString{String: "x", Valid: true}})
	require.Equal(t, integrity.Violations{{Code: integrity.CodeEmail, Path: "/broken"}}, broken)
	require.Equal(t, want, got, "struct")
	require.Empty(t, typed.Validate(&row{Country: "CH", Date: &sql.NullTime{}}), "what a valuer does not have is not there")
}

// A Check sees the whole record, whatever stands in front of it or behind it,
// and whatever another Check says.
func TestChecksDoNotDependOnTheOrderOfFields(t *testing.T) {
	needs := func(other string) func(any, map[string]any) integrity.Code {
		return func(_ any, record map[string]any) integrity.Code {
			if record[other] == nil {
				return "alone"
			}
			return "together"
		}
	}
	schema, err := integrity.NewSchema("s", integrity.Field{Name: "a", Check: needs("b")}, integrity.Field{Name: "b", Check: needs("a")}, integrity.Field{Name: "c", Type: integrity.Email, Check: needs("a")})
	require.NoError(t, err)
	record := map[string]any{"a": "1", "b": "2", "c": "not an address"}
	require.Equal(t, integrity.Violations{{Code: "together", Path: "/a"}, {Code: "together", Path: "/b"}, {Code: integrity.CodeEmail, Path: "/c"}}, schema.Validate(record))
	var codes []integrity.Code
	_, err = integrity.Import(t.Context(), rowsOf(record), integrity.ImportOptions{Schema: schema, ReportOnly: true, Fault: func(f integrity.Fault) error {
		codes = append(codes, f.Code)
		return nil
	}}, nil)
	require.NoError(t, err)
	require.Equal(t, []integrity.Code{"together", "together", integrity.CodeEmail}, codes)
}

// What an import accepts of a Go value, a form accepts, and the other way
// round; and what comes out of the import is its own conversion.
func TestAFormAndAnImportAgree(t *testing.T) {
	values := rapid.OneOf(
		rapid.Just(any(nil)), rapid.Map(rapid.Int(), func(n int) any { return n }), rapid.Map(rapid.Uint64(), func(n uint64) any { return n }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }), rapid.Map(rapid.Int32(), func(n int32) any { return float64(n) }), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Int64Range(-1<<36, 1<<38), func(n int64) any { return time.Unix(n, 0) }),
		rapid.SampledFrom([]any{math.NaN(), math.Inf(1), float64(1 << 53), uint64(math.MaxUint64), json.Number("1e2"), []any{"a"}, []byte("x"), map[string]any{}, time.Time{}, "\u200b", errors.New("x"), float32(1)}),
	)
	rapid.Check(t, func(r *rapid.T) {
		kind := integrity.Type(rapid.IntRange(int(integrity.Text), int(integrity.Time)).Draw(r, "type"))
		schema, err := integrity.NewSchema("s", integrity.Field{Name: "x", Type: kind, Required: true}, integrity.Field{Name: "y"})
		require.NoError(t, err)
		value := values.Draw(r, "value")
		var rows []integrity.Accepted
		report, err := integrity.Import(t.Context(), rowsOf(map[string]any{"x": value}), integrity.ImportOptions{Schema: schema}, collect(&rows))
		require.NoError(t, err)
		broken := schema.Validate(map[string]any{"x": value})
		if _, number := value.(json.Number); number {
			return // a text in an import, a number of JSON in a form
		}
		require.Equal(t, report.Accepted == 1, len(broken) == 0, "%s %T %v", kind, value, value)
		if report.Accepted == 0 {
			require.Equal(t, report.Faults[0].Code, broken[0].Code)
			return
		}
		var again []integrity.Accepted
		_, err = integrity.Import(t.Context(), rowsOf(rows[0].Values), integrity.ImportOptions{Schema: schema}, collect(&again))
		require.NoError(t, err)
		require.Equal(t, rows[0].Values, again[0].Values)
		require.Empty(t, schema.Validate(rows[0].Values))
	})
}

func TestAStructOfTheWrongTypesIsAnErrorAtOnce(t *testing.T) {
	field := func(kind integrity.Type) *integrity.Schema {
		schema, err := integrity.NewSchema("s", integrity.Field{Name: "X", Type: kind})
		require.NoError(t, err)
		return schema
	}
	for name, err := range map[string]error{
		"float64 for Decimal": second(integrity.For[struct{ X float64 }](field(integrity.Decimal))),
		"int for Email":       second(integrity.For[struct{ X int }](field(integrity.Email))),
		"bytes for Text":      second(integrity.For[struct{ X []byte }](field(integrity.Text))),
		"list for Text":       second(integrity.For[struct{ X *[]string }](field(integrity.Text))),
		"string for Integer":  second(integrity.For[struct{ X string }](field(integrity.Integer))),
		"string for Boolean":  second(integrity.For[struct{ X string }](field(integrity.Boolean))),
		"int64 for Time":      second(integrity.For[struct{ X int64 }](field(integrity.Time))),
		"struct for Date":     second(integrity.For[struct{ X struct{} }](field(integrity.Date))),
	} {
		require.ErrorIs(t, err, integrity.ErrConfig, name)
	}
	for name, err := range map[string]error{
		"json.Number for Decimal": second(integrity.For[struct{ X json.Number }](field(integrity.Decimal))),
		"json.Number for Integer": second(integrity.For[struct{ X json.Number }](field(integrity.Integer))),
		"float64 for Integer":     second(integrity.For[struct{ X *float64 }](field(integrity.Integer))),
		"any for Boolean":         second(integrity.For[struct{ X any }](field(integrity.Boolean))),
		"NullString for Phone":    second(integrity.For[struct{ X sql.NullString }](field(integrity.Phone))),
		"pointer for Date":        second(integrity.For[struct{ X **time.Time }](field(integrity.Date))),
		"string for Time":         second(integrity.For[struct{ X string }](field(integrity.Time))),
	} {
		require.NoError(t, err, name)
	}
}

func second[T any](_ T, err error) error { return err }

func TestTimesAreThoseOfTheirStandard(t *testing.T) {
	for _, good := range []string{"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05+23:59", "2026-01-02T03:04:05-11:30", "0001-01-01T00:00:00.1Z", "9999-12-31T23:59:59Z"} {
		require.Empty(t, codeOf(t, integrity.Field{Type: integrity.Time}, good), good)
	}
	for _, bad := range []string{
		"2026-01-01T00:00:00,5Z", "2026-01-01T0:00:00Z", "2026-01-02T3:04:05Z", "2026-01-02T03:04:05+24:00", "2026-01-02T03:04:05+99:99", "2026-01-02T24:00:00Z", "2026-01-02t03:04:05z",
		"2026-01-02 03:04:05Z", "2026-01-02T03:04:05", "2016-12-31T23:59:60Z", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04Z", "26-01-02T03:04:05Z", "2026-01-02T03:04:05+0100",
	} {
		require.Equal(t, integrity.CodeTime, codeOf(t, integrity.Field{Type: integrity.Time}, bad), bad)
		run := importFile(t, "email,first_name,seen\na@b.example,A,\""+bad+"\"\n")
		require.NotContains(t, run.rows[0].Values, "seen", bad)
	}
	for _, good := range []string{"2024-02-29", "9999-12-31", "0001-01-01"} {
		require.Empty(t, codeOf(t, integrity.Field{Type: integrity.Date}, good), good)
	}
	for _, bad := range []string{"2026-02-30", "2026-02-29", "0000-01-01", "2026-1-2", "2026-00-10", "2026-02-03 ", "02.03.2026", "03/02/26", "2026-W05-2", "10000-01-01"} {
		require.Equal(t, integrity.CodeDate, codeOf(t, integrity.Field{Type: integrity.Date}, bad), bad)
	}
	far := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, integrity.CodeDate, codeOf(t, integrity.Field{Type: integrity.Date}, far))
	require.Equal(t, integrity.CodeTime, codeOf(t, integrity.Field{Type: integrity.Time}, far))
}

// Of 03/04/2026 nobody but the writer of the file knows the month.
func TestTwoLayoutsThatReadOneTextAsTwoDatesAreRefused(t *testing.T) {
	run := func(layouts ...string) error {
		_, err := integrity.Import(t.Context(), rowsOf(), integrity.ImportOptions{Schema: contactSchema(t), Dates: layouts, ReportOnly: true}, nil)
		return err
	}
	for _, layouts := range [][]string{{"01/02/2006", "02/01/2006"}, {"2.1.2006", "2006-01-02", "1.2.2006"}, {"2006-01-02", "2006-02-01"}, {"02/01/2006", "1/2/2006"}, {"2006-01-02", "20060102", "2006-2-1"}, {"01/02/2006", "_2/1/2006"}} {
		require.ErrorIs(t, run(layouts...), integrity.ErrConfig, strings.Join(layouts, " "))
	}
	for _, layouts := range [][]string{{"01/02/2006", "02.01.2006", "2006-01-02"}, {"1/2/2006", "01/02/2006"}, {"2 Jan 2006", "Jan 2 2006"}} {
		require.NoError(t, run(layouts...), strings.Join(layouts, " "))
	}
}

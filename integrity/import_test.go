package integrity_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

func collect(into *[]integrity.Accepted) func(context.Context, []integrity.Accepted) error {
	return func(_ context.Context, batch []integrity.Accepted) error {
		*into = append(*into, batch...)
		return nil
	}
}

func rowsOf(values ...map[string]any) iter.Seq2[integrity.Row, error] {
	return func(yield func(integrity.Row, error) bool) {
		for i, v := range values {
			if !yield(integrity.Row{Line: i + 1, Values: v}, nil) {
				return
			}
		}
	}
}

// The contacts of a real export: nothing but the damaged card numbers is
// wrong, and no row is lost for one.
func TestThreeThousandContacts(t *testing.T) {
	dir := os.Getenv("CRMGUARD_TESTDATA")
	if dir == "" {
		t.Skip("CRMGUARD_TESTDATA is not set: the 3,000 contacts are not imported")
	}
	file, err := os.ReadFile(filepath.Join(dir, "contacts", "fake_name_generator_3000.csv"))
	require.NoError(t, err)
	run := importFile(t, string(file))
	require.NoError(t, run.err)
	require.Equal(t, 3000, run.report.Read)
	require.Equal(t, 3000, run.report.Accepted)
	require.Equal(t, 3000, run.report.Delivered)
	require.Equal(t, 3000, run.report.FieldsDropped)
	require.Equal(t, []integrity.FaultCount{{Place: "card_number", Code: integrity.CodeCard, Outcome: integrity.FieldDropped, Count: 3000}}, run.report.Faults)
	require.Equal(t, map[string]int{"Password": 3000, "CVV2": 3000}, run.report.ColumnsDropped)
	for _, row := range run.rows {
		require.NotContains(t, row.Values, "card_number")
		require.Contains(t, row.Custom, "birthday")
		require.NotContains(t, row.Custom, "Password")
	}
	requireNoCell(t, file, run)
}

// requireNoCell looks for every cell of a file in everything that was told.
func requireNoCell(t *testing.T, file []byte, run fileRun) {
	t.Helper()
	records, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	require.NoError(t, err)
	told := run.rejects + fmt.Sprintf("%+v %+v", run.report, run.faults)
	for _, record := range records[1:] {
		for _, cell := range record {
			if len(cell) >= 8 {
				require.NotContains(t, told, cell)
			}
		}
	}
}

// Every cell of the file is a canary, the headings that nobody knows too; no
// output may hold one, whatever is wrong with the row.
func TestNoOutputHoldsACell(t *testing.T) {
	var file strings.Builder
	file.WriteString("email,first_name,phone,country,card_number,employees,CanaryHead,CanaryHead\n")
	for i, end := range []string{
		"", ",too many", "\xff", "\x00", strings.Repeat("x", 200), "\"", "\n", "",
	} {
		for j := range 8 {
			if j > 0 {
				file.WriteByte(',')
			}
			fmt.Fprintf(&file, "Canary%d-%d%s", i, j, end)
		}
		file.WriteByte('\n')
		fmt.Fprintf(&file, "canary%d@canary.example,Canary,Canary%s,Canary,Canary,Canary,Canary%s,=Canary\n", i%3, end, end)
	}
	file.WriteString("\"Canary never closed")
	run := importFile(t, file.String(), func(o *integrity.CSVOptions, _ *integrity.ImportOptions) {
		o.MaxField, o.ResumeAfterQuote = 100, true
	})
	require.NoError(t, run.err)
	require.Positive(t, run.report.Rejected)
	require.Positive(t, run.report.Accepted)
	var told strings.Builder
	told.WriteString(run.rejects + fmt.Sprintf("%+v %+v", run.report, run.faults))
	for _, f := range run.faults {
		told.WriteString((&integrity.RowError{Fault: f}).Error() + contactSchema(t).ExplainFault("zh", f) + contactSchema(t).ExplainFault("en", f))
	}
	require.NotContains(t, strings.ToLower(told.String()), "canary")
	require.Greater(t, strings.Count(run.rejects, "\n"), 20)

	headless := importFile(t, "Canary,Canary@canary.example\nCanary,x\n")
	require.ErrorIs(t, headless.err, integrity.ErrSource)
	require.NotContains(t, strings.ToLower(headless.err.Error()+headless.rejects), "canary")
}

func TestTheRejectsFileIsSafeInASpreadsheet(t *testing.T) {
	schema, err := integrity.NewSchema("s", integrity.Field{Name: "=HYPERLINK(1)", Required: true}, integrity.Field{
		Name: "x", Check: func(any, map[string]any) integrity.Code { return "@SUM(1)" },
	})
	require.NoError(t, err)
	var rejects bytes.Buffer
	_, err = integrity.Import(t.Context(), rowsOf(map[string]any{"x": "1"}, map[string]any{"x": "1", "=HYPERLINK(1)": "y"}), integrity.ImportOptions{Schema: schema, Rejects: &rejects, ReportOnly: true}, nil)
	require.NoError(t, err)
	records, err := csv.NewReader(&rejects).ReadAll()
	require.NoError(t, err)
	require.Equal(t, [][]string{
		{"line", "field", "code", "outcome"},
		{"1", "'=HYPERLINK(1)", "required", "row_rejected"},
		{"2", "x", "'@SUM(1)", "field_dropped"},
	}, records)
}

func TestTextBecomesTheTypeOfItsField(t *testing.T) {
	schema := contactSchema(t)
	var rows []integrity.Accepted
	dates := []string{"1/2/2006", time.DateOnly}
	_, err := integrity.Import(t.Context(), rowsOf(
		map[string]any{"email": " A@b.example ", "first_name": " Ann ", "country": " ch ", "employees": " 12", "revenue": "0012.5", "newsletter": "Yes", "born": "3/29/1982", "seen": "2026-02-28T12:00:00+08:00"},
		map[string]any{"email": "b@b.example", "first_name": "Bob", "employees": json.Number("7"), "revenue": 3, "newsletter": "否", "born": time.Date(2000, 1, 2, 3, 4, 5, 0, time.UTC), "x": 1.5},
		map[string]any{"email": "c@b.example", "first_name": "Eve", "employees": 7.0, "revenue": "-0.00", "newsletter": false, "born": "1999-12-31"},
	), integrity.ImportOptions{Schema: schema, Dates: dates}, collect(&rows))
	require.NoError(t, err)
	require.Equal(t, "A@b.example", rows[0].Values["email"])
	require.Equal(t, " Ann ", rows[0].Values["first_name"])
	require.Equal(t, "CH", rows[0].Values["country"])
	require.Equal(t, int64(12), rows[0].Values["employees"])
	require.Equal(t, "12.50", rows[0].Values["revenue"])
	require.Equal(t, true, rows[0].Values["newsletter"])
	require.Equal(t, "1982-03-29", rows[0].Values["born"])
	require.Equal(t, int64(1772251200), rows[0].Values["seen"].(time.Time).Unix())
	require.Equal(t, map[string]any{"email": "b@b.example", "first_name": "Bob", "employees": int64(7), "revenue": "3.00", "newsletter": false, "born": "2000-01-02"}, rows[1].Values)
	require.Equal(t, map[string]any{"x": 1.5}, rows[1].Custom)
	require.Equal(t, map[string]any{"email": "c@b.example", "first_name": "Eve", "employees": int64(7), "revenue": "0.00", "newsletter": false, "born": "1999-12-31"}, rows[2].Values)
}

func TestWhatCannotBeConvertedIsDropped(t *testing.T) {
	schema := contactSchema(t)
	for field, tc := range map[string]struct {
		code integrity.Code
		bad  []any
	}{
		"employees":  {integrity.CodeInteger, []any{"1.5", "x", "9223372036854775808"}},
		"revenue":    {integrity.CodeDecimal, []any{"1.234", "1e3", "1,5", "."}},
		"newsletter": {integrity.CodeBoolean, []any{"maybe", 1}},
		"born":       {integrity.CodeDate, []any{"3/29/1982", "2026-02-30"}},
		"seen":       {integrity.CodeTime, []any{"now"}},
		"country":    {integrity.CodeCountry, []any{"Switzerland", "UK"}},
		"phone":      {integrity.CodeType, []any{7}},
	} {
		for _, bad := range tc.bad {
			var rows []integrity.Accepted
			report, err := integrity.Import(t.Context(), rowsOf(map[string]any{"email": "a@b.example", "first_name": "A", field: bad}), integrity.ImportOptions{Schema: schema}, collect(&rows))
			require.NoError(t, err)
			require.Equal(t, []integrity.FaultCount{{Place: field, Code: tc.code, Outcome: integrity.FieldDropped, Count: 1}}, report.Faults, "%s %v", field, bad)
			require.NotContains(t, rows[0].Values, field)
			require.Len(t, rows[0].Faults, 1)
		}
	}
}

func TestOnlyAcceptedRowsClaimAUniqueValue(t *testing.T) {
	schema, err := integrity.NewSchema("s", integrity.Field{Name: "email", Type: integrity.Email}, integrity.Field{Name: "n", Type: integrity.Integer, Required: true})
	require.NoError(t, err)
	var rows []integrity.Accepted
	report, err := integrity.Import(t.Context(), rowsOf(
		map[string]any{"email": "a@b.example"},               // rejected for n
		map[string]any{"email": "A@B.example", "n": 1},       // claims both
		map[string]any{"email": "a@b.example ", "n": 2},      // the same address
		map[string]any{"email": "c@b.example", "n": 1},       // the same number
		map[string]any{"email": "c@b.example", "n": 9},       // the rejected row claimed nothing
		map[string]any{"n": 3}, map[string]any{"n": int8(4)}, // no address twice is no duplicate
		map[string]any{"email": "jose\u0301@b.example", "n": 5},
		map[string]any{"email": "josé@b.example", "n": 6},
	), integrity.ImportOptions{Schema: schema, Unique: []string{"email", "n"}}, collect(&rows))
	require.NoError(t, err)
	require.Equal(t, 5, report.Accepted)
	require.Equal(t, []integrity.FaultCount{
		{Place: "email", Code: integrity.CodeDuplicate, Outcome: integrity.RowRejected, Count: 2},
		{Place: "n", Code: integrity.CodeDuplicate, Outcome: integrity.RowRejected, Count: 1},
		{Place: "n", Code: integrity.CodeRequired, Outcome: integrity.RowRejected, Count: 1},
	}, report.Faults)
}

func TestBatchesProgressAndReportOnly(t *testing.T) {
	schema := emailOnly(t)
	var values []map[string]any
	for i := range 25 {
		values = append(values, map[string]any{"email": fmt.Sprintf("a%d@b.example", i)})
	}
	var sizes []int
	var progress []int
	options := integrity.ImportOptions{Schema: schema, BatchSize: 10, Progress: func(r integrity.Report) { progress = append(progress, r.Read) }}
	report, err := integrity.Import(t.Context(), rowsOf(values...), options, func(_ context.Context, batch []integrity.Accepted) error {
		sizes = append(sizes, len(batch))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []int{10, 10, 5}, sizes)
	require.Equal(t, []int{10, 20, 25}, progress)
	require.Equal(t, 25, report.Delivered)

	options.ReportOnly = true
	report, err = integrity.Import(t.Context(), rowsOf(values...), options, func(context.Context, []integrity.Accepted) error {
		t.Error("report-only must hand nothing over")
		return nil
	})
	require.NoError(t, err)
	require.True(t, report.ReportOnly)
	require.Equal(t, 25, report.Accepted)
	require.Zero(t, report.Delivered)
}

func TestAnImportThatEndsEarlyStillAddsUp(t *testing.T) {
	schema := contactSchema(t)
	broken := errors.New("broken")
	values := []map[string]any{{"email": "a@b.example", "first_name": "A"}, {"email": "x"}, {"email": "b@b.example", "first_name": "B", "phone": "x"}}
	nobody := func(context.Context, []integrity.Accepted) error { return nil }
	for name, run := range map[string]func() (integrity.Report, error){
		"deliver": func() (integrity.Report, error) {
			return integrity.Import(t.Context(), rowsOf(values...), integrity.ImportOptions{Schema: schema, BatchSize: 1}, func(context.Context, []integrity.Accepted) error { return broken })
		},
		"fault": func() (integrity.Report, error) {
			return integrity.Import(t.Context(), rowsOf(values...), integrity.ImportOptions{Schema: schema, Fault: func(f integrity.Fault) error {
				if f.Outcome == integrity.FieldDropped {
					return broken
				}
				return nil
			}}, nobody)
		},
		"rejects": func() (integrity.Report, error) {
			return integrity.Import(t.Context(), rowsOf(values...), integrity.ImportOptions{Schema: schema, Rejects: brokenWriter{broken}}, nobody)
		},
		"sequence": func() (integrity.Report, error) {
			return integrity.Import(t.Context(), func(yield func(integrity.Row, error) bool) {
				yield(integrity.Row{Values: values[0]}, nil)
				yield(integrity.Row{}, broken)
			}, integrity.ImportOptions{Schema: schema}, nobody)
		},
	} {
		report, err := run()
		require.ErrorIs(t, err, broken, name)
		require.Positive(t, report.Read, name)
		require.Equal(t, report.Read, report.Accepted+report.Rejected, name)
	}

	ctx, cancel := context.WithCancel(t.Context())
	report, err := integrity.Import(ctx, func(yield func(integrity.Row, error) bool) {
		for i := range 10 {
			if i == 5 {
				cancel()
			}
			if !yield(integrity.Row{Values: map[string]any{"email": fmt.Sprint(i, "@b.example"), "first_name": "A"}}, nil) {
				return
			}
		}
	}, integrity.ImportOptions{Schema: schema, BatchSize: 2}, nobody)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 5, report.Read)
	require.Equal(t, 4, report.Delivered)
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestBadImportOptionsAreErrors(t *testing.T) {
	schema := emailOnly(t)
	nobody := func(context.Context, []integrity.Accepted) error { return nil }
	for name, run := range map[string]func() (integrity.Report, error){
		"schema": func() (integrity.Report, error) {
			return integrity.Import(t.Context(), rowsOf(), integrity.ImportOptions{}, nobody)
		},
		"rows": func() (integrity.Report, error) {
			return integrity.Import(t.Context(), nil, integrity.ImportOptions{Schema: schema}, nobody)
		},
		"deliver": func() (integrity.Report, error) {
			return integrity.Import(t.Context(), rowsOf(), integrity.ImportOptions{Schema: schema}, nil)
		},
		"batch": func() (integrity.Report, error) {
			return integrity.Import(t.Context(), rowsOf(), integrity.ImportOptions{Schema: schema, BatchSize: -1}, nobody)
		},
		"unique": func() (integrity.Report, error) {
			return integrity.Import(t.Context(), rowsOf(), integrity.ImportOptions{Schema: schema, Unique: []string{"x"}}, nobody)
		},
	} {
		_, err := run()
		require.ErrorIs(t, err, integrity.ErrConfig, name)
	}
}

// A sequence of somebody else may name what is none of our fields.
func TestAForeignRowErrorIsCountedAndNotQuoted(t *testing.T) {
	var rejects bytes.Buffer
	report, err := integrity.Import(t.Context(), func(yield func(integrity.Row, error) bool) {
		_ = yield(integrity.Row{}, fmt.Errorf("page 2: %w", &integrity.RowError{Fault: integrity.Fault{Line: 3, Field: "Canary", Code: integrity.CodeType}})) &&
			yield(integrity.Row{Line: 4, Values: map[string]any{"email": "a@b.example"}, Faults: []integrity.Fault{{Field: "Canary", Code: integrity.CodeNUL}}}, nil)
	}, integrity.ImportOptions{Schema: emailOnly(t), Rejects: &rejects, ReportOnly: true}, nil)
	require.NoError(t, err)
	require.Equal(t, 2, report.Read)
	require.Equal(t, 1, report.Rejected)
	require.Equal(t, "line,field,code,outcome\n3,,type,row_rejected\n4,,nul,field_dropped\n", rejects.String())
}

func TestNothingIsHandedOverAfterTheContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	report, err := integrity.Import(ctx, func(yield func(integrity.Row, error) bool) {
		yield(integrity.Row{Values: map[string]any{"email": "a@b.example"}}, nil)
		cancel()
	}, integrity.ImportOptions{Schema: emailOnly(t)}, func(context.Context, []integrity.Accepted) error {
		t.Error("handed over after the end")
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, report.Accepted)
	require.Zero(t, report.Delivered)
}

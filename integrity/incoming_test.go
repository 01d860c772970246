package integrity_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

func emails(rows []integrity.Accepted) (out []string) {
	for _, row := range rows {
		out = append(out, row.Values["email"].(string))
	}
	return out
}

// Whoever writes a note into the source plants no row, however long the note
// and whatever is wrong with its quotes.
func TestANoteDoesNotPlantARow(t *testing.T) {
	for name, tc := range map[string]struct {
		note string
		end  integrity.Code // of the file
		bob  bool           // the row after it is read
	}{
		"many lines":         {`"` + strings.Repeat("x\n", 65_536) + "evil@attacker.example,VIP\nother@attacker.example,ok\"", "", true},
		"larger than a cell": {`"` + strings.Repeat("x\n", 600_000) + "evil@attacker.example,VIP\n\"", "", true},
		"larger than a row":  {`"` + strings.Repeat("x\n", 9_000_000) + "evil@attacker.example,VIP\n\"", "", true},
		"many cells":         {strings.Repeat(",", 70_000) + "\"\nevil@attacker.example,VIP\n\"", "", true},
		"single quotes":      {"\"He said \"hi\nevil@attacker.example,VIP\n\"", integrity.CodeQuote, false},
		"never closed":       {"\"x\nevil@attacker.example,VIP\n", integrity.CodeQuoteOpen, false},
		"space before":       {" \"x\nevil@attacker.example,VIP\n\"", integrity.CodeQuote, false},
		"formula":            {"=\"x\nevil@attacker.example,VIP\n\"", integrity.CodeQuote, false},
		"carriage return":    {"x\revil@attacker.example,VIP", "", true},
		"quoted return":      {"\"x\revil@attacker.example,VIP\"", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			schema, err := integrity.NewSchema("s", integrity.Field{Name: "email", Type: integrity.Email, Required: true}, integrity.Field{Name: "note", FreeText: true})
			require.NoError(t, err)
			var rows []integrity.Accepted
			file := "email,note\nann@a.example,ok\neve@e.example," + tc.note + "\nbob@b.example,hi\n"
			report, err := integrity.Import(t.Context(), integrity.CSV(strings.NewReader(file), integrity.CSVOptions{}), integrity.ImportOptions{Schema: schema, BatchSize: 1}, collect(&rows))
			require.Equal(t, report.Read, report.Accepted+report.Rejected)
			require.LessOrEqual(t, report.Read, 3)
			got := emails(rows)
			require.NotContains(t, strings.Join(got, " "), "attacker")
			require.Equal(t, "ann@a.example", got[0])
			require.Equal(t, tc.bob, got[len(got)-1] == "bob@b.example")
			if tc.end == "" {
				require.NoError(t, err)
				require.Equal(t, 3, report.Read)
				return
			}
			source, ok := errors.AsType[*integrity.SourceError](err)
			require.True(t, ok)
			require.Equal(t, tc.end, source.Code)
			require.Equal(t, 3, source.Line)
			require.ErrorContains(t, err, "mend the line and read the file again")
		})
	}
}

func TestAFileOfCarriageReturnsIsRead(t *testing.T) {
	run := importFile(t, "email,first_name\rann@a.example,Ann\rbob@b.example,Bob\r")
	require.NoError(t, run.err)
	require.Equal(t, []string{"ann@a.example", "bob@b.example"}, emails(run.rows))
	require.Equal(t, 3, run.rows[1].Line)

	run = importFile(t, "email,first_name\nann@a.example,Ann\rbob@b.example,Bob\neve@e.example,Eve\n")
	require.NoError(t, run.err)
	require.Equal(t, []string{"eve@e.example"}, emails(run.rows), "two records joined by a return are set aside, not one of both")
	require.Equal(t, "line,field,code,outcome\n2,,line_end,row_rejected\n", run.rejects)
}

func TestShortRowsOnRequest(t *testing.T) {
	file := "email,first_name,phone\nann@a.example,Ann,\nbob@b.example\ncid@c.example,Cid\nd@d.example,D,12345,x\n"
	short := func(o *integrity.CSVOptions, io *integrity.ImportOptions) {
		o.ShortRows, io.Schema = true, emailOnly(t)
	}
	run := importFile(t, file, short)
	require.NoError(t, run.err)
	require.Equal(t, []string{"ann@a.example", "bob@b.example", "cid@c.example"}, emails(run.rows))
	require.Equal(t, map[string]any{"first_name": "Cid"}, run.rows[2].Custom)
	require.Equal(t, "line,field,code,outcome\n5,,too_many_columns,row_rejected\n", run.rejects)

	run = importFile(t, file)
	require.Equal(t, []string{"ann@a.example"}, emails(run.rows))
	require.Equal(t, 3, run.report.Rejected)
}

func TestTheLineThatNamesTheSeparatorIsBelieved(t *testing.T) {
	for file, comma := range map[string]byte{
		"sep=;\r\nemail;first_name\r\nann@a.example;Ann\r\n": 0,
		"SEP=\t\nemail\tfirst_name\nann@a.example\tAnn\n":    0,
		"\"sep=|\"\nemail|first_name\nann@a.example|Ann\n":   0,
		"sep=,\nemail,first_name\nann@a.example,Ann\n":       0,
		"sep=;\remail;first_name\rann@a.example;Ann\r":       ';',
		"sep=;\nemail,first_name\nann@a.example,Ann\n":       ',',
	} {
		run := importFile(t, file, func(o *integrity.CSVOptions, _ *integrity.ImportOptions) { o.Comma = comma })
		require.NoError(t, run.err, "%q", file)
		require.Equal(t, map[string]any{"email": "ann@a.example", "first_name": "Ann"}, run.rows[0].Values, "%q", file)
		require.Equal(t, 3, run.rows[0].Line)
	}
	for _, file := range []string{"sep=\"\nemail\n", "sep=\xff\nemail\n", "sep=;;\nemail;x\n", "sep\nemail\n"} {
		require.ErrorIs(t, importFile(t, file).err, integrity.ErrSource, "%q", file)
	}
	require.ErrorIs(t, importFile(t, "sep=;\n").err, integrity.ErrSource)
}

func TestPhonesKeepTheirNumber(t *testing.T) {
	for in, want := range map[string]string{
		"\u202a+442079460958\u202c":        "+442079460958",
		"\u202d+1 202 555 0143\u202c":      "+1 202 555 0143",
		"+44\u00a020\u202f7946\u20090958":  "+44 20 7946 0958",
		"+1\u2011202\u2011555\u20130143":   "+1-202-555-0143",
		"'+12025550143":                    "+12025550143",
		"\u2019+12025550143":               "+12025550143",
		"\u200e'\ufeff+1202\u00ad5550143 ": "+12025550143",
		"+４１（４４）６６８－１８－００":                 "+41(44)668-18-00",
		"+1 \u2212 202\u200b5550143":       "+1 - 2025550143",
	} {
		var rows []integrity.Accepted
		_, err := integrity.Import(t.Context(), rowsOf(map[string]any{"email": "a@b.example", "first_name": "A", "phone": in}), integrity.ImportOptions{Schema: contactSchema(t)}, collect(&rows))
		require.NoError(t, err)
		require.Equal(t, want, rows[0].Values["phone"], "%q", in)
		record := goodContact()
		record["phone"] = in
		require.NotEmpty(t, contactSchema(t).Validate(record), "a form stores what it was given, so it is judged as it is: %q", in)
	}
	for _, bad := range []string{"''12345", "123'45", "1.23E+11", "49,301234", "+1 555 010 0000 ext. 5", "tel:+41441234567", "+\u066112345"} {
		run := importFile(t, head+"Eve,E,eve@e.example,\""+bad+"\",\n")
		require.Equal(t, 1, run.report.FieldsDropped, bad)
	}
	run := importFile(t, "E-Mail,First Name\n\"\u00a0a@b.example\u200b\",A\n")
	require.Equal(t, "a@b.example", run.rows[0].Values["email"])
}

// failsOnce fails, and has nothing more to say afterwards.
type failsOnce struct{ err error }

func (r *failsOnce) Read([]byte) (int, error) {
	err := r.err
	r.err = io.EOF
	return 0, err
}

// Only io.EOF itself is the end of a file. An error that wraps it, or that
// says the file was cut, is a failure.
func TestAWrappedEndIsAFailure(t *testing.T) {
	for _, broken := range []error{
		fmt.Errorf("connection reset: %w", io.EOF), io.ErrUnexpectedEOF, fmt.Errorf("gzip: %w", io.ErrUnexpectedEOF), errors.Join(io.EOF, errors.New("reset")), io.ErrNoProgress,
	} {
		for _, sent := range []string{"", "\xef\xbb\xbf", "em", "email\n", "email\na@b.example\n", "email\na@b.example\nb@b.exam", "email\na@b.example\n\"b@b.example", "sep=;\n"} {
			var rows []integrity.Accepted
			file := io.MultiReader(strings.NewReader(sent), &failsOnce{broken})
			report, err := integrity.Import(t.Context(), integrity.CSV(file, integrity.CSVOptions{}), integrity.ImportOptions{Schema: emailOnly(t), BatchSize: 1}, collect(&rows))
			require.ErrorIs(t, err, integrity.ErrSource, "%q %v", sent, broken)
			require.ErrorIs(t, err, broken)
			source, _ := errors.AsType[*integrity.SourceError](err)
			require.Equal(t, integrity.CodeRead, source.Code, "%q %v", sent, broken)
			require.Len(t, rows, report.Read)
			require.LessOrEqual(t, len(rows), 1, "what came before the failure may be half a row")
		}
		report, err := integrity.Import(t.Context(), func(yield func(integrity.Row, error) bool) {
			_ = yield(integrity.Row{Values: map[string]any{"email": "a@b.example"}}, nil) && yield(integrity.Row{}, broken)
		}, integrity.ImportOptions{Schema: emailOnly(t), ReportOnly: true}, nil)
		require.ErrorIs(t, err, broken)
		require.Equal(t, 1, report.Read)
	}
}

// What a process has told of rejected rows stands in the writer before the
// rows around them are handed over: a crash in between, here a panic, loses
// none of them.
func TestRejectsAreWrittenBeforeTheirBatch(t *testing.T) {
	schema, err := integrity.NewSchema("s", integrity.Field{Name: "email", Type: integrity.Email, Required: true})
	require.NoError(t, err)
	var rejects bytes.Buffer
	var before []int
	file := "Email\nbad\na@b.example\nbad2\nb@b.example\nbad3\nc@b.example\n"
	run := func(deliver func()) (report integrity.Report, err error) {
		rejects.Reset()
		before = nil
		return integrity.Import(t.Context(), integrity.CSV(strings.NewReader(file), integrity.CSVOptions{Columns: integrity.KnownHeaders()}),
			integrity.ImportOptions{Schema: schema, BatchSize: 1, Rejects: &rejects}, func(context.Context, []integrity.Accepted) error {
				before = append(before, strings.Count(rejects.String(), "row_rejected"))
				deliver()
				return nil
			})
	}
	report, err := run(func() {})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3}, before)
	require.Equal(t, 6, report.Read)
	require.Equal(t, 3, report.Rejected)
	require.PanicsWithValue(t, "crash", func() {
		_, _ = run(func() {
			if len(before) == 2 {
				panic("crash")
			}
		})
	})
	require.Equal(t, "line,field,code,outcome\n2,email,email,row_rejected\n4,email,email,row_rejected\n", rejects.String())

	broken := errors.New("disk is full")
	report, err = integrity.Import(t.Context(), integrity.CSV(strings.NewReader(file), integrity.CSVOptions{}), integrity.ImportOptions{Schema: schema, BatchSize: 1, Rejects: brokenWriter{broken}},
		func(context.Context, []integrity.Accepted) error {
			t.Error("handed over although its rejects are not written")
			return nil
		})
	require.ErrorIs(t, err, broken)
	require.Zero(t, report.Delivered)
	require.Equal(t, report.Read, report.Accepted+report.Rejected)
}

func TestNothingAtAllIsAnErrorNotAPanic(t *testing.T) {
	nobody := func(context.Context, []integrity.Accepted) error { return nil }
	_, err := integrity.Import(nil, rowsOf(), integrity.ImportOptions{Schema: emailOnly(t)}, nobody) //nolint:staticcheck // the point
	require.ErrorIs(t, err, integrity.ErrConfig)
	for _, none := range []*integrity.Schema{nil, {}} {
		_, err = integrity.Import(t.Context(), rowsOf(), integrity.ImportOptions{Schema: none}, nobody)
		require.ErrorIs(t, err, integrity.ErrConfig)
		_, err = none.Extend(integrity.Field{Name: "a"})
		require.ErrorIs(t, err, integrity.ErrConfig)
		_, err = integrity.For[struct{}](none)
		require.ErrorIs(t, err, integrity.ErrConfig)
		refused := integrity.Violations{{Code: integrity.CodeNoSchema}}
		require.Equal(t, refused, none.Validate(map[string]any{}), "without rules nothing is valid")
		require.Equal(t, refused, none.Validate(nil))
		require.Equal(t, "There are no rules to judge this by.", none.Explain("en", refused[0]))
		require.NotEmpty(t, none.ExplainFault("en", integrity.Fault{Code: integrity.CodeType, Field: "a"}))
		require.Empty(t, none.Name())
		require.Empty(t, none.Fields())
		require.Equal(t, []string{"a"}, none.Unknown(map[string]any{"a": 1}))
	}
	var typed *integrity.Typed[struct{}]
	require.NotEmpty(t, typed.Validate(&struct{}{}))
	require.NotEmpty(t, (&integrity.Typed[struct{}]{}).Validate(&struct{}{}))
}

package integrity

import (
	"encoding/csv"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// parseAll returns the records as text, the faults of those set aside, and the
// fault that ended the file.
func parseAll(tb testing.TB, r io.Reader, o CSVOptions) (records [][]string, faults []Fault, end *SourceError) {
	tb.Helper()
	o, err := o.check()
	require.NoError(tb, err)
	p := newParser(r, o)
	for {
		rec, more, err := p.next()
		p.resume, p.keep = o.ResumeAfterQuote, o.MaxRecord // as after a header
		if !more {
			require.NoError(tb, err)
			return records, faults, nil
		}
		if fault, lost := errors.AsType[*RowError](err); lost {
			faults = append(faults, fault.Fault)
			continue
		}
		if err != nil {
			require.ErrorAs(tb, err, &end)
			return records, faults, end
		}
		var cells []string
		for _, c := range rec.cells {
			cells = append(cells, c.text)
		}
		records = append(records, cells)
	}
}

func lostAt(line int, code Code) Fault { return Fault{Line: line, Code: code, Outcome: RowRejected} }

// A broken quote ends the file at its line: what follows may be the inside of
// a cell. Where reading shall go on it costs the line in which its record
// begins.
func TestABrokenQuoteEndsTheFileOrCostsOneRow(t *testing.T) {
	for name, tc := range map[string]struct {
		data    string     // after a header line
		before  [][]string // read without asking to go on
		line    int
		code    Code
		resumed [][]string
		faults  []Fault
	}{
		"never closed":      {"h\na,b\n\"c,d\ne,f\n", [][]string{{"a", "b"}}, 3, CodeQuoteOpen, [][]string{{"a", "b"}, {"e", "f"}}, []Fault{lostAt(3, CodeQuoteOpen)}},
		"in last line":      {"h\na,\"b", nil, 2, CodeQuoteOpen, nil, []Fault{lostAt(2, CodeQuoteOpen)}},
		"closed wrong":      {"h\n\"a,b\nc\"x,d\ne,f\n", nil, 3, CodeQuote, [][]string{{"e", "f"}}, []Fault{lostAt(2, CodeQuote), lostAt(3, CodeQuote)}},
		"bare quote":        {"h\na\"b,c\nd,e\n", nil, 2, CodeQuote, [][]string{{"d", "e"}}, []Fault{lostAt(2, CodeQuote)}},
		"space before":      {"h\na, \"b\nc\",d\ne,f\n", nil, 2, CodeQuote, [][]string{{"e", "f"}}, []Fault{lostAt(2, CodeQuote), lostAt(3, CodeQuote)}},
		"text after":        {"h\n\"a\"b,\"c\nd\",e\nf,g", nil, 2, CodeQuote, [][]string{{"f", "g"}}, []Fault{lostAt(2, CodeQuote), lostAt(3, CodeQuote)}},
		"two in a row":      {"h\n\"a\n\"b\nc,d\n", nil, 3, CodeQuote, [][]string{{"c", "d"}}, []Fault{lostAt(2, CodeQuote), lostAt(3, CodeQuoteOpen)}},
		"second cell":       {"h\na\n\"b\n\",\"c\n", [][]string{{"a"}}, 4, CodeQuoteOpen, [][]string{{"a"}}, []Fault{lostAt(3, CodeQuoteOpen), lostAt(4, CodeQuote)}},
		"return after it":   {"h\na\n\"b\"\r\"c\n\"\nd\n", [][]string{{"a"}}, 3, CodeQuote, [][]string{{"a"}, {"d"}}, []Fault{lostAt(3, CodeQuote), lostAt(4, CodeQuoteOpen)}},
		"return before it":  {"h\na\n\r\"b\nc\"\nd\n", [][]string{{"a"}}, 3, CodeQuote, [][]string{{"a"}, {"d"}}, []Fault{lostAt(3, CodeQuote), lostAt(4, CodeQuote)}},
		"feed after it":     {"h\ra\r\"b\"\n\"c\r\"\rd", [][]string{{"a"}}, 3, CodeQuote, [][]string{{"a"}, {"d"}}, []Fault{lostAt(3, CodeQuote), lostAt(4, CodeQuoteOpen)}},
		"in a lost record":  {"h\na\nb\rc,\"d\ne", [][]string{{"a"}}, 3, CodeQuoteOpen, [][]string{{"a"}, {"e"}}, []Fault{lostAt(3, CodeQuoteOpen)}},
		"returns as ends":   {"h\ra\r\"b\rc\rd", [][]string{{"a"}}, 3, CodeQuoteOpen, [][]string{{"a"}, {"c"}, {"d"}}, []Fault{lostAt(3, CodeQuoteOpen)}},
		"nothing is broken": {"h\n\"a\r\n\n\"\"b\",c\r\nd,e", [][]string{{"a\n\n\"b", "c"}, {"d", "e"}}, 0, "", [][]string{{"a\n\n\"b", "c"}, {"d", "e"}}, nil},
	} {
		for reader, r := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
			records, faults, end := parseAll(t, r(strings.NewReader(tc.data)), CSVOptions{})
			require.ElementsMatch(t, tc.before, records[1:], "%s, %s", name, reader)
			require.Empty(t, faults, name)
			if tc.code == "" {
				require.Nil(t, end, name)
			} else {
				require.Equal(t, &SourceError{Line: tc.line, Code: tc.code}, end, "%s, %s", name, reader)
			}
			records, faults, end = parseAll(t, r(strings.NewReader(tc.data)), CSVOptions{ResumeAfterQuote: true})
			require.Nil(t, end, name)
			require.ElementsMatch(t, tc.resumed, records[1:], "%s, %s", name, reader)
			require.Equal(t, tc.faults, faults, "%s, %s", name, reader)
		}
	}
}

// A record above a limit is passed over to its true end, however many lines
// it has: none of them is read as a row.
func TestARecordAboveALimitIsOneLostRow(t *testing.T) {
	long := strings.Repeat("x", 60)
	for name, tc := range map[string]struct {
		data   string
		want   [][]string
		faults []Fault
	}{
		"cell":            {"a," + strings.Repeat("y", 11) + ",b\nc\n", [][]string{{"a", "", "b"}, {"c"}}, nil},
		"line":            {long + ",c\nd,e\n", [][]string{{"d", "e"}}, []Fault{lostAt(1, CodeRecordTooLarge)}},
		"quoted line":     {"\"q\n" + long + "\nv,w\n\"\nd,e\n", [][]string{{"d", "e"}}, []Fault{lostAt(1, CodeRecordTooLarge)}},
		"many lines":      {"\"f\n" + strings.Repeat("g,h\n", 30) + "\"\"\ni,j\n\"\nd,e\n", [][]string{{"d", "e"}}, []Fault{lostAt(1, CodeRecordTooLarge)}},
		"cell over lines": {"\"f\ng,h\ni,j\nk,l\",m\nd,e\n", [][]string{{"", "m"}, {"d", "e"}}, nil},
		"last line":       {"d,e\n" + long, [][]string{{"d", "e"}}, []Fault{lostAt(2, CodeRecordTooLarge)}},
	} {
		for _, resume := range []bool{false, true} {
			records, faults, end := parseAll(t, strings.NewReader(tc.data), CSVOptions{MaxField: 10, MaxRecord: 40, ResumeAfterQuote: resume})
			require.Nil(t, end, name)
			require.Equal(t, tc.want, records, name)
			require.Equal(t, tc.faults, faults, name)
		}
	}
	records, faults, end := parseAll(t, strings.NewReader("a\n\"f\n"+strings.Repeat("g,h\n", 30)), CSVOptions{MaxField: 10, MaxRecord: 40, ResumeAfterQuote: true})
	require.Equal(t, [][]string{{"a"}}, records)
	require.Empty(t, faults)
	require.Equal(t, &SourceError{Line: 2, Code: CodeQuoteOpen}, end, "what is too large to be read again ends the file")
}

func TestTheFirstLineEndDecides(t *testing.T) {
	for data, tc := range map[string]struct {
		want   [][]string
		faults []Fault
	}{
		"a,b\rc,d\re,f":             {[][]string{{"a", "b"}, {"c", "d"}, {"e", "f"}}, nil},
		"a\r\r\rb\r":                {[][]string{{"a"}, {"b"}}, nil},
		"a\r":                       {[][]string{{"a"}}, nil},
		"a\r\r":                     {[][]string{{"a"}}, nil},
		"a,b\r\"c\rd\n\",e\rf,g\r":  {[][]string{{"a", "b"}, {"c\rd\n", "e"}, {"f", "g"}}, nil},
		"a,b\rc,d\ne,f\rg,h\r":      {[][]string{{"a", "b"}, {"g", "h"}}, []Fault{lostAt(2, CodeLineEnd)}},
		"a,b\nc,d\re,f\ng,h\n":      {[][]string{{"a", "b"}, {"g", "h"}}, []Fault{lostAt(2, CodeLineEnd)}},
		"a,b\r\nc,d\re,f\r\ng,h\r":  {[][]string{{"a", "b"}, {"g", "h"}}, []Fault{lostAt(2, CodeLineEnd)}},
		"a,b\n\"c\"\r,\"d\n\"\ne,f": {[][]string{{"a", "b"}, {"e", "f"}}, []Fault{lostAt(2, CodeLineEnd)}},
		"a,b\n\r\rc,d\ne,f":         {[][]string{{"a", "b"}, {"e", "f"}}, []Fault{lostAt(2, CodeLineEnd)}},
		"a\r\r\nb\r\r\n\"c\"\r\r\n": {[][]string{{"a"}, {"b"}, {"c"}}, nil},
		"\"a\r\nb\rc\"\rd":          {[][]string{{"a\nb\rc"}, {"d"}}, nil},
	} {
		for _, r := range []io.Reader{strings.NewReader(data), iotest.OneByteReader(strings.NewReader(data))} {
			records, faults, end := parseAll(t, r, CSVOptions{})
			require.Nil(t, end, "%q", data)
			require.Equal(t, tc.want, records, "%q", data)
			require.Equal(t, tc.faults, faults, "%q", data)
		}
	}
}

var loneReturn = regexp.MustCompile(`\r[^\n]`)

// A line of commas is counted and not stored.
func TestCellsBeyondTheLimitAreCountedOnly(t *testing.T) {
	o, err := CSVOptions{}.check()
	require.NoError(t, err)
	rec, more, err := newParser(strings.NewReader(strings.Repeat("x,", 70_000)+"\n"), o).next()
	require.NoError(t, err)
	require.True(t, more)
	require.Equal(t, 70_001, rec.count)
	require.Len(t, rec.cells, maxColumns)
}

// judgeAgainstTheLibrary holds the parser to encoding/csv, where the two are
// to agree: in all but lone carriage returns and cells that no text may be.
func judgeAgainstTheLibrary(tb testing.TB, data string) {
	records, faults, end := parseAll(tb, strings.NewReader(data), CSVOptions{})
	line := 0
	for _, fault := range faults {
		require.Greater(tb, fault.Line, line, "one fault a line")
		line = fault.Line
	}
	require.LessOrEqual(tb, len(records)+len(faults), strings.Count(data, "\n")+strings.Count(data, "\r")+1)
	if checkPlain(data) != "" || loneReturn.MatchString(data) {
		return
	}
	require.Empty(tb, faults)
	oracle := csv.NewReader(strings.NewReader(data))
	oracle.FieldsPerRecord = -1
	var want [][]string
	for {
		record, err := oracle.Read()
		if err == io.EOF {
			require.Nil(tb, end)
			break
		}
		if err != nil {
			require.NotNil(tb, end, "encoding/csv finds a fault")
			break
		}
		want = append(want, record)
	}
	require.Equal(tb, want, records)
}

func TestWhatTheLibraryReadsIsReadAlike(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", "b c", ",", ",,", "\"", "\"\"", "\n", "\r\n", "\n\n", ";", "=\"", " "})
	rapid.Check(t, func(r *rapid.T) {
		judgeAgainstTheLibrary(t, strings.Join(rapid.SliceOfN(piece, 0, 30).Draw(r, "pieces"), ""))
	})
}

// What encoding/csv writes comes back, however hostile the cells, and nothing
// else does.
func TestNoRowIsBornInsideACell(t *testing.T) {
	piece := rapid.SampledFrom([]string{"\nevil@attacker.example,VIP\n", "\"", "\"\"", "\",", ",\"", "\r\n", "\r", "\n", "x", ",", strings.Repeat("y", 30)})
	text := rapid.Custom(func(r *rapid.T) string { return strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(r, "cell"), "") })
	rapid.Check(t, func(r *rapid.T) {
		var file strings.Builder
		w := csv.NewWriter(&file)
		rows := rapid.SliceOfN(rapid.SliceOfN(text, 2, 3), 1, 6).Draw(r, "rows")
		_ = w.Write([]string{"head", "two"})
		for _, row := range rows {
			_ = w.Write(row)
		}
		w.Flush()
		o := CSVOptions{MaxField: 60, MaxRecord: 150, ResumeAfterQuote: rapid.Bool().Draw(r, "resume")}
		records, faults, end := parseAll(t, strings.NewReader(file.String()), o)
		require.Nil(t, end)
		require.Len(t, records, 1+len(rows)-len(faults))
		records = records[1:]
		for _, row := range rows {
			if len(records) > 0 && sameCells(row, records[0]) {
				records = records[1:]
			}
		}
		require.Empty(t, records, "each record is one of the rows written, in their order")
	})
}

// sameCells compares a row with a record of it, whose cells may be left out
// and have had their line ends made one kind.
func sameCells(row, got []string) bool {
	if len(row) != len(got) {
		return false
	}
	for i := range row {
		if got[i] != "" && got[i] != strings.ReplaceAll(row[i], "\r\n", "\n") {
			return false
		}
	}
	return true
}

// Whatever encoding/csv reads without an error, the parser reads alike; and no
// input makes it stop, repeat itself or lose a line number.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\nc,d\n", "\"a\r\nb\",c\r\n", "\"a\"\"b\"", "a\"b\n\"c", ",\n\n,", "\"", "a,\"b\nc\nd", "\r\n\r", "\"a\"\r", "x\ry\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		judgeAgainstTheLibrary(t, data)
		whole, faults, end := parseAll(t, strings.NewReader("h\n"+data), CSVOptions{ResumeAfterQuote: true})
		require.Nil(t, end)
		parts, again, end := parseAll(t, iotest.OneByteReader(strings.NewReader("h\n"+data)), CSVOptions{ResumeAfterQuote: true})
		require.Nil(t, end)
		require.Equal(t, whole, parts)
		require.Equal(t, faults, again)
	})
}

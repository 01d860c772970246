package integrity

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parseAll returns the records as text and the faults.
func parseAll(tb testing.TB, data string, o CSVOptions) (records [][]string, faults []Fault) {
	tb.Helper()
	o, err := o.check()
	require.NoError(tb, err)
	p := newParser(strings.NewReader(data), o)
	for {
		rec, err := p.next()
		if errors.Is(err, io.EOF) {
			return records, faults
		}
		if fault, lost := errors.AsType[*RowError](err); lost {
			faults = append(faults, fault.Fault)
			continue
		}
		require.NoError(tb, err)
		var cells []string
		for _, c := range rec.cells {
			cells = append(cells, c.text)
		}
		records = append(records, cells)
	}
}

func TestAnOpenQuoteCostsOneRow(t *testing.T) {
	for name, tc := range map[string]struct {
		data   string
		want   [][]string
		faults []Fault
	}{
		"never closed":  {"a,b\n\"c,d\ne,f\n", [][]string{{"a", "b"}, {"e", "f"}}, []Fault{{Line: 2, Code: CodeQuoteOpen, Outcome: RowRejected}}},
		"in last line":  {"a,\"b", nil, []Fault{{Line: 1, Code: CodeQuoteOpen, Outcome: RowRejected}}},
		"closed wrong":  {"\"a,b\nc\"x,d\ne,f\n", [][]string{{"e", "f"}}, []Fault{{Line: 1, Code: CodeQuote, Outcome: RowRejected}, {Line: 2, Code: CodeQuote, Outcome: RowRejected}}},
		"bare quote":    {"a\"b,c\nd,e\n", [][]string{{"d", "e"}}, []Fault{{Line: 1, Code: CodeQuote, Outcome: RowRejected}}},
		"text after":    {"\"a\"b,c\nd,e\n", [][]string{{"d", "e"}}, []Fault{{Line: 1, Code: CodeQuote, Outcome: RowRejected}}},
		"two in a row":  {"\"a\n\"b\nc,d\n", [][]string{{"c", "d"}}, []Fault{{Line: 1, Code: CodeQuote, Outcome: RowRejected}, {Line: 2, Code: CodeQuoteOpen, Outcome: RowRejected}}},
		"several lines": {"\"a\r\n\n\"\"b\",c\nd,e", [][]string{{"a\n\n\"b", "c"}, {"d", "e"}}, nil},
	} {
		records, faults := parseAll(t, tc.data, CSVOptions{})
		require.Equal(t, tc.want, records, name)
		require.Equal(t, tc.faults, faults, name)
	}
}

func TestLimitsHold(t *testing.T) {
	o := CSVOptions{MaxField: 10, MaxRecord: 40}
	long := strings.Repeat("x", 60)
	records, faults := parseAll(t, "a,"+strings.Repeat("y", 11)+",b\n"+long+",c\n\"q\n"+long+"\nd,e\n\"f\n1234567890\n1234567890\n1234567890\n1234567890\n", o)
	require.Equal(t, []string{"a", "", "b"}, records[0])
	require.Contains(t, records, []string{"d", "e"})
	codes := map[int]Code{}
	for _, f := range faults {
		codes[f.Line] = f.Code
	}
	require.Equal(t, map[int]Code{2: CodeRecordTooLarge, 3: CodeRecordTooLarge, 4: CodeRecordTooLarge, 6: CodeRecordTooLarge}, codes)
}

// 70,000 lines inside a quote are more than a record may have; afterwards all
// of them are rows again.
func TestARecordHasALimitOfLines(t *testing.T) {
	records, faults := parseAll(t, "\"a\n"+strings.Repeat("b\n", 70_000), CSVOptions{})
	require.Len(t, records, 70_000)
	require.Equal(t, []Fault{{Line: 1, Code: CodeRecordTooLarge, Outcome: RowRejected}}, faults)
}

// Whatever encoding/csv reads without an error, the parser reads alike; and no
// input makes it stop, repeat itself or lose a line number.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\nc,d\n", "\"a\r\nb\",c\r\n", "\"a\"\"b\"", "a\"b\n\"c", ",\n\n,", "\"", "a,\"b\nc\nd", "\r\n\r", "\"a\"\r", "x\ry\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		records, faults := parseAll(t, data, CSVOptions{})
		line := 0
		for _, fault := range faults {
			require.Greater(t, fault.Line, line, "one fault a line")
			line = fault.Line
		}
		require.LessOrEqual(t, len(records)+len(faults), strings.Count(data, "\n")+1)
		if strings.ContainsRune(data, 0) || checkPlain(data) != "" {
			return // cells that cannot be read come out empty
		}
		oracle := csv.NewReader(strings.NewReader(data))
		oracle.FieldsPerRecord = -1
		want, err := oracle.ReadAll()
		if err != nil {
			require.NotEmpty(t, faults, "encoding/csv finds a fault")
			return
		}
		require.Empty(t, faults)
		require.Equal(t, want, records)
	})
}

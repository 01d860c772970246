package integrity_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

// fileRun is what an import of one file came to.
type fileRun struct {
	report  integrity.Report
	err     error
	rows    []integrity.Accepted
	rejects string
	faults  []integrity.Fault
}

func importFile(tb testing.TB, file string, change ...func(*integrity.CSVOptions, *integrity.ImportOptions)) fileRun {
	tb.Helper()
	var run fileRun
	var rejects bytes.Buffer
	csv := integrity.CSVOptions{Columns: integrity.KnownHeaders()}
	options := integrity.ImportOptions{
		Schema: contactSchema(tb), Unique: []string{"email"}, Rejects: &rejects,
		Fault: func(f integrity.Fault) error { run.faults = append(run.faults, f); return nil },
	}
	for _, c := range change {
		c(&csv, &options)
	}
	run.report, run.err = integrity.Import(tb.Context(), integrity.CSV(strings.NewReader(file), csv), options, collect(&run.rows))
	run.rejects = rejects.String()
	require.Equal(tb, run.report.Read, run.report.Accepted+run.report.Rejected, "read = accepted + rejected")
	return run
}

const head = "First Name,Surname,E-Mail,Phone,Shoe Size\n"

// Each kind of bad input, with the line and the outcome that it must get; the
// good rows around it go on.
func TestBadInputByLine(t *testing.T) {
	good, last := "Ann,A,ann@a.example,12345,39\n", "Bob,B,bob@b.example,,\n"
	for name, tc := range map[string]struct {
		middle  string
		rejects string
		read    int
	}{
		"too few columns":        {"Eve,E,eve@e.example\n", "3,,too_few_columns,row_rejected\n", 3},
		"too many columns":       {"Eve,E,eve@e.example,1,2,3\n", "3,,too_many_columns,row_rejected\n", 3},
		"return in a line":       {"Eve,E,eve@e.example,\r,\n", "3,,line_end,row_rejected\n", 3},
		"invalid UTF-8 required": {"Eve,E,eve\xff@e.example,,\n", "3,email,invalid_utf8,row_rejected\n", 3},
		"invalid UTF-8 optional": {"Eve,E,eve@e.example,1\xff2345,\n", "3,phone,invalid_utf8,field_dropped\n", 3},
		"invalid UTF-8 unknown":  {"Eve,E,eve@e.example,,\xff\n", "3,column 5,invalid_utf8,field_dropped\n", 3},
		"NUL required":           {"Eve,E,eve\x00@e.example,,\n", "3,email,nul,row_rejected\n", 3},
		"NUL optional":           {"Eve,E,eve@e.example,\x00,\n", "3,phone,nul,field_dropped\n", 3},
		"10 MB optional":         {"Eve,E,eve@e.example,," + strings.Repeat("x", 10<<20) + "\n", "3,column 5,field_too_large,field_dropped\n", 3},
		"10 MB required":         {"Eve,E,\"" + strings.Repeat("x\n", 30_000) + strings.Repeat("x", 10<<20) + "\",,\n", "3,email,field_too_large,row_rejected\n", 3},
		"duplicate e-mail":       {"Eve,E,\" ANN@a.example\",,\n", "3,email,duplicate,row_rejected\n", 3},
		"no e-mail":              {"Eve,E,,,\n", "3,email,required,row_rejected\n", 3},
		"blank e-mail":           {"Eve,E,\" \",,\n", "3,email,required,row_rejected\n", 3},
		"no name":                {",\" \",eve@e.example,,\n", "3,first_name,required_any,row_rejected\n", 3},
		"only name is broken":    {"E\xffve,,eve@e.example,,\n", "3,first_name,invalid_utf8,row_rejected\n3,first_name,required_any,row_rejected\n", 3},
		"not an e-mail":          {"Eve,E,eve at e,x,\n", "3,email,email,row_rejected\n", 3},
		"bad phone":              {"Eve,E,eve@e.example,5.5E+15,\n", "3,phone,phone,field_dropped\n", 3},
		"quotes over lines":      {"Eve,\"E\"\"x\",eve@e.example,,\"3\n9\"\n", "", 3},
		"name over lines":        {"\"Eve\nMary\",E,eve@e.example,,\n", "3,first_name,control,field_dropped\n", 3},
		"unknown with ESC":       {"Eve,E,eve@e.example,,\x1b[2J\n", "3,column 5,control,field_dropped\n", 3},
		"invisible e-mail":       {"Eve,E,\u200b\u00a0,,\n", "3,email,required,row_rejected\n", 3},
		"empty lines":            {"\n\r\n\n", "", 2},
		"CRLF":                   {"Eve,E,eve@e.example,,\r\n", "", 3},
	} {
		t.Run(name, func(t *testing.T) {
			run := importFile(t, head+good+tc.middle+last)
			require.NoError(t, run.err)
			require.Equal(t, "line,field,code,outcome\n"+tc.rejects, run.rejects)
			require.Equal(t, tc.read, run.report.Read)
			require.Equal(t, min(1, strings.Count(tc.rejects, "row_rejected")), run.report.Rejected)
			require.Equal(t, strings.Count(tc.rejects, "field_dropped"), run.report.FieldsDropped)
			require.Equal(t, "ann@a.example", run.rows[0].Values["email"])
			require.Equal(t, "bob@b.example", run.rows[len(run.rows)-1].Values["email"], "good rows go on")
			require.Equal(t, strings.Count(head+good+tc.middle, "\n")+1, run.rows[len(run.rows)-1].Line)
			require.Equal(t, run.report.Accepted, run.report.Delivered)
		})
	}
}

func TestAFileThatCannotBeReadSaysWhyAndWhere(t *testing.T) {
	broken := errors.New("disk")
	for name, tc := range map[string]struct {
		file io.Reader
		line int
		code integrity.Code
	}{
		"empty":            {strings.NewReader(""), 1, integrity.CodeEmptyFile},
		"only a mark":      {strings.NewReader("\xef\xbb\xbf"), 1, integrity.CodeEmptyFile},
		"only empty lines": {strings.NewReader("\n\r\n"), 2, integrity.CodeEmptyFile},
		"no known heading": {strings.NewReader("\nfoo,bar\n1,2\n"), 2, integrity.CodeHeaderUnknown},
		"header quote":     {strings.NewReader("e\"mail,x\n"), 1, integrity.CodeHeaderInvalid},
		"header not UTF-8": {strings.NewReader("email,x\xff\n"), 1, integrity.CodeHeaderInvalid},
		"header override":  {strings.NewReader("email,x\u202e\n"), 1, integrity.CodeHeaderInvalid},
		"quote in a cell":  {strings.NewReader("email\na@b.example\nb \"B\"\nc@b.example\n"), 3, integrity.CodeQuote},
		"open quote":       {strings.NewReader("email\na@b.example\n\"b@b.example\nc@b.example\n"), 3, integrity.CodeQuoteOpen},
		"header NUL":       {strings.NewReader("email,x\x00\n"), 1, integrity.CodeHeaderInvalid},
		"header too wide":  {strings.NewReader("email" + strings.Repeat(",", 5000) + "\n"), 1, integrity.CodeHeaderInvalid},
		"UTF-16":           {strings.NewReader("\xff\xfee\x00"), 1, integrity.CodeEncoding},
		"UTF-16 big":       {strings.NewReader("\xfe\xff\x00e"), 1, integrity.CodeEncoding},
		"reader fails":     {io.MultiReader(strings.NewReader("email\na@b.example\n"), iotest.ErrReader(broken)), 3, integrity.CodeRead},
		"reader fails now": {iotest.ErrReader(broken), 1, integrity.CodeRead},
	} {
		t.Run(name, func(t *testing.T) {
			options := integrity.ImportOptions{Schema: emailOnly(t), ReportOnly: true}
			report, err := integrity.Import(t.Context(), integrity.CSV(tc.file, integrity.CSVOptions{Columns: integrity.KnownHeaders()}), options, nil)
			require.ErrorIs(t, err, integrity.ErrSource)
			source, ok := errors.AsType[*integrity.SourceError](err)
			require.True(t, ok)
			require.Equal(t, tc.code, source.Code)
			require.Equal(t, tc.line, source.Line)
			require.Equal(t, report.Read, report.Accepted+report.Rejected)
			if tc.code == integrity.CodeHeaderUnknown {
				require.ErrorContains(t, err, "CSVOptions.Columns", "what to do")
			}
			if tc.code == integrity.CodeRead {
				require.ErrorIs(t, err, broken)
			}
			require.NotContains(t, err.Error(), "foo")
		})
	}
}

func emailOnly(tb testing.TB) *integrity.Schema {
	tb.Helper()
	schema, err := integrity.NewSchema("s", integrity.Field{Name: "email", Type: integrity.Email})
	require.NoError(tb, err)
	return schema
}

func TestAHeaderAloneIsAnEmptyImport(t *testing.T) {
	run := importFile(t, "\xef\xbb\xbfEmail")
	require.NoError(t, run.err)
	require.Zero(t, run.report.Read)
}

func TestHeadingsAreRecognised(t *testing.T) {
	for export, header := range map[string]string{
		"FakeNameGenerator": "GivenName,Surname,EmailAddress,TelephoneNumber,Country",
		"HubSpot":           "First Name,Last Name,Email,Phone Number,Country/Region",
		"Salesforce":        "FirstName,LastName,Email,Phone,MailingCountryCode",
		"ours":              "first_name,last_name,email,phone,country",
		"Chinese":           "名,姓,邮箱,电话,国家",
		"Chinese variants":  "名,姓氏,电子邮箱,联系电话,国家",
		"German":            "Vorname,Nachname,E-Mail-Adresse,Telefonnummer,Land",
	} {
		run := importFile(t, "\xef\xbb\xbf"+header+"\nAnn,A,a@a.example,12345,ch\n")
		require.NoError(t, run.err, export)
		require.Equal(t, map[string]any{"first_name": "Ann", "last_name": "A", "email": "a@a.example", "phone": "12345", "country": "CH"}, run.rows[0].Values, export)
		require.Empty(t, run.rows[0].Custom)
	}
}

// Whole names, notes and addresses have headings of their own in each
// language; a bare "Name" stays a column that nobody knows.
func TestHeadingsOfWholeNamesAndNotesAreRecognised(t *testing.T) {
	for header, want := range map[string][]string{
		"姓名,手机号码,地址,公司,备注":                             {"full_name", "mobile_phone", "street", "company", "note"},
		"联系人,手机,联系地址,单位,说明":                            {"full_name", "mobile_phone", "street", "company", "note"},
		"Ansprechpartner,Handy,Straße,Firma,Bemerkung": {"full_name", "mobile_phone", "street", "company", "note"},
		"Full Name,Mobile,Address,Company,Notes":       {"full_name", "mobile_phone", "street", "company", "note"},
		"Name,PLZ,Ort,Postleitzahl,email":              {"Name", "postal_code", "city", "Postleitzahl", "email"},
	} {
		for row, err := range integrity.CSV(strings.NewReader(header+"\na,b,c,d,e\n"), integrity.CSVOptions{Columns: integrity.KnownHeaders()}) {
			require.NoError(t, err)
			require.ElementsMatch(t, want, slices.Collect(maps.Keys(row.Values)), header)
		}
	}
}

func TestColumnsBecomeCustomDroppedOrRenamed(t *testing.T) {
	run := importFile(t, "email,Shoe Size,Password,shoe size,Phone,Business Phone,,E-MAIL,cvv2\n"+
		"a@a.example,39,secret,40,12345,67890,x,b@b.example,\nb@b.example,,,,,,,,123\n")
	require.NoError(t, run.err)
	require.Len(t, run.rows, 0, "no names")
	run = importFile(t, "name,email,Shoe Size,Password,shoe size,Phone,Business Phone,,E-MAIL,cvv2,surname\n"+
		"n,a@a.example,39,secret,40,12345,67890,x,b@b.example,,s\n,b@b.example,,,,,,,,123,t\n")
	require.NoError(t, run.err)
	require.Equal(t, map[string]any{"name": "n", "Shoe Size": "39", "shoe size": "40", "Business Phone": "67890", "column 8": "x", "E-MAIL": "b@b.example"}, run.rows[0].Custom)
	require.Equal(t, map[string]int{"Password": 1, "CVV2": 1}, run.report.ColumnsDropped)
	require.NotContains(t, fmt.Sprint(run.rows), "secret")
	require.NotContains(t, fmt.Sprint(run.rows), "123}")
	require.Equal(t, []integrity.Fault{
		{Line: 1, Column: 5, Code: integrity.CodeHeaderDuplicate, Outcome: integrity.ColumnRenamed},
		{Line: 1, Column: 9, Code: integrity.CodeHeaderDuplicate, Outcome: integrity.ColumnRenamed},
	}, run.faults)
	require.Contains(t, run.rejects, "1,column 5,header_duplicate,column_renamed\n")
	require.Equal(t, 2, run.report.Read, "a heading is no row")
}

func TestWithoutATableHeadingsStandAsTheyAre(t *testing.T) {
	var rows []integrity.Row
	for row, err := range integrity.CSV(strings.NewReader("b;a;a\n1;2;3\n"), integrity.CSVOptions{Comma: ';'}) {
		if err != nil {
			fault, ok := errors.AsType[*integrity.RowError](err)
			require.True(t, ok)
			require.Equal(t, "integrity: line 1: column 3: header_duplicate: column_renamed", fault.Error())
			continue
		}
		rows = append(rows, row)
	}
	require.Len(t, rows, 1)
	require.Equal(t, 2, rows[0].Line)
	require.Equal(t, map[string]any{"b": "1", "a": "2", "a (2)": "3"}, rows[0].Values)
}

func TestBadCSVOptionsAreErrors(t *testing.T) {
	for name, o := range map[string]integrity.CSVOptions{
		"comma":       {Comma: '"'},
		"wide comma":  {Comma: 0xe9},
		"field limit": {MaxField: -1},
		"limits":      {MaxField: 10, MaxRecord: 5},
		"two fields":  {Columns: integrity.Columns{Known: map[string][]string{"a": {"x"}, "b": {"X"}}}},
		"no letters":  {Columns: integrity.Columns{Known: map[string][]string{"a": {"-"}}}},
		"both":        {Columns: integrity.Columns{Known: map[string][]string{"a": nil}, Drop: []string{"A"}}},
		"empty drop":  {Columns: integrity.Columns{Drop: []string{""}}},
	} {
		for _, err := range integrity.CSV(strings.NewReader("a\n"), o) {
			require.ErrorIs(t, err, integrity.ErrConfig, name)
		}
	}
	for _, err := range integrity.CSV(nil, integrity.CSVOptions{}) {
		require.ErrorIs(t, err, integrity.ErrConfig)
	}
}

func TestTheCallerMayStopAnywhere(t *testing.T) {
	for stop := range 4 {
		n := 0
		for range integrity.CSV(strings.NewReader("email,email\na\na,b\nb,c\n"), integrity.CSVOptions{}) {
			if n++; n > stop {
				break
			}
		}
		require.Equal(t, stop+1, n)
	}
}

func TestKnownHeadersAreOnesOwn(t *testing.T) {
	integrity.KnownHeaders().Known["email"][0] = "changed"
	require.Equal(t, "Email", integrity.KnownHeaders().Known["email"][0])
}

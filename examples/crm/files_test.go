package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// notShownIn lists what a run could not show.
func notShownIn(r report) []string {
	var out []string
	for _, st := range r.Steps {
		for _, m := range st.NotShown {
			out = append(out, m.What)
		}
	}
	slices.Sort(out)
	return out
}

// Whatever file people bring, the tour goes to its end, shows all that the file
// allows, and counts what it does not allow as not shown.
func TestTheTourGoesThroughFilesOfManyShapes(t *testing.T) {
	all := shapes()
	require.GreaterOrEqual(t, len(all), 30)
	for i, s := range all {
		t.Run(s.name, func(t *testing.T) {
			if i%shapesStride != 0 {
				return // one of several in this build, see race_on_test.go
			}
			t.Parallel()
			goThrough(t, s, uint64(i))
		})
	}
}

func goThrough(t *testing.T, s shape, seed uint64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "contacts.csv")
	require.NoError(t, os.WriteFile(path, s.write(rand.New(rand.NewPCG(7, seed)), s.rows), 0o600))
	dir, output, code := tourOf(t, "-contacts", path)
	require.Zero(t, code, output)
	r := readReport(t, dir)
	require.True(t, r.OK)
	require.Len(t, r.Steps, 12)

	accepted := s.accepted
	if accepted == 0 {
		accepted = s.rows
	}
	require.Equal(t, accepted, figures(t, r, "import")["accepted"])
	require.Equal(t, figures(t, r, "import")["read"], accepted+figures(t, r, "import")["rejected"])

	// What cannot be shown is said three times: where it belongs, in the report
	// and at the end; and everything else is shown.
	require.Equal(t, append([]string(nil), s.notShown...), notShownIn(r))
	whole, inPart, notAtAll := 0, 0, 0
	for _, st := range r.Steps {
		require.True(t, st.OK)
		require.Equal(t, outcomeOf(st.Name, st.NotShown), st.Outcome)
		switch st.Outcome {
		case holds:
			whole++
		case holdsInPart:
			inPart++
		case couldNotShow:
			notAtAll++
		case failedToHold:
			t.Errorf("%s failed", st.Name)
		}
		for _, m := range st.NotShown {
			require.True(t, m.What == st.Name || strings.HasPrefix(m.What, st.Name+"."))
			require.Contains(t, unwrapped(output), "NOT SHOWN: "+m.Why)
			require.Contains(t, unwrapped(output), "not shown: "+m.What+": "+m.Why)
		}
	}
	require.Equal(t, whole+inPart, r.Shown)
	require.Equal(t, notAtAll, r.NotShown)
	require.Contains(t, output, fmt.Sprintf("%d of 12 steps hold", whole))
	require.Equal(t, notAtAll+inPart > 0, strings.Contains(unwrapped(output[strings.LastIndex(output, " of 12 steps hold"):]), "("))

	require.Equal(t, slices.Contains(s.notShown, "find"), figures(t, r, "find")["asked"] == 0)
	require.Equal(t, 9, figures(t, r, "tamper")["caught"])
	require.Equal(t, 5*accepted, figures(t, r, "filter")["comparisons"])
	require.Positive(t, figures(t, r, "rotation")["reads"])
	require.Positive(t, figures(t, r, "disaster")["equal"])
	require.Positive(t, figures(t, r, "search")["found_before"], "a search that cannot find proves nothing")
	require.Zero(t, figures(t, r, "search")["found_after"])
	require.Equal(t, slices.Contains(s.notShown, "search.values"), !fileTraced(figures(t, r, "search")))
	for line := range strings.Lines(strings.ReplaceAll(output, dir, "DIR")) {
		require.LessOrEqual(t, columns(strings.TrimSuffix(line, "\n")), width, "a line is wider than the screen: %s", line)
	}
}

func fileTraced(search map[string]int) bool { return search["from_file"] > 0 }

// unwrapped is the text without its line breaks and indents.
func unwrapped(output string) string { return strings.Join(strings.Fields(output), " ") }

// A large file goes through as a small one does. CRM_ROWS asks for more
// rows than fit in a run of all tests, such as 3000 or 100000.
func TestTheTourWithAsManyRowsAsAreAskedFor(t *testing.T) {
	rows := manyRows
	if asked := os.Getenv("CRM_ROWS"); asked != "" {
		var err error
		rows, err = strconv.Atoi(asked)
		require.NoError(t, err)
	}
	goThrough(t, shape{name: "many rows", rows: rows, notShown: noCountry, write: usual(';', german)}, 1)
}

// What cannot be shown is refused before anything is written, with a word on
// what is needed.
func TestAFileThatCannotBeShownIsRefusedAndNothingIsWritten(t *testing.T) {
	latin1 := func(text string) []byte {
		var out []byte
		for _, r := range text {
			out = append(out, byte(r))
		}
		return out
	}
	for name, tc := range map[string]struct {
		file []byte
		says []string
	}{
		"empty":                {nil, []string{"it is empty", "a line of headings"}},
		"blank lines":          {[]byte("\r\n\n  \n"), []string{"it is empty"}},
		"a mark alone":         {[]byte("\ufeff"), []string{"it is empty"}},
		"headings alone":       {[]byte("Email,First Name\n"), []string{"0 rows read, 0 can be used", "at least 2 contacts"}},
		"one row":              {[]byte("Email,First Name\nx@post.example,X\n"), []string{"1 row read, 1 can be used", "at least 2 contacts"}},
		"one usable row":       {[]byte("Email\nx@post.example\nnobody\n,\n"), []string{"1 can be used", "1 row: email", "1 row: too_many_columns", "at least 2 contacts"}},
		"one person twice":     {[]byte("Email,Name\nx@post.example,X\nX@post.example,X\n"), []string{"2 rows are about one person"}},
		"no known column":      {[]byte("a,b\n1,2\n"), []string{"no heading is known", "header_unknown", "邮箱"}},
		"no usable column":     {[]byte("Phone;City\n1234567;Bern\n7654321;Bern\n"), []string{"city, phone are known, none for e-mail addresses or names"}},
		"no headings":          {[]byte("x@post.example,X\ny@post.example,Y\n"), []string{"no heading is known"}},
		"headings in Latin-1":  {latin1("E-Mail;Straße\nx@post.example;a\ny@post.example;b\n"), []string{"headings are not UTF-8", "CSV UTF-8"}},
		"cells in Latin-1":     {latin1("E-Mail;Name\nx@post.example;Zoë\ny@post.example;Jürgen\nz@post.example;Ann\n"), []string{"2 rows of 3 hold bytes that are not UTF-8", "CSV UTF-8"}},
		"names in Latin-1":     {latin1("Name\nZoë\nJürgen\n"), []string{"2 rows of 2 hold bytes that are not UTF-8"}},
		"one name in Latin-1":  {latin1("Name\nZoë\nAnn\n"), []string{"1 can be used", "CSV UTF-8", "at least 2"}},
		"UTF-16 without mark":  {inUTF16NoMark("Email,Name\nx@post.example,X\ny@post.example,Y\n"), []string{"headings are not UTF-8"}},
		"a picture":            {append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), make([]byte, 300)...), []string{"headings are not UTF-8"}},
		"a folder":             {[]byte("folder"), []string{"it is a folder"}},
		"a file that is not":   {[]byte("missing"), []string{"no such file", "a CSV file with a line of headings"}},
		"a quote never closed": {[]byte("Email,Name\nx@post.example,\"X\ny@post.example,Y\n"), []string{"a quote mark in line 2", "doubled inside"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "in.csv")
			switch string(tc.file) {
			case "missing":
			case "folder":
				require.NoError(t, os.Mkdir(path, 0o700))
			default:
				require.NoError(t, os.WriteFile(path, tc.file, 0o600))
			}
			dir, output, code := tourOf(t, "-contacts", path)
			require.Equal(t, 2, code, output)
			for _, says := range append(tc.says, "crm: in.csv cannot be shown: ", "needed: ") {
				require.Contains(t, output, says)
			}
			require.NotContains(t, output, "post.example", "a value of the file")
			_, err := os.Stat(dir)
			require.ErrorIs(t, err, os.ErrNotExist, "the folder was made although nothing was begun")
		})
	}
}

func inUTF16NoMark(text string) []byte {
	var out []byte
	for _, r := range text {
		out = append(out, byte(r), 0)
	}
	return out
}

// What is read once only, such as a pipe, is read once.
func TestContactsCanComeThroughAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	go func() {
		_, _ = w.WriteString("Email\nx@post.example\ny@post.example\n")
		_ = w.Close()
	}()
	path := fmt.Sprintf("/dev/fd/%d", r.Fd())
	if _, err := os.Stat(path); err != nil {
		t.Logf("this system does not name open files (%v): the pipe was not tried", err)
		return
	}
	source, err := findSource(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, 2, source.survey.Accepted)
}

// The meaning of a bare "Name" depends on the columns beside it.
func TestABareNameIsWhatTheColumnsBesideItLeave(t *testing.T) {
	for headings, want := range map[string][]string{
		"Name,Email":         {"email", "full_name"},
		"Name;Vorname":       {"first_name", "last_name"},
		"Name\tSurname":      {"first_name", "last_name"},
		"姓|名字":               {"first_name", "last_name"},
		"Vorname;Name;姓名":    {"first_name", "last_name"}, // 姓名 stays a column of its own or the whole name
		"First Name,Surname": {"first_name", "last_name"},
	} {
		l, err := detect(strings.NewReader(headings + "\n"))
		require.NoError(t, err)
		for _, field := range want {
			require.Contains(t, l.fields, field, headings)
		}
	}
}

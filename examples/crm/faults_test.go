package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// One file with everything that exports get wrong: each fault is named by its
// line, and the good rows around it go on.
func TestFaultsOfExportsAreNamedByLineAndGoodRowsGoOn(t *testing.T) {
	var file strings.Builder
	line := 1
	want := map[string]string{} // "line,field,code,outcome"
	add := func(row string) int {
		at := line
		file.WriteString(row + "\n")
		line += strings.Count(row, "\n") + 1
		return at
	}
	good := 0
	addGood := func() {
		good++
		add(fmt.Sprintf(`good%d@post.example,Good,Person%d,"Street, %d",note`, good, good, good))
	}
	file.WriteString("\ufeff")
	add("Email,First Name,Last Name,Street Address,Remark")
	for range 12 {
		addGood()
	}
	good++
	add("quotes@post.example,Two,Lines,\"Street\nwith a \"\"second\"\" line\",note")
	addGood()
	good++
	add("few@post.example,Too") // empty cells at the end may be left out
	addGood()
	want["too many columns"] = fmt.Sprintf("%d,,too_many_columns,row_rejected", add("many@post.example,Too,Many,Street,note,more,more"))
	addGood()
	want["invalid UTF-8"] = fmt.Sprintf("%d,street,invalid_utf8,field_dropped", add("utf8@post.example,In,Valid,\xff\xfe,note"))
	good++
	want["NUL"] = fmt.Sprintf("%d,street,nul,field_dropped", add("nul@post.example,Nul,Byte,a\x00b,note"))
	good++
	want["10 MB field"] = fmt.Sprintf("%d,street,field_too_large,field_dropped", add("big@post.example,Big,Field,"+strings.Repeat("x", 10<<20)+",note"))
	good++
	want["duplicate e-mail"] = fmt.Sprintf("%d,email,duplicate,row_rejected", add("GOOD1@post.example,Again,Person,Street,note"))
	good++
	want["faulty e-mail"] = fmt.Sprintf("%d,email,email,field_dropped", add("no address,No,Address,Street,note"))
	want["faulty e-mail alone"] = fmt.Sprintf("%d,email,email,row_rejected", add("no address,,,Street,note"))
	for range 8 {
		addGood()
	}

	path := filepath.Join(t.TempDir(), "export.csv")
	require.NoError(t, os.WriteFile(path, []byte(file.String()), 0o600))
	c, err := newCRM(t.Context(), settings{contacts: path}, t.TempDir(), newScreen(io.Discard))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.close() })
	require.NoError(t, importContacts(t.Context(), c))

	require.Equal(t, good, c.figures["accepted"])
	require.Equal(t, 3, c.figures["rejected"])
	require.Equal(t, c.figures["read"], c.figures["accepted"]+c.figures["rejected"])
	rejected, err := os.ReadFile(c.path("rejected.csv"))
	require.NoError(t, err)
	for fault, row := range want {
		require.Contains(t, string(rejected), "\n"+row+"\n", fault)
	}
	for _, value := range []string{"few@", "no address", "xxxxx", "post.example"} {
		require.NotContains(t, string(rejected), value, "a value in the list of rejects")
	}
	quoted, err := c.lookUp(t.Context(), "quotes@post.example")
	require.NoError(t, err)
	require.Len(t, quoted, 1)
	require.Equal(t, "Street\nwith a \"second\" line", c.byID[quoted[0]].values["street"])
}

// What the traffic writes may stand under the new key already: such a change is
// none between the rewriter's reading and its writing.
func TestTheChangeInBetweenIsOfAFieldThatTheTrafficLeavesAlone(t *testing.T) {
	c := &crm{}
	for _, values := range []map[string]string{
		{"job_title": "Gardener", "full_name": "Anna"},
		{"job_title": "Gardener", "email": "anna@post.example"},
		{"job_title": "Gardener", "city": "Bern", "last_name": "Anna"},
	} {
		field, value := c.changeable(&person{values: values})
		require.NotEqual(t, "job_title", field)
		require.NotEmpty(t, values[field], "only a field that is there is rewritten")
		require.NotEmpty(t, value)
	}
}

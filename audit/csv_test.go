package audit_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// lines reads an export as somebody else's program does: by the names of the first
// line.
func lines(t *testing.T, text string) (out []map[string]string) {
	t.Helper()
	require.True(t, utf8.ValidString(text))
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	require.NoError(t, err)
	for _, row := range rows[1:] {
		m := make(map[string]string)
		for i, name := range rows[0] {
			m[name] = row[i]
		}
		out = append(out, m)
	}
	return out
}

// An export holds every event of a question once, waiting or filed, a line for each
// change.
func TestAnExportHoldsAll(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		for n := range 1100 {
			if n%4 == 0 {
				a.advance(time.Second)
			}
			if n == 1000 {
				a.run()
			}
			e := audit.Event{Tenant: "main", Actor: fmt.Sprintf("u-%d", n%2), Action: "contact.read"}
			if n%100 == 0 {
				e.Object = audit.PersonRef("contact", "p1")
				e.Changes = []audit.Change{{Path: "email", Who: "p1", Old: audit.Absent{}, New: "=a@canary.example"}, {Path: "stage", Old: nil, New: int64(-5)}}
			}
			a.tell(e)
		}
		var text strings.Builder
		f := audit.Filter{Tenant: "main"}
		out, err := a.trail.Export(t.Context(), &text, f)
		require.NoError(t, err)
		require.Equal(t, audit.Exported{Entries: 1100, Rows: 1111}, out)
		rows := lines(t, text.String())
		require.Len(t, rows, 1111)
		ids := make(map[string]bool)
		changes := 0
		for _, r := range rows {
			ids[r["id"]] = true
			if r["field"] == "email" {
				require.Equal(t, "'=a@canary.example", r["new"])
				require.Equal(t, "absent", r["old type"])
				require.Equal(t, "p1", r["who"])
				require.Equal(t, "p1", r["object id"])
				require.Equal(t, "p1", r["persons"])
				changes++
			}
			if r["field"] == "stage" {
				require.Equal(t, "-5", r["new"], "a number is no formula")
				require.Equal(t, "null", r["old type"])
				changes++
			}
		}
		require.Len(t, ids, 1100)
		require.Equal(t, 22, changes)
		text.Reset()
		out, err = a.trail.Export(t.Context(), &text, audit.Filter{Tenant: "main", Person: "stranger"})
		require.NoError(t, err)
		require.Zero(t, out)
		require.Empty(t, lines(t, text.String()))
	})
}

// No text is a formula to a spreadsheet, and each can be told from every other.
func TestNoCellIsAFormula(t *testing.T) {
	a := newAsker(t, openDB(t, t.TempDir()+"/crm.db"))
	texts := []string{
		"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u00a0=1", "\ufeff=1", "\u200b@x", "\x00=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "\u22121",
		"'=1", "'", "plain", "a=b", "a-b", "", "line\nbreak", `quo"te`, "com,ma", "张三", "bad\xff", "<x>", "#REF!",
	}
	for _, text := range texts {
		a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "note.write", Changes: []audit.Change{{Path: "text", New: text}}})
		a.advance(time.Second)
	}
	a.tell(audit.Event{Tenant: "main", Actor: "=1+1", Action: "note.write"})
	a.run()
	var out strings.Builder
	_, err := a.trail.Export(t.Context(), &out, audit.Filter{Tenant: "main"})
	require.NoError(t, err)
	rows := lines(t, out.String())
	require.Len(t, rows, len(texts)+1)
	seen := make(map[string]bool)
	for i, r := range rows {
		for name, value := range r {
			bare := strings.TrimLeft(value, " \t\r\n\x00\u00a0\ufeff\u200b")
			if bare != "" && name != "index" {
				require.NotContains(t, []rune("=+-@\uff1d\uff0b\uff0d\uff20\u2212"), []rune(bare)[0], "%s: %q", name, value)
			}
		}
		if i > 0 {
			key := r["new type"] + "/" + r["new"]
			require.False(t, seen[key], "%q", key)
			seen[key] = true
		}
	}
	require.Equal(t, "'=1+1", rows[0]["actor"])
}

// fullDisk is a writer that fails after some bytes.
type fullDisk struct{ left int }

func (s *fullDisk) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left < 0 {
		return 0, errNo
	}
	return len(p), nil
}

func TestAnExportSaysWhenItIsNotWhole(t *testing.T) {
	a := newAsker(t, openDB(t, t.TempDir()+"/crm.db"))
	a.from("u-7")
	for range 1500 {
		a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.read"})
	}
	out, err := a.trail.Export(t.Context(), new(strings.Builder), audit.Filter{})
	require.NoError(t, err)
	require.Equal(t, int64(1000), out.Entries)
	require.Equal(t, int64(501), out.Pending, "and the export itself")
	a.run()
	for _, left := range []int{0, 100, 200000} {
		_, err = a.trail.Export(t.Context(), &fullDisk{left}, audit.Filter{})
		require.ErrorIs(t, err, errNo)
	}
	ended := a.find(audit.Filter{Action: "audit.exported", Outcome: audit.OutcomePartial}, audit.Page{}).Entries
	require.Len(t, ended, 3)
	a.config.Allow = func(_ ctx, action, _ string) error {
		require.Equal(t, "audit.export", action)
		return errNo
	}
	a.open()
	var text strings.Builder
	_, err = a.trail.Export(t.Context(), &text, audit.Filter{})
	require.True(t, errors.Is(err, errNo))
	require.Empty(t, text.String())
}

// However a spreadsheet separates the cells of a line, it finds no formula in one,
// and who takes one apostrophe away behind each separator has the text as it was.
func TestNoSeparatorMakesAFormula(t *testing.T) {
	a := withConfig(t, func(*audit.Config) {})
	texts := []string{
		"x;=HYPERLINK(A1)", "x\t=1", "x|+1", "a;b; @c", "a;'b", "x;\u200b=1", "x\n=1", "x\r-1", "a;\"=1", "=1;=2", ";=1", "\t=1", "plain; text", "a,=1", "'", ";", "a;;=1",
	}
	for n, text := range texts {
		a.tell(audit.Event{
			Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", fmt.Sprintf("p%d", n)),
			Changes: []audit.Change{{Path: "email", Who: fmt.Sprintf("p%d", n), Old: audit.Absent{}, New: text}},
		})
		a.advance(time.Second)
	}
	var out strings.Builder
	_, err := a.trail.Export(t.Context(), &out, audit.Filter{Tenant: "main"})
	require.NoError(t, err)
	for _, separator := range ";\t|" {
		for line := range strings.Lines(out.String()) {
			for _, cell := range strings.FieldsFunc(line, func(r rune) bool { return r == separator || r == '\r' }) {
				seen := strings.TrimLeftFunc(cell, func(r rune) bool { return r == '"' || r == '\u200b' || unicode.IsSpace(r) })
				require.False(t, seen != "" && strings.ContainsRune("=+@", rune(seen[0])), "%q behind %q", cell, separator)
			}
		}
	}
	back := regexp.MustCompile(`(^|[;\t|\n\r])'`)
	for i, line := range lines(t, out.String()) {
		require.Equal(t, texts[len(texts)-1-i], back.ReplaceAllString(line["new"], "$1"))
	}
}

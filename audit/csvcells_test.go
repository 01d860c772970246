package audit

import (
	"encoding/csv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Whatever column a text comes into, a spreadsheet does not compute it; numbers stay
// numbers, and what does not open has neither type nor value.
func TestEachCellIsText(t *testing.T) {
	const sum = "=SUM(A1)"
	e := Entry{Leaf: auditlog.Leaf{Request: sum, Persons: []string{"s:a"}, Object: Object{Kind: "contact", ID: "s:a", Person: true}}, Persons: map[string]string{"s:a": "+1"}, Changes: []OpenedChange{
		{Path: sum, Who: "-1", Old: sum, New: []byte{0xf8, 0xff, 0xff}, Verdict: OpeningOK}, // base64url: -P__
		{Path: "b", Old: JSON("-1"), New: Decimal("-1.50"), Verdict: OpeningOK},
		{Path: "c", Old: Decimal("=1"), New: Date(sum), Verdict: OpeningOK},
		{Path: "d", Old: auditlog.StandIn{Why: sum, Kept: []byte{0xf8}}, New: int64(-5), Verdict: OpeningOK},
		{Path: "e", Old: "seen", New: nil, Verdict: OpeningErased},
	}}
	var out strings.Builder
	w := csv.NewWriter(&out)
	n, err := e.write(w)
	require.NoError(t, err)
	require.Equal(t, 5, n)
	w.Flush()
	rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	require.NoError(t, err)
	at := func(row int, column string) string {
		for i, name := range exportColumns {
			if name == column {
				return rows[row][i]
			}
		}
		t.Fatal(column)
		return ""
	}
	for i, want := range [][]string{
		{"'" + sum, "'-1", "text", "'" + sum, "bytes", "'-P__"},
		{"b", "", "json", "'-1", "decimal", "-1.50"},
		{"c", "", "decimal", "'=1", "date", "'" + sum},
		{"d", "", "'" + sum, "'-A", "integer", "-5"},
		{"e", "", "", "", "", ""},
	} {
		require.Equal(t, want, []string{at(i, "field"), at(i, "who"), at(i, "old type"), at(i, "old"), at(i, "new type"), at(i, "new")})
		require.Equal(t, []string{"'" + sum, "'+1", "'+1"}, []string{at(i, "request"), at(i, "object id"), at(i, "persons")})
	}
}

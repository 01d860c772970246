// Package cells writes what stands in the cells of an export. It promises that no text
// is a formula to a spreadsheet, and that each can be told from every other.
package cells

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/canon"
)

// Value is the type and the text of a value.
func Value(v any) (kind, text string) {
	switch v := v.(type) {
	case nil:
		return "null", ""
	case auditlog.Absent:
		return "absent", ""
	case string:
		return "text", Text(v)
	case int64:
		return "integer", strconv.FormatInt(v, 10)
	case float64:
		return "float", strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return "boolean", strconv.FormatBool(v)
	case []byte:
		return "bytes", Text(canon.FormatBytes(v))
	case time.Time:
		return "time", Text(v.UTC().Format(time.RFC3339Nano))
	case auditlog.JSON:
		return "json", Text(string(v))
	case auditlog.Decimal:
		if strings.Trim(string(v), "+-.0123456789") == "" {
			return "decimal", string(v)
		}
		return "decimal", Text(string(v)) // of another writer
	case auditlog.Date:
		return "date", Text(string(v))
	case auditlog.StandIn:
		return Text(v.Why), Text(canon.FormatBytes(v.Kept))
	default: // GoValue makes no other
		return "unknown", ""
	}
}

// Text is text that no spreadsheet computes: some look behind what is not seen, and
// some take signs of other widths. One that reads the file with another separator
// finds cells within: behind each that it may take for one stands an apostrophe, too,
// where a formula would follow.
func Text(text string) string {
	var out strings.Builder
	for first := true; ; first = false {
		end := strings.IndexAny(text, cellSeparators)
		part := text
		if end >= 0 {
			part = text[:end]
		}
		if computed(part, !first) || first && end == 0 && (text[0] == '\t' || text[0] == '\r') {
			out.WriteByte('\'')
		}
		out.WriteString(part)
		if end < 0 {
			return out.String()
		}
		out.WriteByte(text[end])
		text = text[end+1:]
	}
}

// computed says whether a cell begins as a formula does. Within a cell that is quoted
// a quote may be the end of an empty one.
func computed(text string, within bool) bool {
	seen := strings.TrimLeftFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || within && r == '"'
	})
	first, _ := utf8.DecodeRuneInString(seen)
	return seen != "" && strings.ContainsRune(formulaSigns, first)
}

// cellSeparators are all ASCII: programs that were set up so take one of them for
// the comma, and a line break for the end of the line.
const cellSeparators = ";\t|\n\r"

const formulaSigns = "=+-@'\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b"

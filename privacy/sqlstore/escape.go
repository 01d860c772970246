package sqlstore

import (
	"fmt"
	"strings"
)

// A PostgreSQL database that is not in UTF-8 refuses a statement with a character
// that it cannot hold, such as a name of somebody whom it does not know. There
// texts that are more than ASCII are compared as the bytes of their UTF-8 are
// written by encode(…, 'escape'), which is ASCII.

// escape is that form of a text.
func escape(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case c == 0, c >= 0x80:
			fmt.Fprintf(&b, `\%03o`, c)
		case c == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// escaped is that form of what a column holds.
func (f field) escaped() string { return escapedText("CAST(" + f.absolute() + " AS text)") }

func escapedText(expression string) string {
	return "encode(convert_to(" + expression + ", 'UTF8'), 'escape')"
}

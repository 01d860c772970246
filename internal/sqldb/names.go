package sqldb

import (
	"fmt"
	"strconv"
	"strings"
)

// Mark is PostgreSQL's placeholder of number n, from 1.
func Mark(n int) string { return "$" + strconv.Itoa(n) }

// Marks is n placeholders for Bind, with commas between them.
func Marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// Quote writes a name as the database quotes names. A point parts the schema
// from the table, each part is quoted by itself; a quote in a name is doubled.
// Names that are empty, longer than 128 bytes, or hold a NUL are refused.
func (d Dialect) Quote(name string) (string, error) {
	parts := strings.Split(name, ".")
	if len(parts) > 2 {
		return "", fmt.Errorf("sqldb: a name has at most a schema before it")
	}
	quote := `"`
	if d.mysql() {
		quote = "`"
	}
	for i, part := range parts {
		if part == "" || len(part) > 128 || strings.ContainsRune(part, 0) {
			return "", fmt.Errorf("sqldb: a name is empty, too long or holds a NUL")
		}
		parts[i] = quote + strings.ReplaceAll(part, quote, quote+quote) + quote
	}
	return strings.Join(parts, "."), nil
}

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

// Quote writes the name of a table as the database quotes names. A point parts the
// schema from the table, each part is quoted by itself: see [Dialect.QuoteName].
func (d Dialect) Quote(name string) (string, error) {
	parts := strings.Split(name, ".")
	if len(parts) > 2 {
		return "", fmt.Errorf("sqldb: a name has at most a schema before it")
	}
	for i, part := range parts {
		quoted, err := d.QuoteName(part)
		if err != nil {
			return "", err
		}
		parts[i] = quoted
	}
	return strings.Join(parts, "."), nil
}

// QuoteName writes one name, of a column, a constraint, a trigger, as the database
// quotes names: a point is a part of it, a quote in it is doubled. Names that are
// empty, longer than 128 bytes, or hold a NUL are refused.
func (d Dialect) QuoteName(name string) (string, error) {
	if name == "" || len(name) > 128 || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("sqldb: a name is empty, too long or holds a NUL")
	}
	quote := `"`
	if d.mysql() {
		quote = "`"
	}
	return quote + strings.ReplaceAll(name, quote, quote+quote) + quote, nil
}

package sqlstore

import (
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/privacy"
)

// condition is SQL with its arguments; several conditions are joined by AND.
type condition struct {
	parts []string
	args  []any
}

// String is the SQL.
func (c condition) String() string { return strings.Join(c.parts, " AND ") }

// is asks that a column holds an id, in the very spelling that the ledger's
// digest is over and that People lists after a restore. SQLite takes 017 for
// 17 in an integer column, and P1 for p1 under NOCASE: a person erased under
// such a name would not be found again. So there the stored value, number,
// text or blob, must read as the id, byte for byte; a blob is compared as one,
// because a cast reads it in the encoding of the database, which may be UTF-16.
// The first half is for the index.
func (s *Store) is(c *condition, column, id string) {
	if !s.sqlite {
		c.parts, c.args = append(c.parts, column+" = ?"), append(c.args, id)
		return
	}
	c.parts = append(c.parts, fmt.Sprintf("%[1]s IN (?, CAST(? AS INTEGER), ?) AND CASE typeof(%[1]s) WHEN 'blob' THEN %[1]s = ? ELSE CAST(%[1]s AS TEXT) = ? COLLATE BINARY END", column))
	c.args = append(c.args, id, id, []byte(id), []byte(id), id)
}

// others counts the other persons of a joint record t0.
func (s *Store) others(t privacy.Table, person string) condition {
	j := t.Joint
	var same condition
	s.is(&same, "o."+quote(j.Person), person)
	return condition{[]string{fmt.Sprintf("(SELECT COUNT(*) FROM %s o WHERE o.%s = t0.%s AND NOT (%s))",
		quote(j.Table), quote(j.Record), quote(t.Key[0]), same)}, same.args}
}

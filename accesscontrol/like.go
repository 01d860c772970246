package accesscontrol

import (
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// maxPattern is how many bytes a pattern may have: SQLite takes 50,000, of
// which an escaped one is three.
const maxPattern = 10_000

// like compiles resource.attr like "pattern".
func (c *compiler) like(e *cedarx.Expr) (sqlcond.Cond, error) {
	col, err := c.column(e.Args[0])
	if err != nil {
		return nil, err
	}
	pattern := strings.Join(e.Pattern, "")
	switch {
	case len(e.Pattern) == 0:
		return nil, refuse(e, "its pattern is not translated")
	case c.table.Name != "" && !col.like:
		return nil, refuse(e, "a pattern may read every row: set Column.Like if it shall")
	case len(pattern) > maxPattern:
		return nil, refuse(e, "its pattern has more than 10,000 bytes")
	case col.Name != "" && strings.ContainsRune(pattern, 0):
		return nil, refuse(e, errNUL.text)
	case len(e.Pattern) == 1: // an index finds it
		same, err := c.compare(sqlcond.Equal, operand{column: col}, operand{known: cedarx.StringValue(pattern)})
		return settled(same, col), err
	}
	return &sqlcond.Like{Column: &col.Column, Parts: e.Pattern}, nil
}

// patterns checks that a column that is declared Like holds text.
func (b *binder) patterns(t *table, source Column) {
	attr, known := t.attrs[source.Attr]
	if source.Like && (source.Opaque || !known || attr.Type.Kind != cedarx.String || source.As == UUID) {
		b.problem("table %s: attribute %s is no text that can be like a pattern", t.Resource, source.Attr)
	}
}

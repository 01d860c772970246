package encryption

import (
	"fmt"
	"strings"
)

// noSuchColumn says which columns there are: who misspelt one, or takes the
// name in SQL for the logical one, sees it at once.
func (t *SealedTable) noSuchColumn(name string) error {
	names := make([]string, len(t.def.Columns))
	for i, col := range t.def.Columns {
		names[i] = col.Name
		if col.SQL != "" && col.SQL != col.Name {
			names[i] += fmt.Sprintf(" (%s in SQL)", col.SQL)
		}
	}
	return &KeyError{
		Op:    fmt.Sprintf("no such column is declared; the table has %s. There is no", strings.Join(names, ", ")),
		Table: t.def.Name, Column: name, Err: ErrDefinition,
	}
}

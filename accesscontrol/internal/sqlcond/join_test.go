package sqlcond

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// untold is a condition that is no leaf to this package.
type untold struct{ column *Column }

func (u untold) Eval(*Row) Outcome { return Failed }

func (u untold) write(w *Writer) { w.name(u.column) }

// A column of another table is never written as one of the record's own, which
// may have the same name.
func TestAColumnOfAnotherTableIsNeverTheRecordsOwn(t *testing.T) {
	for _, alias := range []string{"", "c"} {
		w := New(SQLite, alias)
		w.Write(untold{&Column{Name: "owner", Via: &Join{}}})
		text, _ := w.Result()
		require.Equal(t, "`crmguard_0`.`owner`", text)
	}
}

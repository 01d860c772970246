package sqlcond_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// A check allocates nothing, whatever a text is like.
func TestLikeAllocatesNothing(t *testing.T) {
	like := &sqlcond.Like{Column: &sqlcond.Column{Kind: sqlcond.Text}, Parts: []string{"", "@", ".com"}}
	row := &sqlcond.Row{Values: []sqlcond.Value{sqlcond.TextOf("ann@example.com")}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if like.Eval(row) != sqlcond.True {
			t.Fatal("is like it")
		}
	}))
}

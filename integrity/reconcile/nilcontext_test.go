package reconcile_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/reconcile"
)

func TestADiffWithoutAContextIsAnError(t *testing.T) {
	var none context.Context
	var counts reconcile.Counts
	side := func(yield func(reconcile.Row, error) bool) { yield(reconcile.Row{}, nil) }
	var got error
	for _, err := range reconcile.Diff(none, side, side, reconcile.Options{Columns: []integrity.Column{{Name: "city"}}, Counts: &counts}) {
		got = err
	}
	require.ErrorIs(t, got, reconcile.ErrOptions)
	require.False(t, counts.Equal())
}

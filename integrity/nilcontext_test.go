package integrity_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

// A context that nobody made is an error of the call, not the end of the
// program.
func TestASweepWithoutAContextIsAnError(t *testing.T) {
	sealer, _ := newSealer(t)
	var none context.Context
	report, err := sealer.Sweep(none, func(yield func(integrity.SealedRow, error) bool) { yield(integrity.SealedRow{}, nil) },
		integrity.SweepOptions{Tenant: "t1", Table: "contacts"})
	require.ErrorIs(t, err, integrity.ErrConfig)
	require.False(t, report.OK())
}

// The race detector empties pools at will.
//go:build !race

package encryption_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestALookupValueDoesNotAllocate(t *testing.T) {
	e := newEnv(t, 4)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if v := w.Int64("email_idx", " Ann@B.example"); v.IsNull() {
			panic(v.Err())
		}
	}))
}

package liveschema_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/internal/stranger"
	"github.com/crmguard/crmguard/privacy/liveschema"
)

func TestStranger(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		f, err := liveschema.Check(t.Context(), w.DB, w.Map())
		require.NoError(t, err)
		for _, x := range f {
			fmt.Println(x)
		}
	})
}

package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// removed is a store that notes what it is to forget.
type removed struct {
	Sink
	names []string
	fails string
}

func (r *removed) RemoveAll(_ context.Context, name string) error {
	if name == r.fails {
		return errors.New("the store is away")
	}
	r.names = append(r.names, name)
	return nil
}

// Of a folder of a thousand bundles that goes whole the folder goes: a year of a large
// log is not a million calls. The first one stays: it has the folders of all others.
func TestAFolderOfBundlesGoesWhole(t *testing.T) {
	for n, want := range map[int64]int{0: 0, 1: 2, 1000: 2000, 1999: 3998, 2000: 2001, 2001: 2003, 3000: 2002} {
		s := &removed{}
		require.NoError(t, dropBundles(t.Context(), namedSink{"Sink", bundlePrefix, s}, n))
		require.Len(t, s.names, want, "%d bundles", n)
		require.Equal(t, n >= 2000, slices.Contains(s.names, "tile/entries/x001"), "%d bundles", n)
		require.Equal(t, n >= 3000, slices.Contains(s.names, "tile/entries/x002"), "%d bundles", n)
		if n > 0 && n < 1000 {
			last := fmt.Sprintf("tile/entries/%03d", n-1)
			require.Equal(t, []string{last, last + ".p"}, s.names[len(s.names)-2:])
		}
	}
	s := &removed{fails: "tile/entries/x001"}
	require.Error(t, dropBundles(t.Context(), namedSink{"Sink", bundlePrefix, s}, 3000))
}

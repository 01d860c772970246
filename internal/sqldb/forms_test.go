package sqldb

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// A form is compiled when an error of its code has come, which is no time to find that it
// is none.
func TestFormsAreSound(t *testing.T) {
	require.NotEmpty(t, forms())
	for code, all := range forms() {
		for _, f := range all {
			var groups []string
			require.NotPanics(t, func() { groups = f.compile().SubexpNames()[1:] }, "%s: %s", code, f)
			require.NotEmpty(t, groups, "%s: %s", code, f)
			require.Subset(t, []string{"table", "column", "constraint", "right"}, groups, "%s: %s", code, f)
			require.NotRegexp(t, regexp.MustCompile(`\{[a-z]`), f.compile().String(), "%s: a name that is not known", code)
		}
	}
}

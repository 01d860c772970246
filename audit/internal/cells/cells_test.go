package cells

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a spreadsheet skips before a formula hides none, and plain text stays as it is.
func TestNoTextIsAFormula(t *testing.T) {
	for text, want := range map[string]string{
		"\tplain": "'\tplain", "\rplain": "'\rplain", "plain": "plain", "": "", " ": " ", "\u00a0=1": "'\u00a0=1", "\x00=1": "'\x00=1", "\u2060=1": "'\u2060=1",
	} {
		require.Equal(t, want, Text(text))
	}
}

package blindindex

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/normalise"
)

// The short way of a plain address gives the value that the rules give, whatever
// stands around it, and leaves everything else to the long way.
func TestAPlainAddressHasTheValueOfItsRule(t *testing.T) {
	short := 0
	rapid.Check(t, func(rt *rapid.T) {
		m := New(make([]byte, format.KeySize), rapid.SampledFrom([]int{8, 32, 63, 64, 256}).Draw(rt, "bits"))
		text := rapid.OneOf(
			rapid.StringOf(rapid.RuneFrom([]rune("aZ@.[`{^_ \t\r\n\v\x00\x7fäİ\u0308"))),
			rapid.StringMatching(` ?[ -~]{1,8}@[ -~]{1,6}\.? ?`),
		).Draw(rt, "address")
		for _, as := range []string{normalise.Email2, normalise.Email1} {
			normal := normalise.Rule(as)(text)
			if got, ok := m.PlainAddress(text); ok {
				short++
				require.Equal(rt, m.Value(normal), got, "%s of %q", as, text)
			}
		}
	})
	require.NotZero(t, short)
}

// Values that were handed out stay what they are while others are made, also those
// whose room was allocated together.
func TestValuesShareNoRoom(t *testing.T) {
	m := New(make([]byte, format.KeySize), 63)
	values := map[string]Value{}
	for i := range 5 * narrowRoom {
		address := strings.Repeat("a", i+1)
		values[address], _ = m.PlainAddress(address)
	}
	seen := map[int64]bool{}
	for address, v := range values {
		require.NotNil(t, v.Narrow)
		require.Equal(t, m.Value(address), v)
		seen[*v.Narrow] = true
	}
	require.Len(t, seen, len(values))
}

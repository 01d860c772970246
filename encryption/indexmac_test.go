package encryption

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
		m := newIndexMAC(make([]byte, format.KeySize), rapid.SampledFrom([]int{8, 32, 63, 64, 256}).Draw(rt, "bits"))
		text := rapid.OneOf(
			rapid.StringOf(rapid.RuneFrom([]rune("aZ@.[`{^_ \t\r\n\v\x00\x7fäİ\u0308"))),
			rapid.StringMatching(` ?[ -~]{1,8}@[ -~]{1,6}\.? ?`),
		).Draw(rt, "address")
		for _, as := range []Normaliser{Email, EmailV1} {
			normal := normalise.Rule(string(as))(text)
			if got, ok := m.plainAddress(text); ok {
				short++
				require.Equal(rt, m.value(normal), got, "%s of %q", as, text)
			}
		}
	})
	require.NotZero(t, short)
}

// Values that were handed out stay what they are while others are made, also those
// whose room was allocated together.
func TestIndexValuesShareNoRoom(t *testing.T) {
	m := newIndexMAC(make([]byte, format.KeySize), 63)
	values := map[string]IndexValue{}
	for i := range 5 * narrowRoom {
		address := strings.Repeat("a", i+1)
		values[address], _ = m.plainAddress(address)
	}
	seen := map[int64]bool{}
	for address, v := range values {
		n, ok := v.Int64()
		require.True(t, ok)
		again, _ := m.value(address).Int64()
		require.Equal(t, again, n)
		seen[n] = true
	}
	require.Len(t, seen, len(values))
}

package encryption

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The short way of an ASCII address gives the value that the rule gives, whatever
// stands around it, and leaves to the long way what is not ASCII.
func TestAnASCIIAddressHasTheValueOfItsRule(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newIndexMAC(make([]byte, keySize), rapid.SampledFrom([]int{8, 32, 63, 64, 256}).Draw(rt, "bits"))
		text := rapid.StringOf(rapid.RuneFrom([]rune("aZ@.[`{^_ \t\r\n\v\x00\x7fäİ̈"))).Draw(rt, "address")
		normal, known := normalise(Email, text)
		require.True(rt, known)
		want := IndexValue{}
		if normal != "" {
			want = m.value(normal)
		}
		got, ok := m.asciiAddress(text)
		ascii := strings.IndexFunc(strings.Trim(text, " \t\r\n"), func(r rune) bool { return r > 0x7f }) < 0
		require.Equal(rt, ascii, ok)
		if ok {
			require.Equal(rt, want, got)
		}
	})
}

// Values that were handed out stay what they are while others are made, also those
// whose room was allocated together.
func TestIndexValuesShareNoRoom(t *testing.T) {
	m := newIndexMAC(make([]byte, keySize), 63)
	values := map[string]IndexValue{}
	for i := range 5 * narrowRoom {
		address := strings.Repeat("a", i+1)
		values[address], _ = m.asciiAddress(address)
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

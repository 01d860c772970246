package opaque

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Forms that are told apart at their edges: what escapes hide is found beside bytes
// that are no text, and numbers with letters, with too many digits or with none of a
// telephone are ids.
func TestWhatNamesSomebodyAtTheEdges(t *testing.T) {
	for _, id := range []string{
		"ann%40b.example%ff", "%fe203.0.113.7%2Ex", "\U0001d7d0\U0001d7ce\U0001d7d1.0.113.7", "+\U0001d7d2\U0001d7d7\U0001d7cf\U0001d7d5\U0001d7ce\U0001d7cf\U0001d7d0",
		"ann\u115fb", "ann\u1160b", "ann\uffa0b", "ann\u2800b", "ann\ufe6bb", "ann%EF%B9%ABb", "sip:+1234567;x=1", "tel:123456",
		"ann\u034fb", "ann\ufe0fb", "ann\ufe00b", "ann\U000e0100b", "ann\u17b4b", "ann%CD%8Fb",
		"phone=+491701234567", "a/+491701234567/b", "tel-+49.170.123.4567", "=+491701234567", "+491701234567.session", "+49170123456x", "x-%2B491701234567", "a,+49(170)1234567",
	} {
		require.NotEmpty(t, Form(id), "%q", id)
	}
	for _, id := range []string{
		"%ff%fe", "a%ffb", "sip:7;ext=1234567", "tel:12345", "1.2.3.4beta", "1.2.3.4b", "0001.0002.0003.0004", "1.2.3", "1:2", "12.34:5",
		"v1.2.3+20261127120000", "1.2.3-rc.1+20261127", "2026-11-27T10:00:00+0100", "at-+1234567", "a+b/12+3456/78+9+0==", "\u0e01\u0301",
	} {
		require.Empty(t, Form(id), "%q", id)
	}
}

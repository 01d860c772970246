package normalise

import (
	"unicode"
)

// lastDigits reads from the end, so that what stands before costs nothing.
func lastDigits(value string, n int) string {
	digits := make([]byte, n)
	at := n
	runes := []rune(value)
	for i := len(runes) - 1; i >= 0 && at > 0; i-- {
		if digit, ok := digitOf(runes[i]); ok {
			at--
			digits[at] = digit
		}
	}
	if at > 0 {
		return ""
	}
	return string(digits)
}

// digitOf is the decimal digit that a character stands for: those of a script
// follow each other from zero to nine.
func digitOf(r rune) (byte, bool) {
	if r < 0x80 {
		return byte(r), r >= '0' && r <= '9'
	}
	if !unicode.Is(known, r) {
		return 0, false
	}
	for _, run := range unicode.Nd.R16 {
		if r >= rune(run.Lo) && r <= rune(run.Hi) {
			return '0' + byte((r-rune(run.Lo))%10), true
		}
	}
	for _, run := range unicode.Nd.R32 {
		if r >= rune(run.Lo) && r <= rune(run.Hi) {
			return '0' + byte((r-rune(run.Lo))%10), true
		}
	}
	return 0, false
}

package integrity

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// The parameters of Punycode (RFC 3492, 5).
const (
	punyBase, punyMin, punyMax = 36, 1, 26
	punyDigits                 = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// threshold is the t of RFC 3492 for the digit at place k.
func threshold(k, bias int) int { return min(max(k-bias, punyMin), punyMax) }

// adapt is the bias for the next delta (RFC 3492, 6.1).
func adapt(delta, points int, first bool) int {
	if first {
		delta /= 700
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for ; delta > (punyBase-punyMin)*punyMax/2; k += punyBase {
		delta /= punyBase - punyMin
	}
	return k + (punyBase-punyMin+1)*delta/(delta+38)
}

// punycode writes a label in ASCII (RFC 3492, 6.3). Labels are short, so that
// nothing overflows.
func punycode(label string) string {
	runes := []rune(label)
	out := make([]byte, 0, 2*len(runes))
	for _, r := range runes {
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
		}
	}
	basic := len(out)
	if basic > 0 {
		out = append(out, '-')
	}
	n, delta, bias := rune(utf8.RuneSelf), 0, 72
	for done := basic; done < len(runes); n++ {
		next := rune(math.MaxInt32)
		for _, r := range runes {
			if r >= n {
				next = min(next, r)
			}
		}
		delta += int(next-n) * (done + 1)
		n = next
		for _, r := range runes {
			if r < n {
				delta++
			}
			if r != n {
				continue
			}
			q := delta
			for k := punyBase; ; k += punyBase {
				t := threshold(k, bias)
				if q < t {
					break
				}
				out = append(out, punyDigits[t+(q-t)%(punyBase-t)])
				q = (q - t) / (punyBase - t)
			}
			out = append(out, punyDigits[q])
			bias = adapt(delta, done+1, done == basic)
			delta = 0
			done++
		}
		delta++
	}
	return string(out)
}

// unpunycode reads what punycode writes (RFC 3492, 6.2), in lower case.
func unpunycode(code string) (label string, ok bool) {
	var runes []rune
	if at := strings.LastIndexByte(code, '-'); at >= 0 {
		runes, code = []rune(code[:at]), code[at+1:]
	}
	n, i, bias := utf8.RuneSelf, 0, 72
	for len(code) > 0 {
		before, weight := i, 1
		for k := punyBase; ; k += punyBase {
			if code == "" {
				return "", false
			}
			digit := strings.IndexByte(punyDigits, code[0])
			code = code[1:]
			if digit < 0 || digit > (math.MaxInt32-i)/weight {
				return "", false
			}
			i += digit * weight
			t := threshold(k, bias)
			if digit < t {
				break
			}
			if weight > math.MaxInt32/(punyBase-t) {
				return "", false
			}
			weight *= punyBase - t
		}
		points := len(runes) + 1
		bias = adapt(i-before, points, before == 0)
		n += i / points
		i %= points
		if n > utf8.MaxRune {
			return "", false
		}
		runes = slices.Insert(runes, i, rune(n))
		i++
	}
	return string(runes), true
}

package normalise

import (
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

func email1(value string) string {
	value = strings.Trim(value, " \t\r\n")
	if !isStable(value) {
		return asciiLower(value)
	}
	value = norm.NFC.String(value)
	lower := asciiLower(value)
	if lower == value {
		return value
	}
	// A small letter may compose with a mark where the capital does not
	// (T and U+0308 against U+1E97): only now are both spellings one.
	return norm.NFC.String(lower)
}

// rounds are more than any value needs (TestEveryValueSettles).
const rounds = 8

// email2 takes each step again until none changes anything: what NFKC makes of a
// character may be a blank at the end, and what goes there may uncover a point.
func email2(value string) string {
	for range rounds {
		next := strings.TrimFunc(visible(value), isBlank)
		if isASCII(next) || !isStable(next) {
			next = asciiLower(next)
		} else {
			next = fold(norm.NFKC.String(next))
		}
		if next = points(next); next == value {
			return value
		}
		value = next
	}
	return value
}

// fold is full case folding. Of the Cherokee letters the module folds small ones to
// capitals, as Unicode has it, and capitals to small ones: here all are capitals.
func fold(value string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0xab70 && r <= 0xabbf:
			return r - 0xab70 + 0x13a0
		case r >= 0x13f8 && r <= 0x13fd:
			return r - 0x13f8 + 0x13f0
		}
		return r
	}, cases.Fold().String(value))
}

// points writes the separators of the domain's labels in one way, and takes those
// away that end it: b.example. is b.example.
func points(value string) string {
	at := strings.LastIndexByte(value, '@')
	if at < 0 {
		return value
	}
	host := value[at+1:]
	plain := strings.TrimRightFunc(strings.ReplaceAll(host, "\u3002", "."), func(r rune) bool { return r == '.' || isBlank(r) })
	if plain == host {
		return value
	}
	return value[:at+1] + plain
}

func domain(value string) string {
	value = email2(value)
	host := value[strings.LastIndexByte(value, '@')+1:]
	for range rounds { // without an @ its end was no domain's; what is broken before it is not here
		next := strings.TrimLeftFunc(host, isBlank)
		if next = strings.TrimLeftFunc(strings.TrimPrefix(email2("@"+next), "@"), isBlank); next == host {
			return host
		}
		host = next
	}
	return host
}

// asciiLower makes A to Z small; what has none comes back as it is.
func asciiLower(value string) string {
	if strings.IndexFunc(value, func(r rune) bool { return r >= 'A' && r <= 'Z' }) < 0 {
		return value
	}
	lower := []byte(value)
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

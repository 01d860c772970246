package integrity

import (
	"time"
	"unicode"
	"unicode/utf8"
)

// blank reports whether a value counts as not there: nothing, a text in which
// nothing can be seen, the zero time. A text that holds what its field may not
// hold is there, so that its field is judged.
func blank(v any, free bool) bool {
	switch x := v.(type) {
	case nil:
		return true
	case string:
		if x != "" && x[0] > ' ' && x[0] < 0x7f {
			return false
		}
		for _, r := range x {
			if r > ' ' && r < 0x7f || !unicode.IsSpace(r) && (forbidden(r, free) || !invisible(r)) {
				return false
			}
		}
		return true
	case time.Time:
		return x.IsZero()
	}
	return false
}

// invisible holds for white space, for the characters with the property
// Default_Ignorable_Code_Point of Unicode (format characters, fillers and
// selectors, which show nothing of their own), and for two that are drawn empty:
// the Braille cell without dots and the null notehead.
func invisible(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return unicode.IsSpace(r)
	case r >= 0xfff9 && r <= 0xfffb, r >= 0x13430 && r <= 0x1345f, unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return false // format characters that show
	}
	return unicode.IsSpace(r) || r == '\u2800' || r == '\U0001d159' ||
		unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// printable reports whether s is ASCII that prints, as most text is.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// checkHygiene refuses what no text of its kind may hold.
func checkHygiene(s string, free bool) Code {
	tags := 0 // that may follow: behind a black flag a few spell a region
	for _, r := range s {
		switch {
		case r >= ' ' && r < 0x7f:
			tags = 0
		case tags > 0 && r >= 0xe0020 && r <= 0xe007f:
			tags--
		case forbidden(r, free):
			return CodeControl
		case r == '\U0001f3f4':
			tags = 7
		default:
			tags = 0
		}
	}
	return ""
}

// forbidden holds for characters that act on what surrounds them and that no
// language is written with: controls, the direction overrides, which make one
// text look like another, deprecated format characters, tags, in which a text
// can hide, and code points that are no characters. What breaks a line or
// opens and closes a direction is legal in free text. The marks LRM, RLM and
// ALM, the joiners and the other format characters stay legal everywhere:
// Hebrew, Arabic, Persian, the languages of India, Thai and emoji need them.
func forbidden(r rune, free bool) bool {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return !free
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r < 0x2028, r > 0x206f && r < 0xfdd0:
		return false
	case r <= 0x202c, r >= 0x2066 && r <= 0x2069:
		return !free
	case r <= 0x202e, r >= 0x206a && r <= 0x206f, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return unicode.Is(unicode.Noncharacter_Code_Point, r)
}

package normalise

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/rangetable"
)

// known are the characters of Unicode 15.0, whatever tables the compiler has.
var known = rangetable.Assigned("15.0.0")

// ignorable is Default_Ignorable_Code_Point of Unicode 15.0: what shows nothing.
var ignorable = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x00ad, Hi: 0x00ad, Stride: 1},
		{Lo: 0x034f, Hi: 0x034f, Stride: 1},
		{Lo: 0x061c, Hi: 0x061c, Stride: 1},
		{Lo: 0x115f, Hi: 0x1160, Stride: 1},
		{Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
		{Lo: 0x180b, Hi: 0x180f, Stride: 1},
		{Lo: 0x200b, Hi: 0x200f, Stride: 1},
		{Lo: 0x202a, Hi: 0x202e, Stride: 1},
		{Lo: 0x2060, Hi: 0x206f, Stride: 1},
		{Lo: 0x3164, Hi: 0x3164, Stride: 1},
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1},
		{Lo: 0xfeff, Hi: 0xfeff, Stride: 1},
		{Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
		{Lo: 0xfff0, Hi: 0xfff8, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1bca0, Hi: 0x1bca3, Stride: 1},
		{Lo: 0x1d173, Hi: 0x1d17a, Stride: 1},
		{Lo: 0xe0000, Hi: 0xe0fff, Stride: 1},
	},
	LatinOffset: 1,
}

// isBlank is White_Space of Unicode, and the Braille pattern without dots, which
// is as empty. Control characters that are white space stand for blanks here, too.
func isBlank(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r == ' ', r == 0x85, r == 0xa0, r == 0x1680, r >= 0x2000 && r <= 0x200a:
		return true
	}
	return r == 0x2028 || r == 0x2029 || r == 0x202f || r == 0x205f || r == 0x2800 || r == 0x3000
}

func isControl(r rune) bool { return r < ' ' || r >= 0x7f && r <= 0x9f }

func isHidden(r rune) bool { return isControl(r) || r >= utf8.RuneSelf && unicode.Is(ignorable, r) }

// visible drops what shows nothing; bytes that are no UTF-8 stay.
func visible(value string) string {
	if strings.IndexFunc(value, isHidden) < 0 {
		return value
	}
	var out strings.Builder
	for i := 0; i < len(value); {
		r, size := utf8.DecodeRuneInString(value[i:])
		if !isHidden(r) {
			out.WriteString(value[i : i+size])
		}
		i += size
	}
	return out.String()
}

func isASCII(value string) bool {
	for i := range len(value) {
		if value[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isStable says whether Unicode will never change what it makes of the value.
func isStable(value string) bool {
	return isASCII(value) || utf8.ValidString(value) && strings.IndexFunc(value, func(r rune) bool { return !unicode.Is(known, r) }) < 0
}

package canon

import (
	"errors"
	"fmt"
	"math/bits"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Scanner reads one document from front to back and holds it to the profile
// while it reads, in one pass: what [Check] takes it takes, and nothing else.
// The caller asks for what must come next; the first thing that is otherwise
// ends the reading, and everything asked for behind it is empty. [Scanner.End]
// says what was wrong.
type Scanner struct {
	doc   string
	at    int
	depth int
	err   error
}

// Scan begins a document. Strings that are read are parts of text.
func Scan(text string) Scanner { return Scanner{doc: text} }

// End says whether the document was in the profile and has ended here.
func (s *Scanner) End() error {
	if s.err == nil && s.at != len(s.doc) {
		s.fail("something behind the document")
	}
	return s.err
}

// At is how many bytes were read so far: where a member begins and ends, for a
// reader that authenticates a document without one of its members.
func (s *Scanner) At() int { return s.at }

func (s *Scanner) fail(what string) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s at byte %d", ErrCanonical, what, s.at)
		s.at = len(s.doc)
	}
}

// Members is an object while it is read.
type Members struct {
	n    int
	last string
}

// Begin begins an object, whose members [Scanner.Member] reads.
func (s *Scanner) Begin() Members {
	s.open('{')
	return Members{}
}

// Member reads the name of the next member, whose value the caller reads; ok is
// false where there is none.
func (s *Scanner) Member(m *Members) (name string, ok bool) {
	if !s.more('}', m.n) {
		return "", false
	}
	name, ascii := s.text()
	switch {
	case m.n > 0 && name <= m.last:
		s.fail("a member name out of order")
	case !ascii:
		s.fail("a member name that is not ASCII")
	}
	s.take(':')
	if s.err != nil {
		return "", false
	}
	m.n++
	m.last = name
	return name, true
}

// Elements is an array while it is read.
type Elements struct{ n int }

// List begins an array, whose elements the caller reads, each after
// [Scanner.Element].
func (s *Scanner) List() Elements {
	s.open('[')
	return Elements{}
}

// Element says whether an element comes.
func (s *Scanner) Element(e *Elements) bool {
	if !s.more(']', e.n) {
		return false
	}
	e.n++
	return true
}

// Text reads a string.
func (s *Scanner) Text() string {
	text, _ := s.text()
	return text
}

// text reads a string, and says whether it is ASCII.
func (s *Scanner) text() (text string, ascii bool) {
	if !s.take('"') {
		return "", true
	}
	begin := s.at
	ascii = true
	for i := plain(s.doc, begin); i < len(s.doc); i = plain(s.doc, i+1) {
		switch c := s.doc[i]; {
		case c == '"':
			text = s.doc[begin:i]
			if !ascii && !utf8.ValidString(text) {
				s.fail("text that is not UTF-8")
				return "", false
			}
			s.at = i + 1
			return text, ascii
		case c == '\\':
			return s.escaped(begin - 1)
		case c < ' ':
			s.fail("a control character")
			return "", false
		default:
			ascii = false
		}
	}
	s.fail("text without an end")
	return "", false
}

// plain is where the first byte from i on stands that does not stand for itself
// alone: a quotation mark, a backslash, a control character, or no ASCII. It looks
// at eight at a time.
func plain(text string, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(text); i += 8 {
		t := text[i : i+8]
		w := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 | uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// A subtraction sets the top of each byte that was too small, and maybe those
		// of bytes behind it: the first one is right.
		if found := ((w-ones*' ')&^w | (quote-ones)&^quote | (slash-ones)&^slash | w) & tops; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c == '"' || c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			return i
		}
	}
	return i
}

// escaped reads a string with escapes, which begins at its quotation mark. It is
// in the profile where it is spelt as it would be written.
func (s *Scanner) escaped(begin int) (text string, ascii bool) {
	end := begin + 1
	for end < len(s.doc) && s.doc[end] != '"' {
		if s.doc[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(s.doc) {
		s.fail("text without an end")
		return "", false
	}
	literal := s.doc[begin : end+1]
	out, err := jsontext.AppendUnquote(nil, literal)
	if err == nil {
		var again []byte
		if again, err = jsontext.AppendQuote(nil, out); err == nil && string(again) != literal {
			err = errSpelling
		}
	}
	if err != nil {
		s.fail("text that is spelt otherwise")
		return "", false
	}
	s.at = end + 1
	return string(out), isASCII(out)
}

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

var errSpelling = errors.New("spelt otherwise")

// Int reads an integer.
func (s *Scanner) Int() int64 {
	begin := s.at
	negative := s.peek() == '-'
	if negative {
		s.at++
	}
	digits := s.at
	var n int64
	for ; s.at < len(s.doc) && s.doc[s.at]-'0' <= 9; s.at++ {
		if n = n*10 + int64(s.doc[s.at]-'0'); n > maxInteger {
			s.fail("an integer beyond 2^53-1")
			return 0
		}
	}
	width := s.at - digits
	if width == 0 || s.doc[digits] == '0' && (width > 1 || negative) {
		s.at = begin
		s.fail("no integer")
		return 0
	}
	if negative {
		n = -n
	}
	return n
}

// Time reads a string that holds a time, as [FormatTime] writes it.
func (s *Scanner) Time() time.Time {
	begin := s.at
	at, err := ParseTime(s.Text())
	if err != nil && s.err == nil {
		s.at = begin
		s.fail("no time of six digits in UTC")
	}
	return at
}

// Skip reads a value of any kind, for members that a reader does not know.
func (s *Scanner) Skip() {
	switch c := s.peek(); c {
	case '{':
		in := s.Begin()
		for _, ok := s.Member(&in); ok; _, ok = s.Member(&in) {
			s.Skip()
		}
	case '[':
		for in := s.List(); s.Element(&in); {
			s.Skip()
		}
	case '"':
		s.Text()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	default:
		s.Int()
	}
}

func (s *Scanner) word(word string) {
	if len(s.doc)-s.at < len(word) || s.doc[s.at:s.at+len(word)] != word {
		s.fail("no value")
		return
	}
	s.at += len(word)
}

// peek is the next byte, 0 at the end.
func (s *Scanner) peek() byte {
	if s.at < len(s.doc) {
		return s.doc[s.at]
	}
	return 0
}

func (s *Scanner) take(c byte) bool {
	if s.peek() != c {
		s.fail("another character than must follow")
		return false
	}
	s.at++
	return true
}

func (s *Scanner) open(c byte) {
	if !s.take(c) {
		return
	}
	if s.depth++; s.depth > maxDepth {
		s.fail("deeper than 16")
	}
}

// more says whether another element comes, after n of them.
func (s *Scanner) more(end byte, n int) bool {
	switch c := s.peek(); {
	case s.err != nil:
		return false
	case c == end:
		s.at++
		s.depth--
		return false
	case n > 0:
		return s.take(',')
	default:
		return true
	}
}

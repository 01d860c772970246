package canon

import (
	"errors"
	"fmt"
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
	text  string
	at    int
	depth int
	err   error
}

// Scan begins a document. Strings that are read are parts of text.
func Scan(text string) Scanner { return Scanner{text: text} }

// End says whether the document was in the profile and has ended here.
func (s *Scanner) End() error {
	if s.err == nil && s.at != len(s.text) {
		s.fail("something behind the document")
	}
	return s.err
}

func (s *Scanner) fail(what string) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s at byte %d", ErrCanonical, what, s.at)
		s.at = len(s.text)
	}
}

// Object reads an object. member is called with each name and reads its value.
func (s *Scanner) Object(member func(name string)) {
	if !s.open('{') {
		return
	}
	last := ""
	for n := 0; s.more('}', n); n++ {
		name := s.Text()
		if n > 0 && name <= last {
			s.fail("a member name out of order")
		}
		if err := checkName(name); s.err == nil && err != nil {
			s.err = err
		}
		s.take(':')
		if s.err != nil {
			return
		}
		last = name
		member(name)
	}
}

// Array reads an array. element is called for each element and reads it.
func (s *Scanner) Array(element func()) {
	if !s.open('[') {
		return
	}
	for n := 0; s.more(']', n); n++ {
		element()
	}
}

// Text reads a string.
func (s *Scanner) Text() string {
	if !s.take('"') {
		return ""
	}
	begin, ascii := s.at, true
	for i := begin; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			text := s.text[begin:i]
			if !ascii && !utf8.ValidString(text) {
				s.fail("text that is not UTF-8")
				return ""
			}
			s.at = i + 1
			return text
		case c == '\\':
			return s.escaped(begin - 1)
		case c < ' ':
			s.fail("a control character")
			return ""
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	s.fail("text without an end")
	return ""
}

// escaped reads a string with escapes, which begins at its quotation mark. It is
// in the profile where it is spelt as it would be written.
func (s *Scanner) escaped(begin int) string {
	end := begin + 1
	for end < len(s.text) && s.text[end] != '"' {
		if s.text[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(s.text) {
		s.fail("text without an end")
		return ""
	}
	literal := s.text[begin : end+1]
	plain, err := jsontext.AppendUnquote(nil, literal)
	if err == nil {
		var again []byte
		if again, err = jsontext.AppendQuote(nil, plain); err == nil && string(again) != literal {
			err = errSpelling
		}
	}
	if err != nil {
		s.fail("text that is spelt otherwise")
		return ""
	}
	s.at = end + 1
	return string(plain)
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
	for ; s.at < len(s.text) && s.text[s.at]-'0' <= 9; s.at++ {
		if n = n*10 + int64(s.text[s.at]-'0'); n > maxInteger {
			s.fail("an integer beyond 2^53-1")
			return 0
		}
	}
	width := s.at - digits
	if width == 0 || s.text[digits] == '0' && (width > 1 || negative) {
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
		s.Object(func(string) { s.Skip() })
	case '[':
		s.Array(s.Skip)
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
	if len(s.text)-s.at < len(word) || s.text[s.at:s.at+len(word)] != word {
		s.fail("no value")
		return
	}
	s.at += len(word)
}

// peek is the next byte, 0 at the end.
func (s *Scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
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

func (s *Scanner) open(c byte) bool {
	if !s.take(c) {
		return false
	}
	if s.depth++; s.depth > maxDepth {
		s.fail("deeper than 16")
	}
	return s.err == nil
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

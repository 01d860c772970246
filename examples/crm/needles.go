package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"

	"golang.org/x/text/unicode/norm"
)

// shortest is the length from which a value is searched: below it, chance
// would find names that nobody wrote.
const shortest = 8

// needles searches many byte strings at once. All are at least as long as the
// head, so their first bytes, read as a number, pick the few that may stand at
// a place.
type needles struct {
	patterns []needle
	byHead   map[uint64][]int
	filter   [1 << 15]uint64 // one bit for each of 2^21 hashes of a head
	head     int             // bytes, at most 8
	longest  int
}

// needle is one byte string and what it means.
type needle struct {
	bytes []byte
	label string
}

func newNeedles() *needles { return needlesOf(shortest) }

func needlesOf(head int) *needles { return &needles{byHead: map[uint64][]int{}, head: head} }

func hashHead(head uint64) (word, bit uint64) {
	h := head * 0x9e3779b97f4a7c15 >> 43
	return h >> 6, h & 63
}

// headAt is the head of what stands at the beginning of data.
func (n *needles) headAt(data []byte) uint64 {
	if len(data) >= 8 {
		return binary.LittleEndian.Uint64(data) & (1<<(8*n.head-1)<<1 - 1)
	}
	var padded [8]byte
	copy(padded[:], data[:n.head])
	return binary.LittleEndian.Uint64(padded[:])
}

// add makes the needle known and returns its number; -1 for one that is
// shorter than the head.
func (n *needles) add(label string, bytes []byte) int {
	if len(bytes) < n.head {
		return -1
	}
	head := n.headAt(bytes)
	for _, i := range n.byHead[head] {
		if string(n.patterns[i].bytes) == string(bytes) {
			return i
		}
	}
	n.byHead[head] = append(n.byHead[head], len(n.patterns))
	n.patterns = append(n.patterns, needle{bytes, label})
	word, bit := hashHead(head)
	n.filter[word] |= 1 << bit
	n.longest = max(n.longest, len(bytes))
	return len(n.patterns) - 1
}

// scan calls found for every place in data at which a needle stands.
func (n *needles) scan(data []byte, found func(needle)) {
	n.places(data, func(i int) { found(n.patterns[i]) })
}

// places calls found with the number of the needle for every place.
func (n *needles) places(data []byte, found func(int)) {
	for i := 0; i+n.head <= len(data); i++ {
		head := n.headAt(data[i:])
		word, bit := hashHead(head)
		if n.filter[word]&(1<<bit) == 0 {
			continue
		}
		for _, p := range n.byHead[head] {
			if pattern := n.patterns[p].bytes; len(data)-i >= len(pattern) && string(data[i:i+len(pattern)]) == string(pattern) {
				found(p)
			}
		}
	}
}

// scanReader scans a stream without holding it, needles across the seams of
// its blocks included. It may report a needle near a seam twice.
func (n *needles) scanReader(r io.Reader, found func(needle)) error {
	const block = 1 << 20
	buffer := make([]byte, 0, block+n.longest)
	for {
		read, err := io.ReadFull(r, buffer[len(buffer):len(buffer)+block])
		buffer = buffer[:len(buffer)+read]
		n.scan(buffer, found)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		keep := min(len(buffer), n.longest)
		buffer = buffer[:copy(buffer, buffer[len(buffer)-keep:])]
	}
}

// form is one way in which a copy of a value may stand somewhere. core is the
// part of the value that these bytes tell for certain: all of it, but for
// base64, which is cut where the neighbours take part in its characters. Only
// in a form of the value as written is it sure to stand where it was stored.
type form struct {
	name        string
	bytes, core []byte
	written     bool
}

// addAllForms makes a value known in every form in which a copy of it is
// likely to stand somewhere.
func (n *needles) addAllForms(label, value string) {
	for f := range formsOf(value) {
		n.add(label+", "+f.name, f.bytes)
	}
}

// formsOf yields the forms of a value: five spellings, each as the encodings
// in use write it.
func formsOf(value string) iter.Seq[form] {
	return func(yield func(form) bool) {
		if len(value) < shortest {
			return
		}
		for spelling := range spellings(value) {
			if !tellable(spelling) {
				continue
			}
			for f := range encodings(spelling) {
				f.written = spelling == value
				if !yield(f) {
					return
				}
			}
		}
	}
}

// spellings yields a text as written, in lower case, composed, decomposed, and
// the digits of it alone.
func spellings(value string) iter.Seq[string] {
	return func(yield func(string) bool) {
		seen := make([]string, 0, 5)
		for _, spelling := range []string{value, strings.ToLower(value), norm.NFC.String(value), norm.NFD.String(value), digitsOnly(value)} {
			if len(spelling) < shortest || slices.Contains(seen, spelling) {
				continue
			}
			seen = append(seen, spelling)
			if !yield(spelling) {
				return
			}
		}
	}
}

// tellable says that chance does not write the text: random ids and digests
// stand everywhere in hexadecimal digits, and eight digits come up in them.
func tellable(text string) bool {
	return len(text) >= 10 || len(text) >= shortest && strings.Trim(text, "0123456789abcdefABCDEF-") != ""
}

// encodings yields a text as it stands in raw bytes, UTF-16, JSON, percent
// escapes, hexadecimal digits and, at each alignment, in base64.
func encodings(spelling string) iter.Seq[form] {
	return func(yield func(form) bool) {
		plain := []byte(spelling)
		digits := hex.EncodeToString(plain)
		all := []form{
			{name: "as written", bytes: plain, core: plain},
			{name: "UTF-16LE", bytes: utf16Bytes(spelling, binary.LittleEndian), core: plain},
			{name: "UTF-16BE", bytes: utf16Bytes(spelling, binary.BigEndian), core: plain},
			{name: "hex", bytes: []byte(digits), core: plain},
			{name: "hex", bytes: []byte(strings.ToUpper(digits)), core: plain},
		}
		for _, escaped := range jsonForms(spelling) {
			all = append(all, form{name: "JSON", bytes: []byte(escaped), core: plain})
		}
		for _, escaped := range []string{url.QueryEscape(spelling), url.PathEscape(spelling)} {
			all = append(all, form{name: "percent-encoded", bytes: []byte(escaped), core: plain}, form{name: "percent-encoded", bytes: []byte(lowerEscapes(escaped)), core: plain})
		}
		for offset := range 3 {
			for _, alphabet := range base64Alphabets() {
				encoded, core := base64At(alphabet, plain, offset)
				all = append(all, form{name: "base64", bytes: encoded, core: core})
			}
		}
		for _, f := range all {
			if len(f.bytes) >= shortest && !yield(f) {
				return
			}
		}
	}
}

// digitsOnly is what a telephone system keeps of a number; "" below ten digits.
func digitsOnly(value string) string {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, value)
	if len(digits) < 10 {
		return ""
	}
	return digits
}

func utf16Bytes(text string, order binary.AppendByteOrder) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return out
}

// jsonForms are the text inside JSON quotes as encoders write it: with and
// without escaping of HTML, and with everything beyond ASCII escaped.
func jsonForms(text string) []string {
	var plain strings.Builder
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(text) != nil {
		return nil
	}
	unescaped := strings.Trim(strings.TrimSuffix(plain.String(), "\n"), `"`)
	html, err := json.Marshal(text)
	if err != nil {
		return nil
	}
	var ascii strings.Builder
	for _, r := range unescaped {
		if r < 0x80 {
			ascii.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&ascii, `\u%04x`, unit)
		}
	}
	return []string{unescaped, strings.Trim(string(html), `"`), ascii.String()}
}

// lowerEscapes turns %C3 into %c3.
func lowerEscapes(escaped string) string {
	out := []byte(escaped)
	for i := 0; i+2 < len(out); i++ {
		if out[i] == '%' {
			copy(out[i+1:i+3], strings.ToLower(string(out[i+1:i+3])))
		}
	}
	return string(out)
}

func base64Alphabets() []*base64.Encoding {
	return []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding}
}

// base64At encodes value as it stands in the base64 of a longer text, with
// offset bytes of it before: without the characters that also depend on the
// neighbours. core is what the characters that are left tell of the value:
// "...00011" and "...00012" may look the same when the last one is cut.
func base64At(encoding *base64.Encoding, value []byte, offset int) (encoded, core []byte) {
	text := encoding.EncodeToString(append(make([]byte, offset), value...))
	first := []int{0, 2, 3}[offset]
	last := len(text)
	if (offset+len(value))%3 != 0 {
		last--
	}
	if first >= last {
		return nil, nil
	}
	// Six bits a character: the bytes that lie in the characters as a whole.
	from := max(0, (6*first+7)/8-offset)
	to := 6*last/8 - offset
	return []byte(text[first:last]), value[min(from, to):to]
}

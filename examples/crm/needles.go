package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf16"

	"golang.org/x/text/unicode/norm"
)

// shortest is the length from which a value is searched: below it, chance
// would find names that nobody wrote.
const shortest = 8

// needles searches many byte strings at once. All are at least 8 bytes long,
// so the first 8 bytes, read as a number, pick the few that may stand here.
type needles struct {
	patterns []needle
	byHead   map[uint64][]int
	filter   [1 << 15]uint64 // one bit for each of 2^21 hashes of a head
	longest  int
}

// needle is one byte string and what it means.
type needle struct {
	bytes []byte
	label string
}

func newNeedles() *needles { return &needles{byHead: map[uint64][]int{}} }

func hashHead(head uint64) (word, bit uint64) {
	h := head * 0x9e3779b97f4a7c15 >> 43
	return h >> 6, h & 63
}

// add makes the needle known; shorter ones than 8 bytes are left out.
func (n *needles) add(label string, bytes []byte) {
	if len(bytes) < shortest {
		return
	}
	head := binary.LittleEndian.Uint64(bytes)
	for _, i := range n.byHead[head] {
		if string(n.patterns[i].bytes) == string(bytes) {
			return
		}
	}
	n.byHead[head] = append(n.byHead[head], len(n.patterns))
	n.patterns = append(n.patterns, needle{bytes, label})
	word, bit := hashHead(head)
	n.filter[word] |= 1 << bit
	n.longest = max(n.longest, len(bytes))
}

// scan calls found for every place in data at which a needle stands.
func (n *needles) scan(data []byte, found func(needle)) {
	for i := 0; i+shortest <= len(data); i++ {
		head := binary.LittleEndian.Uint64(data[i:])
		word, bit := hashHead(head)
		if n.filter[word]&(1<<bit) == 0 {
			continue
		}
		for _, p := range n.byHead[head] {
			if pattern := n.patterns[p]; len(data)-i >= len(pattern.bytes) && string(data[i:i+len(pattern.bytes)]) == string(pattern.bytes) {
				found(pattern)
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

// addAllForms makes a value known in every form in which a copy of it is
// likely to stand somewhere.
func (n *needles) addAllForms(label, value string) {
	if len(value) < shortest {
		return
	}
	for _, spelling := range []string{value, strings.ToLower(value), norm.NFC.String(value), norm.NFD.String(value), digitsOnly(value)} {
		if len(spelling) < shortest {
			continue
		}
		plain := []byte(spelling)
		n.add(label+", as written", plain)
		n.add(label+", UTF-16LE", utf16Bytes(spelling, binary.LittleEndian))
		n.add(label+", UTF-16BE", utf16Bytes(spelling, binary.BigEndian))
		for _, escaped := range jsonForms(spelling) {
			n.add(label+", JSON", []byte(escaped))
		}
		for _, escaped := range []string{url.QueryEscape(spelling), url.PathEscape(spelling)} {
			n.add(label+", percent-encoded", []byte(escaped))
			n.add(label+", percent-encoded", []byte(lowerEscapes(escaped)))
		}
		digits := hex.EncodeToString(plain)
		n.add(label+", hex", []byte(digits))
		n.add(label+", hex", []byte(strings.ToUpper(digits)))
		for offset := range 3 {
			for _, alphabet := range base64Alphabets() {
				n.add(label+", base64", base64At(alphabet, plain, offset))
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
// neighbours.
func base64At(encoding *base64.Encoding, value []byte, offset int) []byte {
	encoded := encoding.EncodeToString(append(make([]byte, offset), value...))
	first := []int{0, 2, 3}[offset]
	last := len(encoded)
	if (offset+len(value))%3 != 0 {
		last--
	}
	if first >= last {
		return nil
	}
	return []byte(encoded[first:last])
}

package auditlog

import (
	"bytes"
	"unicode/utf8"

	"github.com/crmguard/crmguard/internal/frame"
)

// Head is what is sealed under a person's own key, once a surrogate: the content
// key that the openings of the person's events are sealed under, and whom the
// surrogate stands for. Whoever can open it reads the person's values; when the
// person's key is destroyed nobody does, in no backup.
type Head struct {
	Content   [32]byte
	Surrogate [16]byte // zeros where it is the tenant's own
	Person    string   // "" there
}

const (
	headVersion = 1
	headBlock   = 64 // the length of a head tells little about an id
)

// AppendHead appends the plaintext of a head.
func AppendHead(dst []byte, h *Head) ([]byte, error) {
	if !h.sound() {
		return dst, malformed("head: person")
	}
	begin := len(dst)
	dst = append(append(dst, headVersion), h.Content[:]...)
	dst = frame.Append(frame.Append(dst, h.Surrogate[:]), h.Person)
	var zeros [headBlock]byte
	return append(dst, zeros[:(headBlock-(len(dst)-begin)%headBlock)%headBlock]...), nil
}

// ParseHead reads the plaintext of a head, and takes no other spelling of it than
// [AppendHead] writes. That it is the head of a row is for the caller to compare.
func ParseHead(data []byte) (h Head, err error) {
	r := reader{data: data}
	version := r.number(1)
	copy(h.Content[:], r.take(len(h.Content)))
	surrogate := r.part()
	h.Person = string(r.part())
	switch {
	case r.short || len(data)%headBlock != 0:
		return Head{}, malformed("head of %d bytes", len(data))
	case version != headVersion:
		return Head{}, malformed("head of version %d", version)
	case len(surrogate) != len(h.Surrogate):
		return Head{}, malformed("head: surrogate")
	case len(r.data) >= headBlock || len(bytes.TrimLeft(r.data, "\x00")) > 0:
		return Head{}, malformed("head: padding")
	}
	h.Surrogate = [16]byte(surrogate)
	if !h.sound() {
		return Head{}, malformed("head: person")
	}
	return h, nil
}

// sound says whether a head is of a person, or of nobody.
func (h *Head) sound() bool {
	return utf8.ValidString(h.Person) && (h.Person == "") == (h.Surrogate == [16]byte{})
}

// HeadData is the associated data of a sealed head: it is of one log and one
// surrogate.
func HeadData(log string, surrogate [16]byte) []byte {
	return frame.Append(frame.Join("crmguard/surrogate/v1", log), surrogate[:])
}

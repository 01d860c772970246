package auditlog

import "github.com/crmguard/crmguard/internal/frame"

// RowBody is what a recorded event is while it waits: one column of one row.
type RowBody struct {
	Tag    []byte // over all the rest; TagSize bytes
	Leaf   []byte // exact bytes
	Sealed []byte // openings, of AppendFrames; empty where nothing changed
}

// TagSize is the size of the tag of a waiting event: the five bytes that name
// its key, and an HMAC-SHA256.
const TagSize = 5 + 32

const rowVersion = 1

// AppendRowBody appends the bytes of the column. A tag of another size is
// ErrMalformed.
func AppendRowBody(dst []byte, b RowBody) ([]byte, error) {
	switch {
	case len(b.Tag) != TagSize:
		return dst, malformed("a tag of %d bytes", len(b.Tag))
	case len(b.Leaf) == 0 || len(b.Leaf) > MaxLeaf:
		return dst, malformed("leaf of %d bytes", len(b.Leaf))
	}
	dst = append(append(dst, rowVersion), b.Tag...)
	return append(frame.Append(dst, b.Leaf), b.Sealed...), nil
}

// ParseRowBody takes a column apart; the parts are parts of data. Neither the tag
// nor the leaf is looked at: who wrote the row is still to be found out.
func ParseRowBody(data []byte) (RowBody, error) {
	r := reader{data: data}
	version := r.number(1)
	b := RowBody{Tag: r.take(TagSize), Leaf: r.part()}
	switch {
	case r.short:
		return RowBody{}, malformed("waiting row: it ends too early")
	case version != rowVersion:
		return RowBody{}, malformed("waiting row of version %d", version)
	case len(b.Leaf) == 0 || len(b.Leaf) > MaxLeaf:
		return RowBody{}, malformed("waiting row: leaf of %d bytes", len(b.Leaf))
	}
	b.Sealed = r.data
	return b, nil
}

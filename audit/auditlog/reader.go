package auditlog

import "encoding/binary"

// reader takes bytes from the front. Where there are too few it is short from
// then on, and hands out nothing.
type reader struct {
	data  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || n > len(r.data) {
		r.short = true
		return nil
	}
	out := r.data[:n:n]
	r.data = r.data[n:]
	return out
}

// number is a big-endian number of at most 4 bytes.
func (r *reader) number(width int) uint32 {
	var n uint32
	for _, b := range r.take(width) {
		n = n<<8 | uint32(b)
	}
	return n
}

// part is LP(x).
func (r *reader) part() []byte {
	size := r.take(4)
	if r.short {
		return nil
	}
	n := binary.BigEndian.Uint32(size)
	if uint64(n) > uint64(len(r.data)) { // where int has 32 bits, n may be beyond it
		r.short = true
		return nil
	}
	return r.take(int(n))
}

package blindindex

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// Value is what an index column holds: an integer up to 63 bits, wider ones bytes;
// nothing where both are nil. It is behind pointers, which package fmt does not
// follow from a field of somebody else's.
type Value struct {
	Narrow *int64
	Wide   *string
}

// MAC computes the values of one index version. Setting up an HMAC costs
// more than a value does, so those that were used are used again.
type MAC struct {
	bits int
	idle sync.Pool // of *state
}

// state is an HMAC and room for what goes into it and comes out.
type state struct {
	mac    hash.Hash
	in     []byte
	out    [sha256.Size]byte
	narrow []int64 // of values to come: one allocation for many
}

const narrowRoom = 32

// New returns the MAC of a version, with the key of [Key].
func New(key []byte, bits int) *MAC {
	return &MAC{bits: bits, idle: sync.Pool{New: func() any { return &state{mac: hmac.New(sha256.New, key)} }}}
}

// Value computes the value of normalised parts: the leftmost bits.
func (m *MAC) Value(parts ...string) Value {
	s := m.idle.Get().(*state)
	defer m.idle.Put(s)
	s.in = s.in[:0]
	for _, part := range parts {
		s.in = append(binary.BigEndian.AppendUint32(s.in, uint32(len(part))), part...)
	}
	return m.of(s)
}

// PlainAddress is Value of an e-mail address that email/1 and email/2 only trim and
// lower, without a text of its own: printable ASCII, with blanks at its ends only
// and no point at the end. false says that it is not one.
func (m *MAC) PlainAddress(value string) (Value, bool) {
	for value != "" && value[0] == ' ' {
		value = value[1:]
	}
	for value != "" && value[len(value)-1] == ' ' {
		value = value[:len(value)-1]
	}
	if value == "" || value[len(value)-1] == '.' {
		return Value{}, false
	}
	s := m.idle.Get().(*state)
	s.in = binary.BigEndian.AppendUint32(s.in[:0], uint32(len(value)))
	s.in = append(s.in, value...)
	for i, c := range s.in[4:] {
		if c <= ' ' || c > '~' {
			clear(s.in)
			m.idle.Put(s)
			return Value{}, false
		}
		if c-'A' < 26 {
			s.in[4+i] = c + ('a' - 'A')
		}
	}
	v := m.of(s)
	m.idle.Put(s)
	return v, true
}

// of is the value of what goes in.
func (m *MAC) of(s *state) Value {
	s.mac.Reset()
	s.mac.Write(s.in)
	clear(s.in) // the pool keeps it
	sum := s.mac.Sum(s.out[:0])
	if m.bits > 63 {
		wide := string(sum[:m.bits/8])
		return Value{Wide: &wide}
	}
	if len(s.narrow) == 0 {
		s.narrow = make([]int64, narrowRoom)
	}
	one := &s.narrow[0]
	s.narrow = s.narrow[1:]
	*one = int64(binary.BigEndian.Uint64(sum) >> (64 - m.bits))
	return Value{Narrow: one}
}

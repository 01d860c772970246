package encryption

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// indexMAC computes the values of one index version. Setting up an HMAC costs
// more than a value does, so those that were used are used again.
type indexMAC struct {
	bits int
	idle sync.Pool // of *indexState
}

// indexState is an HMAC and room for what goes into it and comes out.
type indexState struct {
	mac    hash.Hash
	in     []byte
	out    [sha256.Size]byte
	narrow []int64 // of values to come: one allocation for many
}

const narrowRoom = 32

func newIndexMAC(key []byte, bits int) *indexMAC {
	return &indexMAC{bits: bits, idle: sync.Pool{New: func() any { return &indexState{mac: hmac.New(sha256.New, key)} }}}
}

// value computes the value of normalised parts: the leftmost bits.
func (m *indexMAC) value(parts ...string) IndexValue {
	s := m.idle.Get().(*indexState)
	defer m.idle.Put(s)
	s.in = s.in[:0]
	for _, part := range parts {
		s.in = append(binary.BigEndian.AppendUint32(s.in, uint32(len(part))), part...)
	}
	return m.of(s)
}

// plainAddress is value of an e-mail address that Email and EmailV1 only trim and
// lower, without a text of its own: printable ASCII, with blanks at its ends only
// and no point at the end. false says that it is not one.
func (m *indexMAC) plainAddress(value string) (IndexValue, bool) {
	for value != "" && value[0] == ' ' {
		value = value[1:]
	}
	for value != "" && value[len(value)-1] == ' ' {
		value = value[:len(value)-1]
	}
	if value == "" || value[len(value)-1] == '.' {
		return IndexValue{}, false
	}
	s := m.idle.Get().(*indexState)
	s.in = binary.BigEndian.AppendUint32(s.in[:0], uint32(len(value)))
	s.in = append(s.in, value...)
	for i, c := range s.in[4:] {
		if c <= ' ' || c > '~' {
			clear(s.in)
			m.idle.Put(s)
			return IndexValue{}, false
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
func (m *indexMAC) of(s *indexState) IndexValue {
	s.mac.Reset()
	s.mac.Write(s.in)
	clear(s.in) // the pool keeps it
	sum := s.mac.Sum(s.out[:0])
	if m.bits > 63 {
		return wideIndex(sum[:m.bits/8])
	}
	if len(s.narrow) == 0 {
		s.narrow = make([]int64, narrowRoom)
	}
	one := &s.narrow[0]
	s.narrow = s.narrow[1:]
	*one = int64(binary.BigEndian.Uint64(sum) >> (64 - m.bits))
	return IndexValue{narrow: one}
}

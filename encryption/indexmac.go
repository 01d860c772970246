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
	mac hash.Hash
	in  []byte
	out [sha256.Size]byte
}

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
	s.mac.Reset()
	s.mac.Write(s.in)
	clear(s.in) // the pool keeps it
	sum := s.mac.Sum(s.out[:0])
	if m.bits <= 63 {
		return narrowIndex(int64(binary.BigEndian.Uint64(sum) >> (64 - m.bits)))
	}
	return wideIndex(sum[:m.bits/8])
}

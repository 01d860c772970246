package accesscontrol

import (
	"encoding/binary"
	"slices"
	"sync"
)

// memo keeps what was worked out for principals, by everything that they are
// and all of their context that some policy reads: whoever lost a role is
// another principal to it. It holds at most two generations of memoSize, of
// principals that are described in memoText bytes, and all of one policy set.
type memo struct {
	mu         sync.RWMutex
	set        *snapshot
	young, old map[string]*standing
}

const (
	memoSize = 512
	memoText = 4 << 10
)

// standing is what the policies leave of a principal: the one that is kept, or
// a new one, which is kept then.
func (m *memo) standing(set *snapshot, p *Principal) (*standing, error) {
	var space [512]byte
	key, comparable := appendPrincipal(space[:0], p, set.contextRead)
	comparable = comparable && len(key) <= memoText
	if comparable {
		if kept := m.find(set, key); kept != nil {
			return kept, nil
		}
	}
	facts, err := set.factsOf(*p)
	if err != nil {
		return nil, err
	}
	fresh := &standing{set: set, facts: facts}
	fresh.residuals.Store(&residuals{})
	if comparable {
		m.keep(set, string(key), fresh)
	}
	return fresh, nil
}

func (m *memo) find(set *snapshot, key []byte) *standing {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.set != set {
		return nil
	}
	if kept := m.young[string(key)]; kept != nil {
		return kept
	}
	return m.old[string(key)]
}

// keep begins a new generation where the young one is full, or where another
// policy set is in force.
func (m *memo) keep(set *snapshot, key string, s *standing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.set != set:
		m.set, m.young, m.old = set, map[string]*standing{}, nil
	case len(m.young) >= memoSize:
		m.young, m.old = map[string]*standing{}, m.young
	}
	m.young[key] = s
}

// appendPrincipal writes a principal so that two of them that differ in
// anything are written differently. Of context that no policy reads, only the
// name and the type count. Comparable is false where a value has a Go type that
// is not written here.
func appendPrincipal(dst []byte, p *Principal, contextRead map[string]bool) (out []byte, comparable bool) {
	dst = appendText(dst, p.Tenant)
	dst, comparable = appendEntity(dst, &Entity{p.Type, p.ID, p.Attrs, p.Parents})
	dst = binary.AppendUvarint(dst, uint64(len(p.Entities)))
	for i := range p.Entities {
		var is bool
		dst, is = appendEntity(dst, &p.Entities[i])
		comparable = comparable && is
	}
	dst, is := appendValues(dst, p.Context, contextRead)
	return dst, comparable && is
}

func appendEntity(dst []byte, e *Entity) (out []byte, comparable bool) {
	dst = appendText(appendText(dst, e.Type), e.ID)
	dst = binary.AppendUvarint(dst, uint64(len(e.Parents)))
	for _, ref := range e.Parents {
		dst = appendText(appendText(dst, ref.Type), ref.ID)
	}
	return appendValues(dst, e.Attrs, nil)
}

// appendValues writes the values by name, in order. Where read is not nil, the
// values that it does not name are left out.
func appendValues(dst []byte, values map[string]any, read map[string]bool) (out []byte, comparable bool) {
	var space [16]string
	names := space[:0]
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, name := range names {
		dst = appendText(dst, name)
		before := len(dst)
		var is bool
		if dst, is = appendValue(dst, values[name]); !is {
			return dst, false
		}
		if read != nil && !read[name] {
			dst = dst[:before+1]
		}
	}
	return dst, true
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendValue writes a value behind one byte for its type.
func appendValue(dst []byte, v any) (out []byte, comparable bool) {
	switch v := v.(type) {
	case nil:
		return append(dst, 'n'), true
	case string:
		return appendText(append(dst, 's'), v), true
	case int:
		return binary.AppendVarint(append(dst, 'i'), int64(v)), true
	case int64:
		return binary.AppendVarint(append(dst, 'I'), v), true
	case bool:
		if v {
			return append(dst, 'b', 1), true
		}
		return append(dst, 'b', 0), true
	case Ref:
		return appendText(appendText(append(dst, 'r'), v.Type), v.ID), true
	case []string:
		dst = binary.AppendUvarint(append(dst, 'S'), uint64(len(v)))
		for _, s := range v {
			dst = appendText(dst, s)
		}
		return dst, v != nil
	case []int64:
		dst = binary.AppendUvarint(append(dst, 'J'), uint64(len(v)))
		for _, n := range v {
			dst = binary.AppendVarint(dst, n)
		}
		return dst, v != nil
	case []int:
		dst = binary.AppendUvarint(append(dst, 'K'), uint64(len(v)))
		for _, n := range v {
			dst = binary.AppendVarint(dst, int64(n))
		}
		return dst, v != nil
	case []bool:
		dst = binary.AppendUvarint(append(dst, 'B'), uint64(len(v)))
		for _, is := range v {
			dst, _ = appendValue(dst, is)
		}
		return dst, v != nil
	case []Ref:
		dst = binary.AppendUvarint(append(dst, 'R'), uint64(len(v)))
		for _, ref := range v {
			dst = appendText(appendText(dst, ref.Type), ref.ID)
		}
		return dst, v != nil
	default:
		return dst, false
	}
}

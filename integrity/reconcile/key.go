package reconcile

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"slices"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/internal/frame"
)

// side is one of the two sequences and the row at hand.
type side struct {
	name  string
	next  func() (Row, error, bool)
	row   Row
	there bool
	odd   bool          // the row at hand has no usable key
	key   []frame.Value // the last usable one
	n     int64
	types map[string]bool    // of the parts of its keys
	wants []integrity.Column // that no row had so far
}

func newSide(name string, rows iter.Seq2[Row, error], columns []integrity.Column) (*side, func()) {
	next, stop := iter.Pull2(rows)
	return &side{name: name, next: next, types: map[string]bool{}, wants: slices.Clone(columns)}, stop
}

// unseen refuses columns that no row had: a name that is misspelt would compare
// nothing, or everything as changed.
func (s *side) unseen() error {
	if s.n == 0 || len(s.wants) == 0 {
		return nil
	}
	return fmt.Errorf("%w: no row of %s has the column %q", ErrOptions, s.name, s.wants[0].Name)
}

// advance fetches the next row and checks that it comes after the last one.
func (s *side) advance() error {
	row, err, ok := s.next()
	if !ok {
		s.there = false
		return nil
	}
	if err != nil {
		return fmt.Errorf("integrity/reconcile: sequence %s: %w", s.name, err)
	}
	row.Key = ownKey(row.Key)
	s.n++
	key, usable := encodeKey(row.Key)
	if usable {
		if order := compareKeys(s.key, key); s.key != nil && order >= 0 {
			return &OrderError{Side: s.name, Row: s.n, Duplicate: order == 0}
		}
		s.key = key
		s.types[typesOf(key)] = true
	}
	s.wants = slices.DeleteFunc(s.wants, func(c integrity.Column) bool {
		_, has := row.Values[c.Name]
		return has
	})
	s.row, s.there, s.odd = row, true, !usable
	return nil
}

// ownKey copies the key, because drivers use their buffers again.
func ownKey(parts []any) []any {
	parts = slices.Clone(parts)
	for i, part := range parts {
		if raw, isBytes := part.([]byte); isBytes {
			parts[i] = bytes.Clone(raw)
		}
	}
	return parts
}

func encodeKey(parts []any) (key []frame.Value, usable bool) {
	for _, part := range parts {
		v, err := frame.Of(part)
		if text, isText := part.(string); isText {
			v, err = frame.Value{Type: frame.Text, Data: []byte(text)}, nil // whatever its bytes
		}
		if err != nil || rank(v.Type) == 0 {
			return nil, false
		}
		key = append(key, v)
	}
	return key, len(parts) > 0
}

// rank is the order of types, that of SQLite; 0 is no type of a key.
func rank(t frame.Type) int {
	switch t {
	case frame.Integer:
		return 1
	case frame.Text:
		return 2
	case frame.Bytes:
		return 3
	default:
		return 0
	}
}

func typesOf(key []frame.Value) string {
	types := make([]byte, len(key))
	for i, v := range key {
		types[i] = byte(v.Type)
	}
	return string(types)
}

// compareKeys compares part by part.
func compareKeys(a, b []frame.Value) int {
	for i := range min(len(a), len(b)) {
		if order := cmp.Compare(rank(a[i].Type), rank(b[i].Type)); order != 0 {
			return order
		}
		x, y := a[i].Data, b[i].Data
		if a[i].Type == frame.Integer && x[0]>>7 != y[0]>>7 {
			return cmp.Compare(y[0]>>7, x[0]>>7) // the negative one is before
		}
		if order := bytes.Compare(x, y); order != 0 {
			return order
		}
	}
	return cmp.Compare(len(a), len(b))
}

// checkKeys refuses sides that keep their keys differently: all rows would look
// missing and extra.
func checkKeys(a, b *side) error {
	for _, s := range []*side{a, b} {
		if s.n > 0 && s.key == nil {
			return fmt.Errorf("%w: no row of %s has a key of text, integers or bytes", ErrKey, s.name)
		}
	}
	for types := range a.types {
		if b.types[types] {
			return nil
		}
	}
	if a.key == nil || b.key == nil {
		return nil
	}
	return fmt.Errorf("%w: no key of a has the types of one of b (text, integers and bytes are never the same)", ErrKey)
}

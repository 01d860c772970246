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
	key   []frame.Value
	there bool
	n     int64
	wants []integrity.Column // that no row had so far
}

func newSide(name string, rows iter.Seq2[Row, error], columns []integrity.Column) (*side, func()) {
	next, stop := iter.Pull2(rows)
	return &side{name: name, next: next, wants: slices.Clone(columns)}, stop
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
	row.Key = slices.Clone(row.Key)
	key, err := encodeKey(row.Key)
	if err != nil {
		return fmt.Errorf("%w: row %d of %s", err, s.n+1, s.name)
	}
	s.n++
	if s.n > 1 {
		order, err := compareKeys(s.key, key)
		if err != nil {
			return fmt.Errorf("%w: row %d of %s", err, s.n, s.name)
		}
		if order >= 0 {
			return &OrderError{Side: s.name, Row: s.n, Duplicate: order == 0}
		}
	}
	s.wants = slices.DeleteFunc(s.wants, func(c integrity.Column) bool {
		_, has := row.Values[c.Name]
		return has
	})
	s.row, s.key, s.there = row, key, true
	return nil
}

// encodeKey encodes the parts and puts copies of its own in place of bytes.
func encodeKey(parts []any) ([]frame.Value, error) {
	if len(parts) == 0 {
		return nil, fmt.Errorf("%w: no parts", ErrKey)
	}
	key := make([]frame.Value, len(parts))
	for i, part := range parts {
		v, err := frame.Of(part)
		if err != nil || v.Type != frame.Text && v.Type != frame.Integer && v.Type != frame.Bytes {
			return nil, fmt.Errorf("%w: part %d is neither text, integer nor bytes", ErrKey, i+1)
		}
		if v.Type == frame.Bytes {
			v.Data = bytes.Clone(v.Data) // drivers use their buffers again
			parts[i] = v.Data
		}
		key[i] = v
	}
	return key, nil
}

// compareKeys compares part by part. Parts of two types have no order: the two
// systems keep their keys differently, and everything would look changed.
func compareKeys(a, b []frame.Value) (int, error) {
	for i := range min(len(a), len(b)) {
		if a[i].Type != b[i].Type {
			return 0, fmt.Errorf("%w: part %d has two types (text, bytes and integers have no common order)", ErrKey, i+1)
		}
		x, y := a[i].Data, b[i].Data
		if a[i].Type == frame.Integer && x[0]>>7 != y[0]>>7 {
			return cmp.Compare(y[0]>>7, x[0]>>7), nil // the negative one is before
		}
		if order := bytes.Compare(x, y); order != 0 {
			return order, nil
		}
	}
	return cmp.Compare(len(a), len(b)), nil
}

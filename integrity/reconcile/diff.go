package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/internal/frame"
)

// The sentinels of this package; the package comment says what to do.
var (
	ErrOrder = errors.New("integrity/reconcile: rows are not in the order of their keys")
	ErrKey   = errors.New("integrity/reconcile: unusable key")
	ErrValue = errors.New("integrity/reconcile: value has no canonical form")
)

// OrderError says where a sequence is out of order. It wraps [ErrOrder].
type OrderError struct {
	// Side is "a" or "b".
	Side string
	// Row is the number of the row in its sequence, from 1.
	Row int64
	// Duplicate says that the key is that of the row before.
	Duplicate bool
}

// Error names side and row.
func (e *OrderError) Error() string {
	if e.Duplicate {
		return fmt.Sprintf("%v: row %d of %s has the key of the row before", ErrOrder, e.Row, e.Side)
	}
	return fmt.Sprintf("%v: row %d of %s is before its predecessor", ErrOrder, e.Row, e.Side)
}

// Unwrap returns [ErrOrder].
func (e *OrderError) Unwrap() error { return ErrOrder }

// Row is one row of a sequence.
type Row struct {
	// Key is its key, one part or several: string, []byte or a Go integer.
	Key []any
	// Values are the fields to compare.
	Values map[string]any
}

// Kind says how a row differs.
type Kind string

// The kinds.
const (
	Missing Kind = "missing" // in a, not in b
	Extra   Kind = "extra"   // in b, not in a
	Changed Kind = "changed" // in both, and not the same
)

// Difference is one row that is not the same on both sides. It holds no value.
type Difference struct {
	// Kind says how.
	Kind Kind
	// Key is the key of the row.
	Key []any
	// Fields are the names of the fields that differ, sorted, for Changed.
	Fields []string
}

// Counts says how many rows were compared.
type Counts struct {
	// A and B count the rows of each side.
	A, B int64
	// Same, Missing, Extra and Changed count the outcomes.
	Same, Missing, Extra, Changed int64
}

// Options says what to compare. The zero value compares all fields that the
// rows have, by their Go types.
type Options struct {
	// Columns are the fields to compare, with what they mean. Fields beside
	// them are left out. nil compares all fields by their Go types: then
	// int64(1) and true differ.
	Columns []integrity.Column
	// Counts, if set, is filled while the sequence is read, and complete at
	// its end.
	Counts *Counts
}

// Diff yields the differences between a and b, both sorted by key, in the
// order of the keys. An error ends the sequence.
func Diff(ctx context.Context, a, b iter.Seq2[Row, error], options Options) iter.Seq2[Difference, error] {
	return func(yield func(Difference, error) bool) {
		if options.Counts == nil {
			options.Counts = new(Counts)
		}
		*options.Counts = Counts{}
		if a == nil || b == nil {
			yield(Difference{}, fmt.Errorf("%w: a sequence is nil", ErrKey))
			return
		}
		left, stop := newSide("a", a)
		defer stop()
		right, stop := newSide("b", b)
		defer stop()
		m := &merge{Options: options, left: left, right: right}
		if err := m.run(ctx, yield); err != nil {
			yield(Difference{}, err)
		}
	}
}

type merge struct {
	Options
	left, right *side
}

func (m *merge) run(ctx context.Context, yield func(Difference, error) bool) error {
	if err := m.left.advance(); err != nil {
		return err
	}
	if err := m.right.advance(); err != nil {
		return err
	}
	for m.left.there || m.right.there {
		if err := ctx.Err(); err != nil {
			return err
		}
		d, differs, err := m.step()
		if err != nil {
			return err
		}
		if differs && !yield(d, nil) {
			return nil
		}
		if err := m.pull(d, differs); err != nil {
			return err
		}
	}
	return nil
}

// step judges the rows at hand.
func (m *merge) step() (d Difference, differs bool, err error) {
	order, err := m.compare()
	switch {
	case err != nil:
		return d, false, err
	case order < 0:
		m.Counts.A++
		m.Counts.Missing++
		return Difference{Kind: Missing, Key: m.left.row.Key}, true, nil
	case order > 0:
		m.Counts.B++
		m.Counts.Extra++
		return Difference{Kind: Extra, Key: m.right.row.Key}, true, nil
	}
	m.Counts.A++
	m.Counts.B++
	fields, err := m.fields(m.left.row.Values, m.right.row.Values)
	if err != nil || len(fields) == 0 {
		if err == nil {
			m.Counts.Same++
		}
		return d, false, err
	}
	m.Counts.Changed++
	return Difference{Kind: Changed, Key: m.left.row.Key, Fields: fields}, true, nil
}

// pull moves on the side, or both sides, that were judged.
func (m *merge) pull(d Difference, differs bool) error {
	if differs && d.Kind == Missing {
		return m.left.advance()
	}
	if differs && d.Kind == Extra {
		return m.right.advance()
	}
	if err := m.left.advance(); err != nil {
		return err
	}
	return m.right.advance()
}

func (m *merge) compare() (int, error) {
	switch {
	case !m.right.there:
		return -1, nil
	case !m.left.there:
		return 1, nil
	}
	return compareKeys(m.left.key, m.right.key)
}

// fields names what differs between two rows of one key.
func (m *merge) fields(a, b map[string]any) ([]string, error) {
	if m.Columns == nil {
		return untyped(a, b)
	}
	var out []string
	for _, c := range m.Columns {
		same, err := equal(c.Name, a, b, c.Canonical)
		if err != nil {
			return nil, err
		}
		if !same {
			out = append(out, c.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func untyped(a, b map[string]any) ([]string, error) {
	var out []string
	for name := range a {
		same, err := equal(name, a, b, byGoType)
		if err != nil {
			return nil, err
		}
		if !same {
			out = append(out, name)
		}
	}
	for name := range b {
		if _, there := a[name]; !there {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func byGoType(v any) ([]byte, error) {
	value, err := frame.Of(v)
	if err != nil {
		return nil, err
	}
	return value.Append(nil), nil
}

// equal compares one field; a missing one is not NULL.
func equal(name string, a, b map[string]any, canonical func(any) ([]byte, error)) (bool, error) {
	left, inA := a[name]
	right, inB := b[name]
	if !inA || !inB {
		return inA == inB, nil
	}
	x, err := canonical(left)
	if err == nil {
		var y []byte
		if y, err = canonical(right); err == nil {
			return bytes.Equal(x, y), nil
		}
	}
	return false, fmt.Errorf("%w: field %q", ErrValue, name)
}

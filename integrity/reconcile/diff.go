package reconcile

import (
	"bytes"
	"cmp"
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
	ErrOptions = errors.New("integrity/reconcile: nothing to compare by")
	ErrOrder   = errors.New("integrity/reconcile: rows are not in the order of their keys")
	ErrKey     = errors.New("integrity/reconcile: unusable key")
	ErrLimit   = errors.New("integrity/reconcile: more differences than the limit")
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
	return fmt.Sprintf("%v: row %d of %s is before its predecessor by the bytes of the key", ErrOrder, e.Row, e.Side)
}

// Unwrap returns [ErrOrder].
func (e *OrderError) Unwrap() error { return ErrOrder }

// Row is one row of a sequence.
type Row struct {
	// Key is its key, one part or several: string, []byte or a Go integer. A
	// row without such a key is an outcome of its own.
	Key []any
	// Values are the fields to compare.
	Values map[string]any
}

// Kind says how a row differs.
type Kind string

// The kinds.
const (
	Missing    Kind = "missing"    // in a, not in b
	Extra      Kind = "extra"      // in b, not in a
	Changed    Kind = "changed"    // in both, and not the same
	Unreadable Kind = "unreadable" // a value or the key is not what it must be: nobody knows whether there is another like it
)

// Difference is one row that is not the same on both sides. It holds no value.
type Difference struct {
	// Kind says how.
	Kind Kind
	// Key is the key of the row.
	Key []any
	// Fields are the names of the fields that differ, sorted, for Changed and
	// Unreadable.
	Fields []string
	// Unreadable are the values that are not what their column says, such as a
	// date 0000-00-00, for Unreadable. A key that is NULL, a float or nothing
	// makes a row of its own.
	Unreadable []Cell
}

// Cell is one value of a row.
type Cell struct {
	// Side is "a" or "b".
	Side string
	// Field is the name of the field, "" for the key.
	Field string
}

// Counts says how many rows were compared.
type Counts struct {
	// A and B count the rows of each side.
	A, B int64
	// Same, Missing, Extra, Changed and Unreadable count the outcomes.
	Same, Missing, Extra, Changed, Unreadable int64
	// Complete says that both sides were read to their ends and were in order.
	// Without it the other numbers say nothing about the rows not read.
	Complete bool
}

// Equal reports whether both sides were read to their ends and are the same.
func (c Counts) Equal() bool { return c.Complete && c.A == c.Same && c.B == c.Same }

// Options says what to compare: Columns, or AllFields.
type Options struct {
	// Columns are the fields to compare, with what they mean. Fields beside
	// them are left out. Each must stand in a row of each side that has rows.
	Columns []integrity.Column
	// AllFields compares all fields that the rows have by their Go types, so
	// that int64(1) and true differ; of rows without fields the keys alone.
	AllFields bool
	// Limit is the number of differences that are kept until both sides have
	// ended; 0 means 100,000. Differences beyond it are counted, and the
	// sequence ends with [ErrLimit].
	Limit int
	// Stream yields each difference at once instead, so that there is no limit.
	// If the sequence then ends with an error, such as [ErrOrder], nothing that
	// was yielded before it is known to be a difference.
	Stream bool
	// Counts, if set, is filled while the sequence is read.
	Counts *Counts
}

const defaultLimit = 100_000

// check refuses options that compare nothing, or not what was meant.
func (o Options) check() error {
	switch {
	case len(o.Columns) == 0 && !o.AllFields:
		return fmt.Errorf("%w: set Columns, or AllFields", ErrOptions)
	case len(o.Columns) > 0 && o.AllFields:
		return fmt.Errorf("%w: both Columns and AllFields are set", ErrOptions)
	case o.Limit < 0:
		return fmt.Errorf("%w: Limit is below 0", ErrOptions)
	}
	if err := integrity.CheckColumns(o.Columns...); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return nil
}

// Diff yields the differences between a and b, both sorted by key, in the
// order of the keys. Nothing is yielded before both sides have ended, because
// only then it is known that both were in order; see [Options.Stream]. An error
// ends the sequence.
func Diff(ctx context.Context, a, b iter.Seq2[Row, error], options Options) iter.Seq2[Difference, error] {
	return func(yield func(Difference, error) bool) {
		if options.Counts == nil {
			options.Counts = new(Counts)
		}
		*options.Counts = Counts{}
		err := options.check()
		if ctx == nil || a == nil || b == nil {
			err = fmt.Errorf("%w: the context or a sequence is nil", ErrOptions)
		}
		if err != nil {
			yield(Difference{}, err)
			return
		}
		left, stop := newSide("a", a, options.Columns)
		defer stop()
		right, stop := newSide("b", b, options.Columns)
		defer stop()
		m := &merge{Options: options, left: left, right: right}
		if options.Stream {
			m.stream(ctx, yield)
		} else {
			m.collect(ctx, yield)
		}
	}
}

type merge struct {
	Options
	left, right *side
}

func (m *merge) stream(ctx context.Context, yield func(Difference, error) bool) {
	going := true
	err := m.run(ctx, func(d Difference) bool {
		going = yield(d, nil)
		return going
	})
	if err != nil && going {
		yield(Difference{}, err)
	}
}

// collect keeps the differences until both sides have ended.
func (m *merge) collect(ctx context.Context, yield func(Difference, error) bool) {
	var kept []Difference
	more := false
	err := m.run(ctx, func(d Difference) bool {
		if more = len(kept) == cmp.Or(m.Limit, defaultLimit); !more {
			kept = append(kept, d)
		}
		return true
	})
	if err != nil {
		yield(Difference{}, err)
		return
	}
	for _, d := range kept {
		if !yield(d, nil) {
			return
		}
	}
	if more {
		yield(Difference{}, fmt.Errorf("%w: the first %d were yielded, Counts counts all", ErrLimit, len(kept)))
	}
}

// run hands on the differences until both sides have ended or take says no.
func (m *merge) run(ctx context.Context, take func(Difference) bool) error {
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
		order := m.compare()
		if d := m.judge(order); d.Kind != "" && !take(d) {
			return nil
		}
		if order <= 0 {
			if err := m.left.advance(); err != nil {
				return err
			}
		}
		if order >= 0 {
			if err := m.right.advance(); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(ctx.Err(), checkKeys(m.left, m.right), m.left.unseen(), m.right.unseen()); err != nil {
		return err // a query that was cancelled may end like one that is through
	}
	m.Counts.Complete = true
	return nil
}

// compare says whose row is to be judged: below 0 that of a, above 0 that of b,
// 0 both, which have one key.
func (m *merge) compare() int {
	switch {
	case !m.right.there, m.left.there && m.left.odd:
		return -1
	case !m.left.there, m.right.odd:
		return 1
	}
	return compareKeys(m.left.key, m.right.key)
}

// judge says what is to be said about the rows at hand; a kind of "" is that
// they are the same.
func (m *merge) judge(order int) Difference {
	var d Difference
	switch {
	case order < 0:
		m.Counts.A++
		d = m.left.alone(Missing)
	case order > 0:
		m.Counts.B++
		d = m.right.alone(Extra)
	default:
		m.Counts.A++
		m.Counts.B++
		d = m.fields(m.left.row.Values, m.right.row.Values)
		d.Key = m.left.row.Key
	}
	switch d.Kind {
	case Missing:
		m.Counts.Missing++
	case Extra:
		m.Counts.Extra++
	case Changed:
		m.Counts.Changed++
	case Unreadable:
		m.Counts.Unreadable++
	default:
		m.Counts.Same++
	}
	return d
}

// alone is a row without one of its key on the other side, or without a key.
func (s *side) alone(kind Kind) Difference {
	if s.odd {
		return Difference{Kind: Unreadable, Key: s.row.Key, Unreadable: []Cell{{Side: s.name}}}
	}
	return Difference{Kind: kind, Key: s.row.Key}
}

// fields compares two rows of one key.
func (m *merge) fields(a, b map[string]any) (d Difference) {
	if !m.AllFields {
		for _, c := range m.Columns {
			d.field(c.Name, a, b, c.Canonical)
		}
	} else {
		for name := range a {
			d.field(name, a, b, byGoType)
		}
		for name := range b {
			if _, there := a[name]; !there {
				d.Fields = append(d.Fields, name)
			}
		}
	}
	switch {
	case len(d.Unreadable) > 0:
		d.Kind = Unreadable
	case len(d.Fields) > 0:
		d.Kind = Changed
	}
	slices.Sort(d.Fields)
	slices.SortFunc(d.Unreadable, func(x, y Cell) int { return cmp.Or(cmp.Compare(x.Field, y.Field), cmp.Compare(x.Side, y.Side)) })
	return d
}

func byGoType(v any) ([]byte, error) {
	value, err := frame.Of(v)
	if err != nil {
		return nil, err
	}
	return value.Append(nil), nil
}

// field compares one field; a missing one is not NULL.
func (d *Difference) field(name string, a, b map[string]any, canonical func(any) ([]byte, error)) {
	left, inA := a[name]
	right, inB := b[name]
	if !inA || !inB {
		if inA != inB {
			d.Fields = append(d.Fields, name)
		}
		return
	}
	x, errA := canonical(left)
	if errA != nil {
		d.Unreadable = append(d.Unreadable, Cell{Side: "a", Field: name})
	}
	y, errB := canonical(right)
	if errB != nil {
		d.Unreadable = append(d.Unreadable, Cell{Side: "b", Field: name})
	}
	if errA == nil && errB == nil && !bytes.Equal(x, y) {
		d.Fields = append(d.Fields, name)
	}
}

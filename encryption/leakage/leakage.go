package leakage

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption"
)

// The defaults of [Options].
const (
	DefaultShare  = 0.05    // of the rows that the attack may name
	DefaultSample = 200_000 // rows that the figures rest on
)

// Options are what a measurement may differ in.
type Options struct {
	// Share is how many of the rows the attack may name, from 0 to 1; 0 is
	// DefaultShare.
	Share float64
	// Sample bounds the rows that are kept, as 8 bytes each, besides a map of their
	// distinct values; 0 is DefaultSample.
	Sample int
	// Seed chooses the halves of the rows of which the one is learned from and the
	// other attacked, for figures that come out the same; 0 draws one.
	Seed uint64
	// AcceptLeakage says of an index, by its SQL column, why it may give away more:
	// such an index is measured and not refused.
	AcceptLeakage map[string]string
}

// ErrLeakage says that an index gives away more than may be.
var ErrLeakage = errors.New("leakage: an index gives away too much")

// Report is what an index gives away.
type Report struct {
	Table  string                // logical
	Column string                // logical
	Index  string                // its SQL column
	As     encryption.Normaliser // its rule
	Bits   int                   // its width

	Values   int64 // that are indexed
	Empty    int64 // that normalise to nothing, so are not
	Refused  int64 // that a normaliser of the application refuses, so cannot be written
	Sampled  int   // rows that the following figures rest on: Values, or a random sample of them
	Distinct int   // different values among them
	// Top is the share of the most frequent value: who guesses it everywhere is
	// right so often.
	Top float64
	// Collisions is how many rows of other values a search finds besides, on average
	// over the rows that are searched for.
	Collisions float64

	Attacked   int     // rows attacked: a half of them, drawn by lot
	Recovered  float64 // of them named rightly, at the width of the index
	Recovered8 float64 // the same at 8 bits

	// Accepted is why the index may give away more (Options.AcceptLeakage).
	Accepted string
}

// Share is the part of the attacked rows that were named rightly, at the width of
// the index.
func (r Report) Share() float64 {
	if r.Attacked == 0 {
		return 0
	}
	return r.Recovered / float64(r.Attacked)
}

// String is the report as a line.
func (r Report) String() string {
	text := fmt.Sprintf("%s.%s, index %s (%s, %d bits): %d values, %d different among %d; most frequent %.1f %%; %.2f rows found besides; attack names %.0f of %d, %.0f at 8 bits",
		r.Table, r.Column, r.Index, r.As, r.Bits, r.Values, r.Distinct, r.Sampled, 100*r.Top, r.Collisions, r.Recovered, r.Attacked, r.Recovered8)
	if r.Accepted != "" {
		text += "; accepted: " + r.Accepted
	}
	return text
}

// RefusedError says which indexes give away more than may be.
type RefusedError struct {
	Share   float64  // what may be
	Reports []Report // of the indexes that are refused
}

// Error names the indexes, the figures and the remedy.
func (e *RefusedError) Error() string {
	lines := make([]string, len(e.Reports))
	for i, r := range e.Reports {
		lines[i] = fmt.Sprintf("%s on %s.%s: %.1f %% of the rows are named by the frequency of their values alone", r.Index, r.Table, r.Column, 100*r.Share())
	}
	return fmt.Sprintf("%v: %s (%.1f %% may be): do not index the column, or say in Options.AcceptLeakage why that may be", ErrLeakage, strings.Join(lines, "; "), 100*e.Share)
}

// Unwrap returns ErrLeakage.
func (e *RefusedError) Unwrap() error { return ErrLeakage }

// Measure reads the values of a column once and measures each index that is
// declared on it. The reports are there also where one of them is refused
// ([RefusedError]).
func Measure(table *encryption.SealedTable, column string, values iter.Seq2[string, error], options Options) ([]Report, error) {
	if options.Share == 0 {
		options.Share = DefaultShare
	}
	if options.Sample == 0 {
		options.Sample = DefaultSample
	}
	if !(options.Share >= 0 && options.Share <= 1) || options.Sample < 2 { // NaN is neither
		return nil, fmt.Errorf("leakage: %w: a share is from 0 to 1, and a sample has two rows at least", encryption.ErrDefinition)
	}
	columns := table.Definition().Columns
	at := slices.IndexFunc(columns, func(c encryption.Column) bool { return c.Name == column })
	if at < 0 {
		return nil, fmt.Errorf("leakage: %w: no column %s.%s is declared", encryption.ErrDefinition, table.Name(), column)
	}
	indexes := columns[at].Index
	measures := make([]*measure, len(indexes))
	unknown := maps.Clone(options.AcceptLeakage)
	for i, index := range indexes {
		measures[i] = newMeasure(table, index, options.Sample, options.Seed)
		delete(unknown, index.Column)
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("leakage: %w: AcceptLeakage names %q, and %s.%s has no such index", encryption.ErrDefinition, slices.Sorted(maps.Keys(unknown)), table.Name(), column)
	}
	for value, err := range values {
		if err != nil {
			return nil, err
		}
		for _, m := range measures {
			if err := m.add(value); err != nil {
				return nil, fmt.Errorf("leakage: index %s: %w", m.index.Column, err)
			}
		}
	}
	reports := make([]Report, len(measures))
	refused := &RefusedError{Share: options.Share}
	for i, m := range measures {
		r := m.report()
		r.Table, r.Column, r.Accepted = table.Name(), column, options.AcceptLeakage[r.Index]
		if reports[i] = r; r.Share() > options.Share && r.Accepted == "" {
			refused.Reports = append(refused.Reports, r)
		}
	}
	if len(refused.Reports) > 0 {
		return reports, refused
	}
	return reports, nil
}

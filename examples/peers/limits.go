package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A limit is what a figure must be by itself, against nobody: "<= 300 ns",
// "<= 3 allocs", ">= 1000 persons/s".
type limit struct {
	text  string
	value float64
	unit  string
	least bool
}

func parseLimit(text string) (limit, error) {
	l := limit{text: text}
	rest, ok := strings.CutPrefix(text, "<= ")
	if !ok {
		rest, l.least = strings.CutPrefix(text, ">= ")
	}
	number, unit, spaced := strings.Cut(rest, " ")
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || !(value >= 0) || math.IsInf(value, 1) || !spaced || unit == "" || (!ok && !l.least) {
		return limit{}, fmt.Errorf("a limit reads <= 300 ns or >= 1000 rows/s, not %q", text)
	}
	l.value, l.unit = value, unit
	return l, nil
}

func (l limit) holds(value float64) bool {
	if l.least {
		return value >= l.value
	}
	return value <= l.value
}

// limits compares ours with what is demanded of it by itself: the time of a run in
// nanoseconds, of which the whole interval counts, or its allocations.
func (o outcome) limits() ([]row, error) {
	var out []row
	for _, text := range o.Limits {
		l, err := parseLimit(text)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", o.Package, o.What, err)
		}
		r := row{Package: o.Package, What: o.What, Against: "limit", Must: text}
		switch l.unit {
		case "ns":
			e := estimateOf(o.Figures[0].Times)
			r.Value, r.Unit = digits(e.Median), l.unit
			if r.Met = e.enough() && l.holds(e.Low) && l.holds(e.High); e.enough() {
				low, high := digits(e.Low), digits(e.High)
				r.Low, r.High = &low, &high
			}
		case "allocs":
			r.Value, r.Unit = math.Round(o.Figures[0].Allocs), l.unit
			r.Met = l.holds(r.Value)
		default:
			return nil, fmt.Errorf("%s, %s: a limit of a contest is in ns or allocs, not %q", o.Package, o.What, l.unit)
		}
		out = append(out, r)
	}
	return out, nil
}

// A count is something that is counted or weighed once, against nobody.
type count struct {
	Package, What, Note string
	Take                func() ([]taken, error)
}

// taken is one figure of a count.
type taken struct {
	Name  string
	Value float64
	Unit  string
	Must  string // a limit in that unit; "" if it is only printed
}

// A tally is a count that was taken.
type tally struct {
	count
	Taken []taken
}

func (t tally) rows() ([]row, error) {
	var out []row
	for _, one := range t.Taken {
		r := row{Package: t.Package, What: t.What, Against: one.Name, Must: printed, Value: digits(one.Value), Unit: one.Unit, Met: true}
		if one.Must != "" {
			l, err := parseLimit(one.Must)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", t.Package, t.What, err)
			}
			if l.unit != one.Unit {
				return nil, fmt.Errorf("%s, %s: a limit in %s for a figure in %s", t.Package, t.What, l.unit, one.Unit)
			}
			r.Must, r.Met = one.Must, l.holds(one.Value)
		}
		out = append(out, r)
	}
	return out, nil
}

// count takes a count and says what came of it.
func (r *runner) count(c count) (tally, error) {
	r.say("%s: %s\n", c.Package, c.What)
	some, err := c.Take()
	if err != nil {
		return tally{}, fmt.Errorf("%s, %s: %w", c.Package, c.What, err)
	}
	t := tally{c, some}
	rows, err := t.rows()
	for _, one := range rows {
		r.say("  %-64s %12s  %s\n", one.Against, amount(one.Value, one.Unit), one.verdict())
	}
	return t, err
}

func amount(value float64, unit string) string {
	if value == math.Trunc(value) && value < 1e9 {
		return strconv.FormatFloat(value, 'f', 0, 64) + " " + unit
	}
	return number(value) + " " + unit
}

func tallyTable(line func(format string, args ...any), t tally) error {
	line("\n### %s", t.What)
	line("")
	if t.Note != "" {
		line("%s", t.Note)
		line("")
	}
	line("| what | counted | demand |")
	line("|---|---|---|")
	rows, err := t.rows()
	for _, r := range rows {
		line("| %s | %s | %s |", r.Against, amount(r.Value, r.Unit), r.verdict())
	}
	return err
}

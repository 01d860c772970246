// Package health is the one shape in which the packages say how they are:
// their Status returns findings, so that one page shows all of them.
//
// A [Finding] holds no personal data: its subject is a tenant, a column, a job,
// a store or a setting, never a person, a row or an error of a driver, whose
// text may quote values. What is well is a finding too, because a page that
// lists only what is wrong looks the same when nothing was looked at.
//
// [Tally] bounds the findings of one check: a sum without a subject, which is
// always there, and a line for each of the first [MaxSubjects] subjects that
// are not well.
package health

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"
)

// Level says how bad a finding is. Levels are ordered, so the worst of many is
// their max.
type Level int

// The levels.
const (
	OK     Level = iota // looked at, and well
	Notice              // well for now, and somebody should know
	Alarm               // a promise does not hold, or will not hold for long
)

// String is ok, notice or alarm.
func (l Level) String() string {
	switch l {
	case OK:
		return "ok"
	case Notice:
		return "notice"
	case Alarm:
		return "alarm"
	}
	return "level " + strconv.Itoa(int(l))
}

// MarshalText is String, for JSON.
func (l Level) MarshalText() ([]byte, error) {
	if l < OK || l > Alarm {
		return nil, fmt.Errorf("health: there is no level %d", int(l))
	}
	return []byte(l.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (l *Level) UnmarshalText(text []byte) error {
	for known := OK; known <= Alarm; known++ {
		if known.String() == string(text) {
			*l = known
			return nil
		}
	}
	return fmt.Errorf("health: there is no level of this name: ok, notice and alarm are")
}

var (
	_ encoding.TextMarshaler   = OK
	_ encoding.TextUnmarshaler = (*Level)(nil)
)

// Finding is one thing that was looked at.
type Finding struct {
	Name    string    `json:"name"`              // what was looked at; listed in the package comment and kept like API
	Subject string    `json:"subject,omitempty"` // which tenant, column, job, store or setting; "" is all of them
	Level   Level     `json:"level"`             // how bad it is
	Value   float64   `json:"value"`             // what was measured
	Unit    string    `json:"unit"`              // of Value: "s", or what is counted
	Since   time.Time `json:"since,omitzero"`    // since when it is so; zero where that is not known
	Remedy  string    `json:"remedy,omitempty"`  // what to do, "" where nothing is to be done
}

// MarshalJSON leaves out a time that JSON has no form for: one that somebody has
// written into a table must not take away the page with all other findings.
func (f Finding) MarshalJSON() ([]byte, error) {
	type plain Finding // without this method
	if f.Since = f.Since.UTC(); f.Since.Year() < 0 || f.Since.Year() > 9999 {
		f.Since = time.Time{}
	}
	return json.Marshal(plain(f))
}

// Compare sorts findings: the worst first, then by name and subject.
func (f Finding) Compare(other Finding) int {
	return cmp.Or(-cmp.Compare(f.Level, other.Level), cmp.Compare(f.Name, other.Name), cmp.Compare(f.Subject, other.Subject))
}

// String is one line for people.
func (f Finding) String() string {
	line := f.Level.String() + " " + f.Name
	if f.Subject != "" {
		line += " " + strconv.Quote(f.Subject)
	}
	line += " " + strconv.FormatFloat(f.Value, 'f', -1, 64) + " " + f.Unit
	if !f.Since.IsZero() {
		line += " since " + f.Since.UTC().Format(time.RFC3339)
	}
	if f.Remedy != "" {
		line += ": " + f.Remedy
	}
	return line
}

// LogValue is the finding as attributes.
func (f Finding) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("name", f.Name), slog.String("level", f.Level.String()), slog.Float64("value", f.Value), slog.String("unit", f.Unit)}
	if f.Subject != "" {
		attrs = append(attrs, slog.String("subject", f.Subject))
	}
	if !f.Since.IsZero() {
		attrs = append(attrs, slog.Time("since", f.Since))
	}
	if f.Remedy != "" {
		attrs = append(attrs, slog.String("remedy", f.Remedy))
	}
	return slog.GroupValue(attrs...)
}

// Yes is ok, or the level given where bad holds.
func Yes(bad bool, level Level) Level {
	if bad {
		return level
	}
	return OK
}

// MaxSubjects bounds the subjects that one check names.
const MaxSubjects = 10

// Tally turns what was found of single subjects into the findings of one check:
// first sum, at the worst of their levels and with the remedy of the worst where
// it has none of its own, then the worst subjects that are not well, MaxSubjects
// at most.
func Tally(sum Finding, subjects []Finding) []Finding {
	return List(sum, slices.DeleteFunc(slices.Clone(subjects), func(f Finding) bool { return f.Level == OK }))
}

// List is Tally with the subjects that are well behind the others.
func List(sum Finding, subjects []Finding) []Finding {
	subjects = slices.Clone(subjects)
	slices.SortFunc(subjects, Finding.Compare)
	if len(subjects) > 0 && subjects[0].Level > OK {
		worst := subjects[0]
		sum.Level = max(sum.Level, worst.Level)
		sum.Remedy = cmp.Or(sum.Remedy, worst.Remedy)
		for _, f := range subjects {
			if f.Level > OK && !f.Since.IsZero() && (sum.Since.IsZero() || f.Since.Before(sum.Since)) {
				sum.Since = f.Since
			}
		}
	}
	return append([]Finding{sum}, subjects[:min(len(subjects), MaxSubjects)]...)
}

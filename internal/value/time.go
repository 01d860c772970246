package value

import (
	"strings"
	"time"
)

// Layouts of text that stands for a time. A fraction of the second may follow
// wherever seconds stand.
var (
	zoned = []string{
		time.RFC3339,
		"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", // PostgreSQL
		"2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05 -0700", // String of a time.Time, as the SQLite driver stores it
		"2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00",
	}
	zoneless = []string{
		"2006-01-02 15:04:05", "2006-01-02T15:04:05", // SQLite's datetime, MySQL
		"2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly,
	}
)

// Time is the point in time: also of the text that databases and drivers write
// for one. Text without a zone is read in local, and refused where local is
// nil: nobody can tell then which time it is. Text is of the years 1 to 9999. The
// zero time is none: nobody has set it, or MySQL's driver gives it for 0000-00-00.
func (v Value) Time(local *time.Location) (time.Time, error) {
	if at, isTime := v.held.(time.Time); isTime && v.kind == Time {
		if at.IsZero() {
			return at, v.not(wantTime, ErrRange)
		}
		return at, nil
	}
	text, isText := v.spelled()
	if !isText {
		return time.Time{}, v.not(wantTime, ErrKind)
	}
	if at, ok := timeText(text, local); ok {
		return at, nil
	}
	return time.Time{}, v.not(wantTime, ErrKind)
}

func timeText(text string, local *time.Location) (time.Time, bool) {
	text, _, _ = strings.Cut(text, " m=") // the monotonic clock in the String of a time.Time
	for _, layout := range zoned {
		if at, err := time.Parse(layout, text); err == nil {
			return at, strict(text, at)
		}
	}
	if local == nil {
		return time.Time{}, false
	}
	for _, layout := range zoneless {
		if at, err := time.ParseInLocation(layout, text, local); err == nil {
			return at, strict(text, at)
		}
	}
	return time.Time{}, false
}

// strict refuses what package time lets pass: an hour of one digit, a comma, an
// offset of a day, the year 0.
func strict(text string, at time.Time) bool {
	if len(text) > len(time.DateOnly) && text[13] != ':' || strings.ContainsRune(text, ',') || at.Year() < 1 {
		return false
	}
	_, offset := at.Zone()
	return offset < 24*60*60 && offset > -24*60*60
}

// Date is the calendar date YYYY-MM-DD: also of a time, or the text of one, at
// midnight of its own zone. Years 1 to 9999.
func (v Value) Date() (string, error) {
	text, isText := v.spelled()
	at, isTime := v.held.(time.Time)
	switch {
	case v.kind == Time && isTime:
	case isText:
		var ok bool
		if at, ok = timeText(text, time.UTC); !ok {
			return "", v.not(wantDate, ErrKind)
		}
	default:
		return "", v.not(wantDate, ErrKind)
	}
	hour, minute, second := at.Clock()
	if hour|minute|second|at.Nanosecond() != 0 {
		return "", v.not(wantDate, ErrKind)
	}
	if at.IsZero() || at.Year() < 1 || at.Year() > 9999 {
		return "", v.not(wantDate, ErrRange)
	}
	return at.Format(time.DateOnly), nil
}

package sqlstore

import (
	"time"

	"github.com/crmguard/crmguard/internal/value"
)

// The dates that an obligation can start at. Microseconds before 1990 are
// rather seconds or milliseconds; of text, only what is no date at all, or a
// stand-in for none (year 1, year 9999), lies outside.
const (
	firstMicro, firstYear, lastYear = 1990, 1900, 2200
)

// startDate reads where an obligation's period starts: microseconds since
// 1970, a time, or ISO 8601 text, without a zone in UTC. begun is false for
// NULL: the obligation has not begun. Whatever else there is, known is false:
// the row must be kept, because nobody can tell that the period is over.
func startDate(stored any) (from time.Time, begun, known bool) {
	v, err := value.Scanned(stored)
	if err == nil && v.IsNull() {
		return time.Time{}, false, true
	}
	first := firstYear
	if micros, isWhole := microseconds(v); err == nil && isWhole {
		first, from = firstMicro, time.UnixMicro(micros)
	} else if err == nil {
		from, err = v.Time(time.UTC)
	}
	from = from.UTC()
	return from, true, err == nil && from.Year() >= first && from.Year() <= lastYear
}

// microseconds are an integer, or the text of one, as which drivers give a
// numeric. A float is none: a Julian day is one, too.
func microseconds(v value.Value) (int64, bool) {
	switch v.Kind() {
	case value.Integer, value.Text, value.Bytes:
		n, err := v.Integer()
		return n, err == nil
	default:
		return 0, false
	}
}

// createdAt reads a creation time: microseconds since 1970, a time, or the text
// that databases write for one. What cannot be read, an integer that would be
// before 1990, a text of digits and a day without a time of day, is the zero
// time: nobody knows which side of an
// erasure it is on.
func createdAt(stored any) time.Time {
	v, err := value.Scanned(stored)
	if err != nil {
		return time.Time{}
	}
	switch v.Kind() {
	case value.Integer:
		micros, _ := v.Integer() // is one
		at := time.UnixMicro(micros).UTC()
		if at.Year() < firstMicro { // seconds, of a row that may be from today
			return time.Time{}
		}
		return at
	case value.Text, value.Bytes:
		if text, err := v.Text(); err != nil || len(text) == len(time.DateOnly) {
			return time.Time{}
		}
	default:
	}
	at, err := v.Time(time.UTC)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

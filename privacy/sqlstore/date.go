package sqlstore

import (
	"strconv"
	"strings"
	"time"
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
func startDate(v any) (from time.Time, begun, known bool) {
	first := firstYear
	switch x := v.(type) {
	case nil:
		return time.Time{}, false, true
	case int64:
		first, from = firstMicro, time.UnixMicro(x)
	case time.Time:
		from = x
	case string, []byte:
		text := asText(x)
		if micros, err := strconv.ParseInt(text, 10, 64); err == nil {
			first, from = firstMicro, time.UnixMicro(micros)
		} else {
			from = textDate(text)
		}
	}
	from = from.UTC()
	return from, true, from.Year() >= first && from.Year() <= lastYear
}

// textDate reads what databases and drivers write for a date or a time; the
// zero time is none of them.
func textDate(text string) time.Time {
	text, _, _ = strings.Cut(text, " m=") // the monotonic clock of a time.Time's String
	for _, layout := range []string{
		time.DateOnly,
		time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
		"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05", "2006-01-02 15:04Z07:00", "2006-01-02 15:04",
		"2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05 -0700",
	} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
}

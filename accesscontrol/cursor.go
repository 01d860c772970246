package accesscontrol

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
	"github.com/crmguard/crmguard/internal/canon"
)

// cursor is the place of a row in an order, as it is written.
type cursor struct {
	Version  int       `json:"v"`
	Resource string    `json:"resource"`
	By       []string  `json:"by"`
	At       []*string `json:"at"`
}

const cursorVersion = 1

// Cursor is the place of a row in the order, as text that fits into a URL: hand
// it to [Actor.Page] for what stands behind. It holds the values that the list
// is sorted by and the id, for everyone to read; and whoever changes them gets
// another place in the same list, and no row that the filter leaves out.
func (p Page) Cursor(last Resource) (string, error) {
	if p.table == nil || p.table.Resource != last.Type {
		return "", &RequestError{Part: "resource", Name: last.Type, Text: "the page is one of another type: Type is the Resource of the table"}
	}
	c := cursor{Version: cursorVersion, Resource: last.Type, By: p.names}
	for i, col := range p.slots {
		var v sqlcond.Value
		var err error
		if i < len(p.names) {
			v, err = col.place(last.Attrs[col.attr])
		} else {
			v, err = col.settle(sqlcond.TextOf(last.ID))
		}
		switch {
		case err != nil:
			return "", &RequestError{Part: "resource", Name: col.attr, Text: fault(err)}
		case v.Kind == sqlcond.Absent && col.required:
			return "", &RequestError{Part: "resource", Name: col.attr, Text: errMissing.Error()}
		case v.Kind == sqlcond.Absent:
			c.At = append(c.At, nil)
		case v.Kind == sqlcond.Text:
			c.At = append(c.At, &v.Text)
		default:
			number := strconv.FormatInt(v.Number, 10)
			c.At = append(c.At, &number)
		}
	}
	text, err := json.Marshal(c)
	return canon.FormatBytes(text), err
}

// place is a value as an order has it: a time to the microsecond.
func (col *column) place(v any) (out sqlcond.Value, err error) {
	if col.Storage != sqlcond.Instant {
		return out, col.read(v, &out)
	}
	at, there, err := timeOf(v)
	if err == nil && there {
		out = sqlcond.IntegerOf(at.UnixMicro())
	}
	return out, err
}

// position reads a cursor, which anybody may have written.
func (p Page) position(text string) ([]sqlcond.Value, error) {
	raw, err := canon.ParseBytes(text)
	var c cursor
	if err != nil || json.Unmarshal(raw, &c) != nil || c.Version != cursorVersion ||
		c.Resource != p.table.Resource || !slices.Equal(c.By, p.names) || len(c.At) != len(p.slots) {
		return nil, ErrCursor
	}
	out := make([]sqlcond.Value, len(c.At))
	for i, col := range p.slots {
		v, valid := col.parse(c.At[i])
		if !valid {
			return nil, ErrCursor
		}
		out[i] = v
	}
	return out, nil
}

// parse reads a value of a cursor.
func (col *column) parse(text *string) (sqlcond.Value, bool) {
	if text == nil {
		return sqlcond.Value{}, !col.required
	}
	v := sqlcond.Value{Kind: col.Kind}
	if col.Kind == sqlcond.Text {
		v.Text = *text
		return v, col.holds(v)
	}
	n, err := strconv.ParseInt(*text, 10, 64)
	v.Number = n
	switch {
	case err != nil:
		return v, false
	case col.Kind == sqlcond.Boolean:
		return v, n == 0 || n == 1
	case col.Storage == sqlcond.Instant:
		return v, within(time.UnixMicro(n).UnixMilli())
	case col.Storage == sqlcond.Day:
		return v, col.mayBe(v)
	default:
		return v, true
	}
}

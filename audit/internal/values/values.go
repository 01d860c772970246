package values

import (
	"bytes"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/value"
)

// Of encodes a value of a change: the types of package auditlog by what they
// say, everything else by the rules of package value.
func Of(v any) (frame.Value, error) {
	switch v.(type) {
	case nil, string, int, int64, bool, []byte, time.Time, float64:
		return frame.Of(v)
	}
	plain, err := value.Resolve(v)
	if err != nil {
		return frame.Value{}, err
	}
	switch x := plain.(type) {
	case auditlog.Absent:
		return frame.Value{Type: frame.Absent}, nil
	case frame.Value:
		return frame.Value{}, fmt.Errorf("%w: a Go type that is not for changes", frame.ErrValue)
	case auditlog.JSON:
		if x == nil {
			return frame.Value{Type: frame.Null}, nil // as all nil bytes
		}
		return frame.OfJSON(x)
	case auditlog.Decimal:
		return frame.OfDecimal(string(x))
	case auditlog.Date:
		return frame.OfDate(string(x))
	default:
		return frame.Of(plain)
	}
}

// Equal says of two values that the log commits to them as one. A value that has
// no encoding equals none.
func Equal(a, b any) bool {
	x, err1 := Of(a)
	y, err2 := Of(b)
	return err1 == nil && err2 == nil && x.Type == y.Type && bytes.Equal(x.Data, y.Data)
}

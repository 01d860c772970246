package audit

import (
	"fmt"
	"time"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/value"
)

// toValue encodes a value of a Change: the types of this package by what they
// say, everything else by the rules of package value.
func toValue(v any) (frame.Value, error) {
	switch v.(type) {
	case nil, string, int, int64, bool, []byte, time.Time, float64:
		return frame.Of(v)
	}
	plain, err := value.Resolve(v)
	if err != nil {
		return frame.Value{}, err
	}
	switch x := plain.(type) {
	case Absent:
		return frame.Value{Type: frame.Absent}, nil
	case frame.Value:
		return frame.Value{}, fmt.Errorf("%w: a Go type that is not for changes", frame.ErrValue)
	case JSON:
		if x == nil {
			return frame.Value{Type: frame.Null}, nil // as all nil bytes
		}
		return frame.OfJSON(x)
	case Decimal:
		return frame.OfDecimal(string(x))
	case Date:
		return frame.OfDate(string(x))
	default:
		return frame.Of(plain)
	}
}

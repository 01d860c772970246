package auditlog

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/crmguard/crmguard/internal/frame"
)

// Absent is the value of a field that does not exist on that side.
type Absent struct{}

// JSON is a JSON document as a field value.
type JSON []byte

// Decimal is a decimal number at its declared scale, as a field value.
type Decimal string

// Date is a calendar date YYYY-MM-DD, as a field value.
type Date string

// GoValue is the Go value of the bytes that are committed to: nil, text, int64,
// bool, []byte, time.Time, float64, [Absent], [JSON], [Decimal], [Date] or
// [StandIn].
func GoValue(v frame.Value) (any, error) {
	switch v.Type {
	case frame.Absent:
		return Absent{}, empty(v)
	case frame.Null:
		return nil, empty(v)
	case frame.Text:
		return string(v.Data), nil
	case frame.Bytes:
		return append([]byte{}, v.Data...), nil
	case frame.JSON:
		return JSON(append([]byte{}, v.Data...)), nil
	case frame.Decimal:
		return Decimal(v.Data), nil
	case frame.Date:
		return Date(v.Data), nil
	case TypeStandIn:
		return readStandIn(v)
	case frame.Boolean:
		if len(v.Data) != 1 || v.Data[0] > 1 {
			return nil, malformed("boolean value")
		}
		return v.Data[0] == 1, nil
	default:
		return fromEight(v)
	}
}

// fromEight decodes the types that take 8 bytes.
func fromEight(v frame.Value) (any, error) {
	if len(v.Data) != 8 {
		return nil, malformed("value of type %d", v.Type)
	}
	n := binary.BigEndian.Uint64(v.Data)
	switch v.Type {
	case frame.Integer:
		return int64(n), nil
	case frame.Time:
		return time.UnixMicro(int64(n)).UTC(), nil
	case frame.Float:
		return math.Float64frombits(n), nil
	default:
		return nil, malformed("value of type %d", v.Type)
	}
}

func empty(v frame.Value) error {
	if len(v.Data) != 0 {
		return malformed("value of type %d", v.Type)
	}
	return nil
}

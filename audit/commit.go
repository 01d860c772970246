package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/value"
)

// The sides of a commitment.
const (
	sideOld   byte = 0
	sideNew   byte = 1
	sideOther byte = 2 // an undeclared path
)

// salt derives the salt of one field side from the seed of (event, owner).
func salt(seed []byte, path string, side byte) []byte {
	mac := hmac.New(sha256.New, seed)
	mac.Write(append(frame.Join("crmguard/audit/salt/v1", path), side))
	return mac.Sum(nil)
}

// commitment hides a value in the log: without the seed nobody can guess it,
// with the seed nobody can open it to another value.
func commitment(seed []byte, event [16]byte, path string, side byte, v frame.Value) [32]byte {
	buf := frame.Append(nil, "crmguard/audit/commit/v1")
	buf = append(buf, salt(seed, path, side)...)
	buf = frame.Append(buf, event[:])
	buf = frame.Append(buf, path)
	buf = append(buf, side)
	return sha256.Sum256(v.Append(buf))
}

func commit(seed []byte, event [16]byte, path string, side byte, v frame.Value) string {
	c := commitment(seed, event, path, side, v)
	return canon.FormatBytes(c[:])
}

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
		if x == "" {
			return frame.Value{}, fmt.Errorf("%w: an empty decimal", frame.ErrValue)
		}
		return frame.OfDecimal(string(x))
	case Date:
		return frame.OfDate(string(x))
	default:
		return frame.Of(plain)
	}
}

// fromValue is the Go value of stored bytes, as [Change] would take it.
func fromValue(v frame.Value) (any, error) {
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
	case standIn:
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

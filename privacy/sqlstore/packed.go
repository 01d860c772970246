package sqlstore

import (
	wire "encoding/binary" // binary is a kind of column
	"fmt"
	"math"
	"time"
)

// packed are the values of a row as a Scan into an any gave them, one behind the
// other: a type byte, the length, and the value. Of a person with many rows all of
// them are in memory at once, and a []any takes several times as much.
type packed string

// pack packs values of the types that drivers hand out.
func pack(values []any) (packed, error) {
	var all, data []byte
	for _, v := range values {
		var kind byte
		switch x := v.(type) {
		case nil:
			kind, data = '0', data[:0]
		case string:
			kind, data = 's', append(data[:0], x...)
		case []byte:
			kind, data = 'x', append(data[:0], x...)
		case int64:
			kind, data = 'i', wire.AppendVarint(data[:0], x)
		case uint64: // MySQL's driver
			kind, data = 'u', wire.AppendUvarint(data[:0], x)
		case float64:
			kind, data = 'f', wire.BigEndian.AppendUint64(data[:0], math.Float64bits(x))
		case float32: // MySQL's driver
			kind, data = 'g', wire.BigEndian.AppendUint32(data[:0], math.Float32bits(x))
		case bool:
			kind, data = 'b', data[:0]
			if x {
				data = append(data, 1)
			}
		case time.Time:
			bytes, err := x.MarshalBinary()
			if err != nil {
				return "", fmt.Errorf("sqlstore: a time of the driver: %w", err)
			}
			kind, data = 't', append(data[:0], bytes...)
		default:
			return "", fmt.Errorf("sqlstore: the driver hands out a %T", v)
		}
		all = append(wire.AppendUvarint(append(all, kind), uint64(len(data))), data...)
	}
	return packed(all), nil
}

// at is the i-th value; ok is false where there are fewer. A text lies where it
// was packed and is not copied.
func (p packed) at(i int) (v any, ok bool) {
	for len(p) > 0 {
		length, width := wire.Uvarint([]byte(p[1:min(len(p), 1+wire.MaxVarintLen64)]))
		data := p[1+width:][:length]
		if i == 0 {
			return unpack(p[0], string(data)), true
		}
		i, p = i-1, p[1+width+len(data):]
	}
	return nil, false
}

func unpack(kind byte, data string) any {
	switch kind {
	case 's':
		return data
	case 'x':
		return []byte(data)
	case 'i':
		x, _ := wire.Varint([]byte(data))
		return x
	case 'u':
		x, _ := wire.Uvarint([]byte(data))
		return x
	case 'f':
		return math.Float64frombits(wire.BigEndian.Uint64([]byte(data)))
	case 'g':
		return math.Float32frombits(wire.BigEndian.Uint32([]byte(data)))
	case 'b':
		return data != ""
	case 't':
		var x time.Time
		_ = x.UnmarshalBinary([]byte(data)) // as pack has written it
		return x
	}
	return nil
}

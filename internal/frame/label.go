package frame

import (
	"bytes"
	"encoding/binary"
)

// Labelled reports whether data is LP parts to its last byte, and the first of
// them a label that begins with prefix and says more. What a key is derived for
// is told so: without that, two callers could mean different things by the same
// bytes.
func Labelled(data []byte, prefix string) bool {
	label, rest, ok := cut(data)
	if !ok || len(label) <= len(prefix) || !bytes.HasPrefix(label, []byte(prefix)) {
		return false
	}
	for ok && len(rest) > 0 {
		_, rest, ok = cut(rest)
	}
	return ok
}

// cut takes the first LP part off.
func cut(data []byte) (part, rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, nil, false
	}
	size := uint64(binary.BigEndian.Uint32(data))
	data = data[4:]
	if size > uint64(len(data)) {
		return nil, nil, false
	}
	return data[:size], data[size:], true
}

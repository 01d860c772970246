package auditlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// Frame is the sealed opening of one owner of an event.
type Frame struct {
	Owner [16]byte // the surrogate; zeros are [Nobody]
	Body  []byte   // from [SealBody]
}

// OwnerName is how an owner stands in the log: a surrogate, or [Nobody].
func (f *Frame) OwnerName() string {
	if f.Owner == [16]byte{} {
		return Nobody
	}
	return "s:" + canon.FormatBytes(f.Owner[:])
}

const (
	framesVersion = 2
	maxFrames     = MaxPersons + 1 // and nobody
)

// AppendFrames appends the openings of an event by owner: nothing where there
// are none. It sorts frames. What [ParseFrames] would refuse it refuses, and writes
// nothing.
func AppendFrames(dst []byte, frames []Frame) ([]byte, error) {
	if len(frames) == 0 {
		return dst, nil
	}
	if len(frames) > maxFrames {
		return dst, fmt.Errorf("%w: openings of %d owners", ErrTooLarge, len(frames))
	}
	slices.SortFunc(frames, func(a, b Frame) int { return bytes.Compare(a.Owner[:], b.Owner[:]) })
	for i := range frames {
		switch {
		case i > 0 && frames[i-1].Owner == frames[i].Owner:
			return dst, malformed("openings: an owner twice")
		case !isBodySize(len(frames[i].Body)):
			return dst, malformed("openings: a body of %d bytes", len(frames[i].Body))
		}
	}
	dst = binary.BigEndian.AppendUint16(append(dst, framesVersion), uint16(len(frames)))
	for i := range frames {
		dst = append(dst, frames[i].Owner[:]...)
		dst = frame.Append(dst, frames[i].Body)
	}
	return dst, nil
}

// ParseFrames reads the openings of an event. What it cannot know is whether
// they open. The bodies are parts of sealed.
func ParseFrames(sealed []byte) ([]Frame, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	r := reader{data: sealed}
	if version := r.number(1); version != framesVersion {
		return nil, malformed("openings of version %d", version)
	}
	count := int(r.number(2))
	if count == 0 || count > maxFrames {
		return nil, malformed("openings of %d owners", count)
	}
	out := make([]Frame, 0, count)
	for i := range count {
		var f Frame
		copy(f.Owner[:], r.take(len(f.Owner)))
		f.Body = r.part()
		switch {
		case r.short:
			return nil, malformed("openings: they end too early")
		case i > 0 && bytes.Compare(out[i-1].Owner[:], f.Owner[:]) >= 0:
			return nil, malformed("openings: owners out of order")
		case !isBodySize(len(f.Body)):
			return nil, malformed("openings: a body of %d bytes", len(f.Body))
		}
		out = append(out, f)
	}
	if len(r.data) > 0 {
		return nil, malformed("openings: %d bytes behind the last one", len(r.data))
	}
	return out, nil
}

// Package streams has what a sealed file or blob is named by and read with: a [Ref]
// says what it belongs to, a [Reader] is one that was opened. To seal and to open
// them are methods of encryption.SealedTable (SealStream, OpenStream, ResealStream,
// MoveStream), which say what is promised; the error is ErrStream of package
// encryption.
package streams

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// Ref says what a stream belongs to. All of it is bound into the
// stream: a file put in another row's place does not open.
type Ref struct {
	Tenant string // its tenant
	Owner  string // person, record owner r:<uuid>, or t:
	Column string // logical column, declared as Stream
	Row    string // key of the row it belongs to
}

// Reader is an opened stream, as SealedTable.OpenStream of package encryption
// answers. Read answers ErrStream when a segment does not
// open, the stream was cut, or the size is not the one that was sealed; only
// after io.EOF is everything that was read known to be complete.
type Reader struct {
	Name string // file name as sealed
	Size int64  // bytes that Read gives
	left int64
	src  io.Reader
}

// NewReader reads size and name, which stand before the content of what was
// opened (formats.md).
func NewReader(r io.Reader) (*Reader, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("%w: its beginning does not open", keyring.ErrStream)
	}
	size := binary.BigEndian.Uint64(head[:8])
	length := binary.BigEndian.Uint32(head[8:])
	if length > format.MaxStreamName || size > 1<<62 {
		return nil, fmt.Errorf("%w: its beginning is damaged", keyring.ErrStream)
	}
	name := make([]byte, length)
	if _, err := io.ReadFull(r, name); err != nil {
		return nil, fmt.Errorf("%w: its beginning does not open", keyring.ErrStream)
	}
	return &Reader{Name: string(name), Size: int64(size), left: int64(size), src: r}, nil
}

// Read reads the content.
func (s *Reader) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	s.left -= int64(n)
	switch {
	case s.left < 0:
		return 0, fmt.Errorf("%w: longer than its size", keyring.ErrStream)
	case err == nil:
		return n, nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return n, err
	case !errors.Is(err, io.EOF):
		return n, fmt.Errorf("%w: a segment is damaged or missing", keyring.ErrStream)
	case s.left != 0:
		return n, fmt.Errorf("%w: shorter than its size", keyring.ErrStream)
	}
	return n, io.EOF
}

package bundle

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrSpool says that the temporary file cannot be written or read.
var ErrSpool = errors.New("bundle: temporary file")

// spool holds what is too much for memory in a temporary file, sealed under a key
// that is nowhere but in this process: whatever a disk keeps of the file later,
// nobody opens. On unix it has no name from the beginning, so that a process
// that is killed leaves none behind.
type spool struct {
	file   *os.File
	out    *bufio.Writer
	seal   cipher.AEAD
	end    int64
	sealed []byte // reused
	plain  []byte // reused
}

// part is where something stands in the spool.
type part struct {
	offset int64
	length int // sealed
}

func newSpool(dir string) (*spool, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // which never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpool, err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpool, err)
	}
	file, err := os.CreateTemp(dir, "crmguard-export-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpool, err)
	}
	_ = os.Remove(file.Name()) // where a file that is open cannot go, close removes it
	return &spool{file: file, out: bufio.NewWriterSize(file, 1<<16), seal: seal}, nil
}

// put appends data.
func (s *spool) put(data []byte) (part, error) {
	s.sealed = s.seal.Seal(s.sealed[:0], nil, data, s.place(s.end)) //nolint:gosec // G407: the AEAD draws its nonces itself
	at := part{s.end, len(s.sealed)}
	s.end += int64(at.length)
	if _, err := s.out.Write(s.sealed); err != nil {
		return part{}, fmt.Errorf("%w: %w", ErrSpool, err)
	}
	return at, nil
}

// flush ends the writing; reading begins behind it.
func (s *spool) flush() error {
	if err := s.out.Flush(); err != nil {
		return fmt.Errorf("%w: %w", ErrSpool, err)
	}
	return nil
}

// get returns what stands there, good until the next call.
func (s *spool) get(at part) ([]byte, error) {
	if cap(s.sealed) < at.length {
		s.sealed = make([]byte, at.length)
	}
	s.sealed = s.sealed[:at.length]
	if _, err := s.file.ReadAt(s.sealed, at.offset); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpool, err)
	}
	plain, err := s.seal.Open(s.plain[:0], nil, s.sealed, s.place(at.offset))
	if err != nil {
		return nil, fmt.Errorf("%w was changed: %w", ErrSpool, err)
	}
	s.plain = plain
	return plain, nil
}

// place binds a part to where it stands.
func (s *spool) place(offset int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(offset))
}

func (s *spool) close() error {
	err := s.file.Close()
	if gone := os.Remove(s.file.Name()); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSpool, err)
	}
	return nil
}

package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// LogEntry is one entry of a published folder.
type LogEntry struct {
	Index int64
	Leaf  []byte // exact bytes
}

// Entries yields all entries of a published log as they lie there, for search
// and export. It verifies neither signature nor hashes: see [VerifyLog].
func Entries(ctx context.Context, fsys fs.FS) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		if fsys == nil {
			yield(LogEntry{}, errNoFS)
			return
		}
		read := merkle.Files((&folder{fsys: fsys}).read)
		signed, err := read(ctx, CheckpointFile)
		if err != nil {
			yield(LogEntry{}, fmt.Errorf("auditlog: entries: %w", err))
			return
		}
		text, _, _ := strings.Cut(string(signed), "\n\n")
		_, head, err := c2sp.ParseCheckpoint(text + "\n")
		if err != nil {
			yield(LogEntry{}, malformed("entries: checkpoint"))
			return
		}
		for e, err := range EntriesOf(ctx, read, 0, head.N, head.N) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// EntriesOf yields the entries from up to to of a log of size entries, from files
// that lie anywhere.
func EntriesOf(ctx context.Context, files func(ctx context.Context, name string) ([]byte, error), from, to, size int64) iter.Seq2[LogEntry, error] {
	read := merkle.Files(files)
	return func(yield func(LogEntry, error) bool) {
		for n := from / c2sp.TileWidth; n*c2sp.TileWidth < to; n++ {
			width := int(min(c2sp.TileWidth, size-n*c2sp.TileWidth))
			data, name, err := read.Tile(ctx, c2sp.Tile(-1, n, width))
			if err != nil {
				yield(LogEntry{}, fmt.Errorf("auditlog: entries: %s: %w", name, err))
				return
			}
			for i := range width {
				var raw []byte
				if raw, data, err = c2sp.ReadEntry(data); err != nil {
					yield(LogEntry{}, malformed("entries: %s ends too early", name))
					return
				}
				index := n*c2sp.TileWidth + int64(i)
				if index >= from && index < to && !yield(LogEntry{Index: index, Leaf: raw}, nil) {
					return
				}
			}
		}
	}
}

// maxFile bounds a published file: a bundle of 256 entries of the largest size.
const maxFile = c2sp.TileWidth * (MaxLeaf + 2)

var errNoFS = invalid("verify: no file system was handed in")

var errNotPlain = errors.New("auditlog: published file is no plain file")

var errFileSize = errors.New("auditlog: published file is larger than any can be")

// folder reads the files of a published log, for one caller.
type folder struct {
	fsys  fs.FS
	spare [][]byte // room of files that are read no more
	bytes int      // of that room
}

func (d *folder) read(ctx context.Context, name string) (data []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// A pipe would keep the reader waiting for ever; who cannot tell before
	// opening has none.
	size := int64(-1)
	if s, ok := d.fsys.(fs.StatFS); ok {
		if info, err := s.Stat(name); err == nil {
			if !info.Mode().IsRegular() {
				return nil, errNotPlain
			}
			size = info.Size()
		}
	}
	f, err := d.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if size < 0 {
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
	}
	// One byte more than there should be, in which the end shows.
	return readAll(f, d.room(int(min(max(size, 511), maxFile))+1))
}

// readAll reads up to the end, into buf and what it must grow to.
func readAll(f io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := f.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > maxFile:
			return nil, errFileSize
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, err
		}
	}
}

// room is an empty buffer for so many bytes.
func (d *folder) room(size int) []byte {
	for i, buf := range d.spare {
		if cap(buf) >= size && cap(buf) <= 4*size {
			d.spare = slices.Delete(d.spare, i, i+1)
			d.bytes -= cap(buf)
			return buf[:0]
		}
	}
	return make([]byte, 0, size)
}

// release takes back what read returned and nobody uses any more, as much of it as
// is in hand at one time.
func (d *folder) release(data []byte) {
	if d.bytes+cap(data) <= mostAhead {
		d.spare, d.bytes = append(d.spare, data), d.bytes+cap(data)
	}
}

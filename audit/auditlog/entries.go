package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// LogEntry is one entry of a published folder.
type LogEntry struct {
	Index int64
	Leaf  []byte // exact bytes
}

// Entries yields all entries of a published log as they lie there, for search
// and export. It verifies neither signature nor hashes: see [VerifyLog]. Where the
// oldest went with retention it begins behind them: LogEntry.Index says where.
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
		if len(signed) > c2sp.MaxNote {
			yield(LogEntry{}, malformed("entries: checkpoint of %d bytes", len(signed)))
			return
		}
		text, _, _ := bytes.Cut(signed, []byte("\n\n"))
		_, head, err := c2sp.ParseCheckpoint(string(text) + "\n")
		if err != nil {
			yield(LogEntry{}, malformed("entries: checkpoint"))
			return
		}
		first, err := firstBundle(ctx, read, head.N)
		if err != nil {
			yield(LogEntry{}, fmt.Errorf("auditlog: entries: %w", err))
			return
		}
		for e, err := range EntriesOf(ctx, read, first, head.N, head.N) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// firstBundle is the first entry whose bundle is there; 0 where none is.
func firstBundle(ctx context.Context, read merkle.Files, size int64) (int64, error) {
	for n := int64(0); n*c2sp.TileWidth < size; n++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		_, _, err := read.Tile(ctx, c2sp.Tile(-1, n, int(min(c2sp.TileWidth, size-n*c2sp.TileWidth))))
		if !errors.Is(err, fs.ErrNotExist) {
			return n * c2sp.TileWidth, nil
		}
	}
	return 0, nil
}

// EntriesOf yields the entries from up to to of a log of size entries, from files
// that lie anywhere.
func EntriesOf(ctx context.Context, files func(ctx context.Context, name string) ([]byte, error), from, to, size int64) iter.Seq2[LogEntry, error] {
	read := merkle.Files(files)
	return func(yield func(LogEntry, error) bool) {
		if files == nil {
			yield(LogEntry{}, errNoFiles)
			return
		}
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

var errNoFiles = invalid("nothing to read files with was handed in")

package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// VerifyLog reads a published log, and nothing else, from the first entry to
// the last: every entry, every hash tile, the signature, and the history
// against the kept checkpoint. What is wrong is in the report; the error says
// that trust is unusable or that the context ended (the report then says
// Incomplete). Without a kept checkpoint it cannot notice that the newest
// entries were cut off, nor that someone with the signing key rewrote it all: the
// verdict is then Unanchored at best, never OK.
func VerifyLog(ctx context.Context, fsys fs.FS, trust Trust) (Report, error) {
	if fsys == nil {
		return Report{}, errNoFS
	}
	return verifyLog(ctx, readFS(fsys), trust, nil)
}

func verifyLog(ctx context.Context, read readFunc, trust Trust, begin func(w *walker)) (Report, error) {
	key, kept, err := trust.resolve()
	if err != nil {
		return Report{}, err
	}
	r := Report{Log: OK, Kept: Unanchored, Origin: key.Name()}
	if kept != nil {
		r.Kept, r.KeptSize = Incomplete, kept.N
	}
	signed, err := read(ctx, checkpointFile)
	if err != nil {
		what := "the checkpoint cannot be read"
		if errors.Is(err, fs.ErrNotExist) {
			what = "there is no checkpoint: nothing was published yet, or this is not the folder of a log"
		}
		r.add(Fault{Verdict: Incomplete, Index: -1, File: checkpointFile, What: what})
		r.Verdict = worst(r.Log, r.Kept)
		return r, ctx.Err()
	}
	tree, err := openCheckpoint(key, signed)
	if err != nil {
		r.add(unopened(err))
		r.Verdict = worst(r.Log, r.Kept)
		return r, nil
	}
	r.Size, r.Root = tree.N, tree.Hash
	w := &walker{read: read, tree: tree, report: &r, kept: kept}
	if begin != nil {
		begin(w)
	}
	if err = w.run(ctx); err != nil {
		r.add(Fault{Verdict: Incomplete, Index: r.Verified, What: "the verification was interrupted"})
	}
	w.revoked(key, signed)
	w.anchor()
	r.Verdict = worst(r.Log, r.Kept)
	return r, err
}

// unopened is what is wrong with a checkpoint that does not open. One that ends
// too early is as good as none: whoever cuts it can delete it.
func unopened(err error) Fault {
	f := Fault{Verdict: Tampered, Index: -1, File: checkpointFile, What: "the checkpoint was changed: this key did not sign what it says"}
	switch {
	case errors.Is(err, ErrMalformed):
		f.Verdict, f.What = Incomplete, "the checkpoint is empty or ends too early: a write was torn, or it was cut"
	case errors.Is(err, ErrNotSigned):
		f.What = "the checkpoint is not signed by this key: the wrong verifier key, or another log"
	case errors.Is(err, c2sp.ErrText):
		f.What = "this key signed what no log can say: whoever holds it signs other things than this library"
	}
	return f
}

// anchor compares with the kept checkpoint what the walk could not.
func (w *walker) anchor() {
	switch k := w.kept; {
	case k == nil:
	case k.N > w.tree.N:
		w.report.Kept = RolledBack
	case k.N == 0:
		w.report.Kept = Unanchored // it says nothing
	case k.N == w.tree.N && k.Hash != w.tree.Hash:
		w.report.Kept = Forked
	}
}

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
		read := readFS(fsys)
		signed, err := read(ctx, checkpointFile)
		if err != nil {
			yield(LogEntry{}, fmt.Errorf("audit: entries: %w", err))
			return
		}
		text, _, _ := strings.Cut(string(signed), "\n\n")
		_, tree, err := c2sp.ParseCheckpoint(text + "\n")
		if err != nil {
			yield(LogEntry{}, malformed("entries: checkpoint"))
			return
		}
		for e, err := range entries(ctx, read, 0, tree.N, tree.N) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// entries yields the entries from up to to of a log of size entries.
func entries(ctx context.Context, read readFunc, from, to, size int64) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		for n := from / c2sp.TileWidth; n*c2sp.TileWidth < to; n++ {
			width := int(min(c2sp.TileWidth, size-n*c2sp.TileWidth))
			data, name, err := read.tile(ctx, c2sp.Tile(-1, n, width))
			if err != nil {
				yield(LogEntry{}, fmt.Errorf("audit: entries: %s: %w", name, err))
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
const maxFile = c2sp.TileWidth * (maxLeaf + 2)

var errNoFS = invalid("verify: no file system was handed in")

var errNotPlain = errors.New("audit: published file is no plain file")

var errFileSize = errors.New("audit: published file is larger than any can be")

func readFS(fsys fs.FS) readFunc {
	return func(ctx context.Context, name string) (data []byte, err error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// A pipe would keep the reader waiting for ever; who cannot tell before
		// opening has none.
		if s, ok := fsys.(fs.StatFS); ok {
			if info, err := s.Stat(name); err == nil && !info.Mode().IsRegular() {
				return nil, errNotPlain
			}
		}
		f, err := fsys.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
		if err == nil && len(data) > maxFile {
			err = errFileSize
		}
		return data, err
	}
}

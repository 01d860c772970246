package erasurelog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"time"

	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/filelock"
)

// Files of a ledger folder.
const (
	ledgerFile = "ledger.jsonl"
	lockFile   = "ledger.lock"
	notesLock  = "notes.lock"
	tempPrefix = ".ledger-" // while one is made
)

// Folder is a ledger in a folder, outside everything that backups of the
// application's database cover: a file of lines that several processes share,
// and a file for each note. One process at a time writes (lock files). What is
// not named like one of its files is left alone.
//
// A disk that hangs holds nobody: a call returns when its context ends, and what
// it had asked of the disk, a write too, goes on in a goroutine until the disk
// answers.
func Folder(dir string) Medium { return &folder{dir: dir} }

type folder struct {
	dir  string
	over func(durable.Disk) durable.Disk // tests put disks there that fail or forget
}

// String is the path of the ledger file.
func (f *folder) String() string { return filepath.Join(f.dir, ledgerFile) }

// with calls do with the folder.
func (f *folder) with(do func(d *durable.Folder) error) error {
	d, err := durable.Open(f.dir, tempPrefix)
	if err != nil {
		return err
	}
	return errors.Join(do(d.Over(f.over)), d.Close())
}

// Create is [Medium.Create].
func (f *folder) Create(ctx context.Context) error {
	return await(ctx, func() error {
		d, err := durable.Make(f.dir, tempPrefix, 0o700)
		if err != nil {
			return err
		}
		d.Over(f.over).CleanUp(".")
		return errors.Join(d.Create(ledgerFile, nil, 0o600), d.Close())
	})
}

// Read is [Medium.Read].
func (f *folder) Read(ctx context.Context, from Position) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		chunks, stop := make(chan chunk), make(chan struct{})
		defer close(stop)
		go f.read(from.Size, chunks, stop)
		lines := lineCutter{yield: func(line []byte) bool { return yield(line, nil) }}
		for {
			var c chunk
			select {
			case c = <-chunks:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				c = chunk{err: ctx.Err()}
			}
			switch goesOn := lines.cut(c.data); {
			case !goesOn:
				return
			case errors.Is(c.err, io.EOF):
				lines.end()
				return
			case c.err == nil && len(lines.rest) > MaxLine:
				c.err = fmt.Errorf("%w: a line of more than %d bytes", ErrForged, MaxLine)
			}
			if c.err != nil {
				yield(nil, c.err)
				return
			}
		}
	}
}

// A lineCutter cuts what is read into lines.
type lineCutter struct {
	yield func(line []byte) bool
	rest  []byte // the beginning of a line
	holed []byte // a line that may be a write that was cut short
}

// cut yields the lines that end in data; it returns false where no more are
// wanted.
func (c *lineCutter) cut(data []byte) bool {
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			c.rest = append(c.rest, data...)
			return true
		}
		line := data[:i+1]
		if len(c.rest) > 0 {
			line = append(c.rest, line...)
			c.rest = c.rest[:0]
		}
		data = data[i+1:]
		if len(c.holed) > 0 && !c.yield(c.holed) {
			return false
		}
		c.holed = c.holed[:0]
		if isHoled(line) {
			c.holed = append(c.holed, line...)
		} else if !c.yield(line) {
			return false
		}
	}
}

// end yields what has no newline, or counts as if it had none.
func (c *lineCutter) end() {
	switch {
	case len(c.holed) > 0 && len(c.rest) == 0:
		c.yield(c.holed[:len(c.holed)-1])
		return
	case len(c.holed) > 0 && !c.yield(c.holed):
		return
	}
	if len(c.rest) > 0 {
		c.yield(c.rest)
	}
}

// isHoled recognises a line of which the end reached the disk before the power
// failed, and the beginning did not: what was never written reads as zeros, which
// no line holds. As the last line it is a write that was cut short, as any other
// one it is none.
func isHoled(line []byte) bool { return bytes.IndexByte(line, 0) >= 0 }

// A chunk is a part of the file, and how reading it ended.
type chunk struct {
	data []byte
	err  error
}

// read sends the file from an offset on; the last chunk has an error, io.EOF at
// its end.
func (f *folder) read(offset int64, chunks chan<- chunk, stop <-chan struct{}) {
	send := func(c chunk) bool {
		select {
		case chunks <- c:
			return true
		case <-stop:
			return false
		}
	}
	err := f.with(func(d *durable.Folder) error {
		file, err := d.Open(ledgerFile)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // only read
		size := 4 << 10
		for {
			data := make([]byte, size)
			n, err := file.ReadAt(data, offset)
			offset += int64(n)
			if err != nil {
				if n > 0 && !send(chunk{data: data[:n]}) {
					return nil
				}
				return err
			}
			if !send(chunk{data: data}) {
				return nil
			}
			size = 256 << 10
		}
	})
	if err != nil {
		send(chunk{err: err})
	}
}

// Append is [Medium.Append].
func (f *folder) Append(ctx context.Context, at Position, last, line []byte) error {
	return await(ctx, func() error {
		unlock, err := f.lock(ctx, lockFile)
		if err != nil {
			return err
		}
		defer unlock()
		return f.with(func(d *durable.Folder) error { return f.append(d, at, last, line) })
	})
}

func (f *folder) append(d *durable.Folder, at Position, last, line []byte) error {
	if at.N == 0 { // whoever made the file may have been killed before its name was on disk
		if err := d.Sync("."); err != nil {
			return err
		}
	}
	begin := at.Size
	if at.N > 0 {
		begin -= int64(len(last)) + 1
	}
	found, err := after(d, begin, len(last))
	if err != nil {
		return err
	}
	behind, same := bytes.CutPrefix(found, last)
	lost := at.N > 0 && len(behind) == 0 // the newline
	if at.N > 0 && !lost {
		var ended bool
		behind, ended = bytes.CutPrefix(behind, []byte{'\n'})
		same = same && ended
	}
	if i := bytes.IndexByte(behind, '\n'); !same || i >= 0 && (i < len(behind)-1 || !isHoled(behind)) {
		return ErrMoved
	}
	if line == nil {
		return d.Flush(ledgerFile)
	}
	seen := begin + int64(len(found))
	data := append(append([]byte(nil), line...), '\n')
	if lost {
		data = append([]byte{'\n'}, data...)
	}
	return d.Append(ledgerFile, seen, min(seen, at.Size), data)
}

// after reads the file from the beginning of its last line on, and what a write
// that was cut short has left behind it.
func after(d *durable.Folder, begin int64, line int) ([]byte, error) {
	file, err := d.Open(ledgerFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	found, err := io.ReadAll(io.NewSectionReader(file, begin, int64(line)+2*MaxLine))
	if err == nil && len(found) == line+2*MaxLine {
		err = ErrMoved
	}
	return found, err
}

// lock waits for a lock file. Who gets it after the caller has gone gives it back:
// what that caller wanted another one may have undone.
func (f *folder) lock(ctx context.Context, name string) (func(), error) {
	for range 200 {
		lock, busy, err := filelock.Take(filepath.Join(f.dir, name))
		switch {
		case err == nil && ctx.Err() != nil:
			lock.Release()
			return nil, ctx.Err()
		case err == nil:
			return lock.Release, nil
		case !busy:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil, &LedgerError{Place: f.String(), Remedy: remedyBusy, Err: ErrBusy}
}

// await calls f and waits for it until the context ends.
func await(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

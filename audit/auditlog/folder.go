package auditlog

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

var errNoFS = invalid("verify: no file system was handed in")

var errNotPlain = errors.New("auditlog: published file is no plain file, or lies behind a link")

// folder reads the files of a published log, for one caller. Whoever may write
// there makes no reader wait or go elsewhere: a pipe is not opened, and no link
// is followed, for a few of them make a log without end out of one file, or lead
// out of the folder. Against what is exchanged between the look and the opening,
// and against a file system that hangs, the context helps.
type folder struct {
	fsys  fs.FS
	spare [][]byte            // room of files that are read no more
	bytes int                 // of that room
	plain map[string]struct{} // folders that are no links
}

// look says how long a file is, or -1 where the file system does not say before
// the file is open.
func (d *folder) look(name string) (size int64, err error) {
	lstat, links := d.lookers()
	if lstat == nil {
		return -1, nil
	}
	for dir := path.Dir(name); links && dir != "."; dir = path.Dir(dir) {
		if _, known := d.plain[dir]; known {
			break
		}
		info, err := lstat(dir)
		switch {
		case err != nil: // the opening says what there is to say
			return -1, nil
		case !info.IsDir():
			return 0, errNotPlain
		}
		if d.plain == nil {
			d.plain = make(map[string]struct{})
		}
		d.plain[dir] = struct{}{}
	}
	info, err := lstat(name)
	switch {
	case err != nil:
		return -1, nil
	case !info.Mode().IsRegular():
		return 0, errNotPlain
	}
	return info.Size(), nil
}

// lookers is how the file system describes a file without opening it; links says
// that it tells a link from what it leads to.
func (d *folder) lookers() (look func(name string) (fs.FileInfo, error), links bool) {
	switch s := d.fsys.(type) {
	case fs.ReadLinkFS:
		return s.Lstat, true
	case fs.StatFS:
		return s.Stat, false
	}
	return nil, false
}

type readResult struct {
	data []byte
	err  error
}

// read reads a file, of one that is longer than any can be one byte more than
// that. It returns when the context ends, whatever the file system does; what it
// leaves behind then ends when that answers.
func (d *folder) read(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if ctx.Done() == nil {
		return d.readNow(name)
	}
	// The goroutine has this folder for itself until it answers; where it does
	// not, the caller's goes on with one that shares nothing with it.
	answer, alone := make(chan readResult, 1), *d
	go func() {
		data, err := alone.readNow(name)
		answer <- readResult{data, err}
	}()
	select {
	case r := <-answer:
		*d = alone
		return r.data, r.err
	case <-ctx.Done():
		*d = folder{fsys: d.fsys}
		return nil, ctx.Err()
	}
}

func (d *folder) readNow(name string) (data []byte, err error) {
	size, err := d.look(name)
	if err != nil {
		return nil, err
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
	most := c2sp.MaxFile(name) + 1
	return readUpTo(f, d.room(int(min(max(size, 511)+1, int64(most)))), most)
}

// readUpTo reads to the end, and at most so many bytes, into buf and what it must
// grow to.
func readUpTo(f io.Reader, buf []byte, most int) ([]byte, error) {
	for len(buf) < most {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := f.Read(buf[len(buf):min(cap(buf), most)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, err
		}
	}
	return buf, nil
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

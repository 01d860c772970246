package durable

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

const (
	randomChars = 26             // of rand.Text
	leftAfter   = 24 * time.Hour // where the system has no locks
)

func (f *Folder) unfinishedName() string { return f.prefix + rand.Text() }

// unfinished says whether this package makes such names of unfinished files.
func (f *Folder) unfinished(name string) bool { return Unfinished(f.prefix, name) }

// Unfinished says whether a file with this name is unfinished, under a prefix.
func Unfinished(prefix, name string) bool {
	random, ok := strings.CutPrefix(name, prefix)
	return ok && len(random) == randomChars && strings.Trim(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// CleanUp removes what killed processes left unfinished in a folder: plain
// files with such names that no living process holds; where the system has no
// locks, those that nobody has written to for a day. What it cannot judge or
// remove stays, for it costs nothing but its space.
func (f *Folder) CleanUp(dir string) {
	entries, _ := f.ReadDir(dir)
	for _, e := range entries {
		if e.Type().IsRegular() && f.unfinished(e.Name()) {
			f.removeLeft(path.Join(dir, e.Name()))
		}
	}
}

// removeLeft removes a file while it holds its lock, so that whoever is just
// making it notices.
func (f *Folder) removeLeft(name string) bool {
	file, err := f.open(name, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }() // only read
	return f.isLeft(file, name) && f.disk.Remove(name) == nil
}

func (f *Folder) isLeft(file File, name string) bool {
	if l, ok := file.(Locker); ok {
		if held, err := l.TryLock(); err == nil {
			// Others may have cleared it away, and made another one, meanwhile.
			return held && l.Hold(func() (fs.FileInfo, error) { return f.disk.Lstat(name) }) == nil
		}
	}
	info, err := file.Stat()
	return err == nil && time.Since(info.ModTime()) > leftAfter
}

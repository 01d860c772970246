// Package audittest has the judges of the audit package's seams for published
// logs and for databases, and doubles for tests: a sink in memory that fails on
// cue, and keys in memory that seal, tag and can be erased.
//
// # Promises
//
// The doubles behave as the real ones do: what was erased does not open, what
// was changed does not verify, an absent file is fs.ErrNotExist. [Sink] passes
// its own judge.
//
// # Not promised
//
// Anything that outlives the process. Nothing here is for production.
//
// # Which call first
//
// [NewKeys] and a zero [Sink] for an audit.Config; [Run] in a test of your own
// audit.Sink, [RunStore] of your own audit.Store, or of the database that
// sqltrail is to work on.
//
// # Concurrency
//
// [Keys] and [Sink] are safe for concurrent use; set Sink.Fail before it is
// used.
//
// # Errors
//
// Those of Sink.Fail as they were handed in; the judge reports through
// testing.T and says what each fault would break.
//
// # Format and compatibility
//
// Sealed bytes begin as the real ones do, with 0x01 and the key version, and
// are not kept. Judges may become stricter where the seam always asked for it.
// Settling: the Go API may change until v0.1.0.
package audittest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/crmguard/crmguard/audit"
)

// Sink is a published log in memory. The zero value is empty and ready.
type Sink struct {
	// Fail is asked before each call, "read", "write", "swap" or "remove", and
	// the error it returns is the call's; nil lets all pass.
	Fail func(op, name string) error

	mu    sync.Mutex
	files map[string][]byte
}

var (
	_ audit.Sink    = (*Sink)(nil)
	_ audit.Remover = (*Sink)(nil)
)

func (s *Sink) cue(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if s.Fail == nil {
		return nil
	}
	return s.Fail(op, name)
}

// ReadFile returns a file, or an error that is fs.ErrNotExist.
func (s *Sink) ReadFile(_ context.Context, name string) ([]byte, error) {
	if err := s.cue("read", name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return bytes.Clone(data), nil
}

// WriteFile stores a file.
func (s *Sink) WriteFile(_ context.Context, name string, data []byte) error {
	if err := s.cue("write", name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = make(map[string][]byte)
	}
	s.files[name] = bytes.Clone(data)
	return nil
}

// SwapFile stores a file where it still holds old.
func (s *Sink) SwapFile(_ context.Context, name string, old, data []byte) error {
	if err := s.cue("swap", name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	there, ok := s.files[name]
	if ok != (old != nil) || !bytes.Equal(there, old) {
		return audit.ErrChanged
	}
	if s.files == nil {
		s.files = make(map[string][]byte)
	}
	s.files[name] = append([]byte{}, data...)
	return nil
}

// RemoveAll removes a file or a folder.
func (s *Sink) RemoveAll(_ context.Context, name string) error {
	if err := s.cue("remove", name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.files, func(file string, _ []byte) bool { return file == name || strings.HasPrefix(file, name+"/") })
	return nil
}

// FS returns a copy of the log as it is now, for reading and for damaging.
func (s *Sink) FS() fstest.MapFS {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(fstest.MapFS)
	for name, data := range s.files {
		out[name] = &fstest.MapFile{Data: bytes.Clone(data), Mode: 0o644}
	}
	return out
}

// Set replaces the whole log by that of a folder, as an attacker would.
func (s *Sink) Set(files fstest.MapFS) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = make(map[string][]byte)
	for name, file := range files {
		s.files[name] = bytes.Clone(file.Data)
	}
}

// Run is the judge: it checks that what open returns keeps the rules of
// [audit.Sink], and those of [audit.Remover] where it is one.
func Run(t *testing.T, open func(t *testing.T) audit.Sink) {
	t.Helper()
	t.Run("missing", func(t *testing.T) {
		if _, err := open(t).ReadFile(t.Context(), "checkpoint"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile of an absent file gave %v; a Sink must answer fs.ErrNotExist, or a new log looks broken", err)
		}
	})
	t.Run("write and read", func(t *testing.T) {
		sink := open(t)
		for _, name := range []string{"checkpoint", "tile/0/000.p/3", "tile/entries/x001/234"} {
			for _, want := range []string{"one", "another, longer", ""} {
				if err := sink.WriteFile(t.Context(), name, []byte(want)); err != nil {
					t.Fatalf("WriteFile(%s): %v", name, err)
				}
				got, err := sink.ReadFile(t.Context(), name)
				if err != nil || string(got) != want {
					t.Errorf("ReadFile(%s) gave %q, %v; the newest write is %q", name, got, err, want)
				}
			}
		}
	})
	t.Run("names", func(t *testing.T) {
		sink := open(t)
		for _, name := range []string{"", "/etc/x", "../x", "a/../../x", "a//b"} {
			if sink.WriteFile(t.Context(), name, nil) == nil {
				t.Errorf("WriteFile(%q) was accepted; a name must satisfy fs.ValidPath and stay inside", name)
			}
			if sink.SwapFile(t.Context(), name, nil, nil) == nil {
				t.Errorf("SwapFile(%q) was accepted; a name must satisfy fs.ValidPath and stay inside", name)
			}
		}
	})
	t.Run("swap", func(t *testing.T) { swaps(t, open(t)) })
	t.Run("swaps that meet", func(t *testing.T) { swapsMeet(t, open(t)) })
	t.Run("remove", func(t *testing.T) {
		sink := open(t)
		remover, ok := sink.(audit.Remover)
		if !ok {
			t.Skip("no audit.Remover: partial tiles stay")
		}
		removes(t, sink, remover)
	})
}

func removes(t *testing.T, sink audit.Sink, remover audit.Remover) {
	t.Helper()
	for _, name := range []string{"tile/0/000.p/1", "tile/0/000.p/200", "tile/0/000", "tile/0/001.p/1", "tile/entries/000", "tile/entries/001"} {
		if err := sink.WriteFile(t.Context(), name, []byte("x")); err != nil {
			t.Fatalf("WriteFile(%s): %v", name, err)
		}
	}
	for range 2 { // the second time it is absent, which is fine
		if err := remover.RemoveAll(t.Context(), "tile/0/000.p"); err != nil {
			t.Fatalf("RemoveAll: %v", err)
		}
	}
	for range 2 { // a file, as of entries that go with retention
		if err := remover.RemoveAll(t.Context(), "tile/entries/000"); err != nil {
			t.Fatalf("RemoveAll of a file: %v", err)
		}
	}
	for name, gone := range map[string]bool{"tile/entries/000": true, "tile/entries/001": false} {
		if _, err := sink.ReadFile(t.Context(), name); errors.Is(err, fs.ErrNotExist) != gone {
			t.Errorf("after RemoveAll(tile/entries/000), %s: %v", name, err)
		}
	}
	for name, gone := range map[string]bool{"tile/0/000.p/1": true, "tile/0/000.p/200": true, "tile/0/000": false, "tile/0/001.p/1": false} {
		if _, err := sink.ReadFile(t.Context(), name); errors.Is(err, fs.ErrNotExist) != gone {
			t.Errorf("after RemoveAll(tile/0/000.p), %s in %s: %v", path.Base(name), path.Dir(name), err)
		}
	}
}

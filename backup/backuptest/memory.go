package backuptest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"strings"
	"sync"

	"github.com/crmguard/crmguard/backup"
)

// Memory is a store in memory.
type Memory struct {
	name  string
	mu    sync.Mutex
	files map[string][]byte
}

var _ backup.Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory(name string) *Memory { return &Memory{name: name, files: map[string][]byte{}} }

// Name returns the name given to NewMemory.
func (m *Memory) Name() string { return m.name }

// Put creates a file.
func (m *Memory) Put(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.files[name]; ok && bytes.Equal(old, data) {
		return nil
	} else if ok {
		return fmt.Errorf("put %s: %w", name, fs.ErrExist)
	}
	m.files[name] = bytes.Clone(data)
	return nil
}

// Read returns a part of a file.
func (m *Memory) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[name]
	if !ok {
		return nil, fmt.Errorf("read %s: %w", name, fs.ErrNotExist)
	}
	if offset < 0 || limit < 0 {
		return nil, fmt.Errorf("read %s: %w", name, fs.ErrInvalid)
	}
	data = data[min(offset, int64(len(data))):]
	return bytes.Clone(data[:min(limit, int64(len(data)))]), nil
}

// List yields the files below a folder.
func (m *Memory) List(ctx context.Context, folder string) iter.Seq2[backup.Info, error] {
	return func(yield func(backup.Info, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(backup.Info{}, err)
			return
		}
		for name, data := range m.Files() {
			if (folder == "" || strings.HasPrefix(name, folder+"/")) && !yield(backup.Info{Name: name, Size: int64(len(data))}, nil) {
				return
			}
		}
	}
}

// Delete removes a file.
func (m *Memory) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.files[name]; !ok {
		return fmt.Errorf("delete %s: %w", name, fs.ErrNotExist)
	}
	delete(m.files, name)
	return nil
}

// Files returns the present files; their bytes must not be changed.
func (m *Memory) Files() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.files)
}

// Set replaces a file behind the repository's back; nil data removes it.
func (m *Memory) Set(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data == nil {
		delete(m.files, name)
		return
	}
	m.files[name] = bytes.Clone(data)
}

// Clone copies the store as it is now.
func (m *Memory) Clone() *Memory { return &Memory{name: m.name, files: m.Files()} }

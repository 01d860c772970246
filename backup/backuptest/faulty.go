package backuptest

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/crmguard/crmguard/backup"
)

// ErrInjected is what a [Faulty] store fails with.
var ErrInjected = errors.New("backuptest: injected fault")

// Mode says how a [Faulty] store fails at its operation.
type Mode int

// The modes.
const (
	Once  Mode = iota // the operation fails and does nothing; later ones work
	Crash             // the operation does nothing, and nothing works from then on
	Lost              // the operation is done, but its caller is told otherwise, and nothing works from then on
)

// Faulty wraps a store, counts its operations from 1, and fails at one.
type Faulty struct {
	backup.Store
	At   int // 0 never fails
	Mode Mode

	mu sync.Mutex
	n  int
}

// Operations returns how many operations were begun.
func (f *Faulty) Operations() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// step counts an operation: may it be done, and does it succeed?
func (f *Faulty) step() (do bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	switch {
	case f.At == 0 || f.n < f.At || (f.n > f.At && f.Mode == Once):
		return true, nil
	case f.n == f.At && f.Mode == Lost:
		return true, ErrInjected
	}
	return false, ErrInjected
}

// Make passes on to a store whose place has to be made. It does not count.
func (f *Faulty) Make(ctx context.Context) error {
	if m, ok := f.Store.(backup.Maker); ok {
		return m.Make(ctx)
	}
	return nil
}

// Put counts and passes on.
func (f *Faulty) Put(ctx context.Context, name string, data []byte) error {
	do, err := f.step()
	if do {
		err = errors.Join(f.Store.Put(ctx, name, data), err)
	}
	return err
}

// Read counts and passes on.
func (f *Faulty) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	do, err := f.step()
	if !do || err != nil {
		return nil, err
	}
	return f.Store.Read(ctx, name, offset, limit)
}

// List counts and passes on.
func (f *Faulty) List(ctx context.Context, folder string) iter.Seq2[backup.Info, error] {
	do, err := f.step()
	if !do || err != nil {
		return func(yield func(backup.Info, error) bool) { yield(backup.Info{}, err) }
	}
	return f.Store.List(ctx, folder)
}

// Delete counts and passes on.
func (f *Faulty) Delete(ctx context.Context, name string) error {
	do, err := f.step()
	if do {
		err = errors.Join(f.Store.Delete(ctx, name), err)
	}
	return err
}

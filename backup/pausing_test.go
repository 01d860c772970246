package backup_test

import (
	"context"
	"iter"
	"sync"

	"github.com/crmguard/crmguard/backup"
)

// steps counts operations of one or several stores from 1, and does something
// before one of them.
type steps struct {
	at int
	do func()

	mu sync.Mutex
	n  int
}

func (s *steps) step() {
	s.mu.Lock()
	s.n++
	now := s.n == s.at
	s.mu.Unlock()
	if now {
		s.do()
	}
}

// pausing is a store whose operations are steps.
type pausing struct {
	backup.Store
	*steps
}

func (p *pausing) Put(ctx context.Context, name string, data []byte) error {
	p.step()
	return p.Store.Put(ctx, name, data)
}

func (p *pausing) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	p.step()
	return p.Store.Read(ctx, name, offset, limit)
}

func (p *pausing) List(ctx context.Context, folder string) iter.Seq2[backup.Info, error] {
	p.step()
	return p.Store.List(ctx, folder)
}

func (p *pausing) Delete(ctx context.Context, name string) error {
	p.step()
	return p.Store.Delete(ctx, name)
}

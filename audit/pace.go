package audit

import (
	"sync"
	"time"
)

// On SQLite every sale waits while the sequencer writes, so the sequencer writes
// few rows at a time where that takes long, and many where it is quick. Each
// process finds its own measure.

const (
	paceFirst = 256
	paceLeast = 64
	paceMost  = 4096
	paceLong  = 100 * time.Millisecond // a lock that was held for longer: half as many
	paceShort = 25 * time.Millisecond  // and a shorter one: twice as many
)

// pace is how many rows are written under one lock. Its zero value is ready.
type pace struct {
	mu sync.Mutex
	n  int
}

// rows is the measure of now.
func (p *pace) rows() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == 0 {
		p.n = paceFirst
	}
	return p.n
}

// took learns from a lock that was held for d over so many rows. A batch that was
// not full says nothing about larger ones.
func (p *pace) took(rows int, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.n == 0:
	case d > paceLong:
		p.n = max(p.n/2, paceLeast)
	case d < paceShort && rows >= p.n:
		p.n = min(p.n*2, paceMost)
	}
}

// Package passes remembers the passes of the sequencer in a process, and says whether
// they fail or hang. It promises to say nothing in a process that makes none.
package passes

import (
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/health"
)

// All are the passes of a process. Its zero value is ready.
type All struct {
	mu      sync.Mutex
	last    time.Time         // zero: none
	failing time.Time         // since when they fail; zero: the last one did not
	running map[int]time.Time // those that have not ended, by the order in which they began
	begun   int
}

// Begins notes that a pass begins, and hands out what says that it has ended.
func (p *All) Begins(now time.Time) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		p.running = make(map[int]time.Time)
	}
	p.begun++
	number := p.begun
	p.running[number] = now
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, number)
	}
}

// stuck finds the pass that has been going on for longest. A clock that was set back
// must not keep one from ever hanging.
func (p *All) stuck(now time.Time) (since time.Time, lasts time.Duration) {
	for _, begun := range p.running {
		if d := now.Sub(begun).Abs(); d > lasts {
			since, lasts = begun, d
		}
	}
	return since, lasts
}

// hangs is how many times as long as an event may wait a pass goes on until it is
// taken for one that hangs: after a long standstill, or over a slow sink, one may
// take its time.
const hangs = 10

// Took notes how a pass ended.
func (p *All) Took(err error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = now
	switch {
	case err == nil:
		p.failing = time.Time{}
	case p.failing.IsZero():
		p.failing = now
	}
}

// Findings say nothing in a process that makes no passes.
func (p *All) Findings(now time.Time, late time.Duration) []health.Finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, lasts := p.stuck(now)
	if p.last.IsZero() && lasts <= late {
		return nil
	}
	run := health.Finding{Name: "audit.run.failing", Level: health.Yes(!p.failing.IsZero(), health.Alarm), Value: 0, Unit: "passes", Since: p.failing}
	if run.Level != health.OK {
		run.Value, run.Remedy = 1, "the last pass of the sequencer failed: see the error of RunOnce"
	}
	switch {
	case lasts > hangs*late:
		run.Level, run.Value, run.Since = health.Alarm, 1, since
		run.Remedy = "a pass has not ended since then: the sink, the store of the kept checkpoint, the key service or the database does not answer it"
	case lasts > late && run.Level == health.OK:
		run.Level, run.Since = health.Notice, since
		run.Remedy = "a pass has been going on since then: it has much to do, or something does not answer it"
	}
	return []health.Finding{run}
}

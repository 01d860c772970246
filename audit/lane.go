package audit

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A store that is worked for beside the log, a copy or the mirror, may hang for
// ever, and heed no context. What is done for it is done by one goroutine at a
// time: one that hangs is left behind, and as long as it is no other one follows
// it.

// lane is the work for one such store. Its zero value is ready.
type lane struct {
	mu      sync.Mutex
	busy    bool            // somebody of this process works for it
	asking  bool            // and that is Status
	vain    bool            // somebody has waited for that in vain
	done    <-chan struct{} // closed when that ends
	moved   time.Time       // when that began, or a call of the store last came back
	back    int64           // calls that came back
	failing time.Time       // since when the store cannot be filled; zero: it can
	err     error           // why
}

// begin starts work; what is nil is not begun, because some is going on. Who asks
// as others do shares their answer.
func (l *lane) begin(now time.Time, asking bool, work func()) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy {
		if asking && l.asking {
			return l.done
		}
		return nil
	}
	done := make(chan struct{})
	l.busy, l.asking, l.vain, l.done, l.moved = true, asking, false, done, now
	go func() {
		defer close(done)
		work()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.busy = false
	}()
	return done
}

// saw notes that a call of the store came back.
func (l *lane) saw(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moved, l.vain = now, false
	l.back++
}

// went remembers how the work for the store ended.
func (l *lane) went(err error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.err = err; {
	case err == nil:
		l.failing = time.Time{}
	case l.failing.IsZero():
		l.failing = now
	}
}

// errUnanswered says that a store does not answer.
var errUnanswered = errors.New("the store does not answer: bring it back")

// do works for the store and waits for that, and for what is going on before. It
// gives up where no call of the store comes back for as long as patience, and at
// once where somebody has before: the work itself goes on.
func (l *lane) do(ctx context.Context, now func() time.Time, patience time.Duration, work func() error) error {
	answer := make(chan error, 1)
	for {
		if mine := l.begin(now(), false, func() { answer <- work() }); mine != nil {
			if err := l.wait(ctx, mine, patience); err != nil {
				return err
			}
			return <-answer
		}
		l.mu.Lock()
		others, vain := l.done, l.busy && l.vain
		l.mu.Unlock()
		if vain {
			return errUnanswered
		}
		if err := l.wait(ctx, others, patience); err != nil {
			return err
		}
	}
}

// wait waits for work to end, as long as it gets on.
func (l *lane) wait(ctx context.Context, work <-chan struct{}, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	l.mu.Lock()
	before := l.back
	l.mu.Unlock()
	for {
		select {
		case <-work:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		l.mu.Lock()
		moved := l.back != before || l.done != work || !l.busy
		before = l.back
		if !moved {
			l.vain = true
		}
		l.mu.Unlock()
		if !moved {
			return errUnanswered
		}
		timer.Reset(patience)
	}
}

// await waits for work to end, for Config.Interval at most.
func (t *Trail) await(ctx context.Context, works []<-chan struct{}) {
	if len(works) == 0 {
		return
	}
	timer := time.NewTimer(t.config.Interval)
	defer timer.Stop()
	for _, done := range works {
		select {
		case <-done:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

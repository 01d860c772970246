// Package hanging asks stores that may never answer. Whoever asks how the trail is
// wants to know most when something hangs: a mount that does not come back heeds no
// context. So each store is asked by a goroutine that may be left behind, and as long
// as one has not come back no other one follows it.
package hanging

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrSilent says that a store has not answered.
var ErrSilent = errors.New("audit: the store does not answer")

// Left counts the goroutines that were left behind. Its zero value is ready.
type Left struct {
	mu   sync.Mutex
	left int
}

// Ask asks for something that may never answer, and waits for it until a limit.
func Ask[T any](ctx context.Context, q *Left, limit time.Duration, ask func(ctx context.Context) (T, error)) (T, error) {
	var none T
	q.mu.Lock()
	left := q.left
	q.mu.Unlock()
	if left > 0 {
		return none, ErrSilent
	}
	asked, cancel := context.WithTimeout(ctx, limit)
	type answer struct {
		of  T
		err error
	}
	answers := make(chan answer, 1)
	come := make(chan struct{})
	go func() {
		defer close(come)
		of, err := ask(asked)
		answers <- answer{of, err}
	}()
	select {
	case a := <-answers:
		cancel()
		return a.of, a.err
	case <-asked.Done():
	}
	cancel()
	go q.leave(come)
	return none, ErrSilent
}

// leave counts a goroutine that does not come back soon, until it does.
func (q *Left) leave(come <-chan struct{}) {
	select {
	case <-come:
		return
	case <-time.After(time.Second):
	}
	q.mu.Lock()
	q.left++
	q.mu.Unlock()
	<-come
	q.mu.Lock()
	defer q.mu.Unlock()
	q.left--
}

package audit

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Whoever asks how the trail is wants to know most when something hangs: a mount
// that does not come back heeds no context. So each store is asked by a goroutine
// that may be left behind, and as long as one has not come back no other one
// follows it.

// errSilent says that a store has not answered.
var errSilent = errors.New("audit: the store does not answer")

// errTags says that the key of the tags does not work at the moment.
var errTags = errors.New("audit: tag")

// longest is how long a store may take.
const longest = 10 * time.Second

// waitEach is how long each store is waited for.
func waitEach(ctx context.Context) time.Duration {
	if until, ok := ctx.Deadline(); ok {
		return min(longest, time.Until(until)/4)
	}
	return longest
}

// questions are those that Status asks beside the database.
type questions struct{ kept, look, compared leftBehind }

// leftBehind counts the goroutines that were left behind.
type leftBehind struct {
	mu   sync.Mutex
	left int
}

// within asks for something that may never answer.
func within[T any](ctx context.Context, q *leftBehind, limit time.Duration, ask func(ctx context.Context) (T, error)) (T, error) {
	var none T
	q.mu.Lock()
	left := q.left
	q.mu.Unlock()
	if left > 0 {
		return none, errSilent
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
	return none, errSilent
}

// leave counts a goroutine that does not come back soon, until it does.
func (q *leftBehind) leave(come <-chan struct{}) {
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

// lookWithin is look, for somebody who does not wait for ever.
func (t *Trail) lookWithin(ctx context.Context, limit time.Duration) (view, error) {
	return within(ctx, &t.asked.look, limit, func(ctx context.Context) (view, error) { return t.look(ctx, false) })
}

package privacy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrHangs says that an earlier call of a store about the same person has not
// come back, although its context ended: the store is not asked a second time
// while it hangs.
var ErrHangs = errors.New("privacy: an earlier call of this store about this person has not come back: find out what it waits for")

// turns lets one goroutine of this process at a time work at a person. What
// other processes do is kept apart by the database and the ledger.
type turns struct {
	mu    sync.Mutex
	taken map[string]chan struct{}
}

// take waits for its turn at all keys, or for the end of ctx. waited says that
// somebody else was at work.
func (t *turns) take(ctx context.Context, keys ...string) (release func(), waited bool, err error) {
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	for i, key := range keys {
		behind, err := t.one(ctx, key)
		if err != nil {
			t.free(keys[:i])
			return nil, false, err
		}
		waited = waited || behind
	}
	return func() { t.free(keys) }, waited, nil
}

func (t *turns) one(ctx context.Context, key string) (waited bool, err error) {
	for ; ; waited = true {
		t.mu.Lock()
		wait, busy := t.taken[key]
		if !busy {
			if t.taken == nil {
				t.taken = map[string]chan struct{}{}
			}
			t.taken[key] = make(chan struct{})
			t.mu.Unlock()
			return waited, nil
		}
		t.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

func (t *turns) free(keys []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		close(t.taken[key])
		delete(t.taken, key)
	}
}

// hanging counts the calls of stores that have not come back although whoever
// asked has gone. One that is waited for is none of them: others may ask the same
// at the same time.
type hanging struct {
	mu   sync.Mutex
	left map[string]int
}

type call struct{ left, ended bool }

func (h *hanging) is(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.left[key] > 0
}

func (h *hanging) leave(key string, c *call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.ended {
		return
	}
	if h.left == nil {
		h.left = map[string]int{}
	}
	c.left = true
	h.left[key]++
}

func (h *hanging) end(key string, c *call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.ended = true
	if !c.left {
		return
	}
	if h.left[key]--; h.left[key] == 0 {
		delete(h.left, key)
	}
}

// ask calls a store about a person and comes back when ctx ends, whether the
// store does or not: then the call goes on in its goroutine, and what it
// answers is dropped. A panic is an error, for the goroutine is ours and nobody
// else could catch it.
func ask[T any](ctx context.Context, d *Desk, store, op, about string, f func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, &StoreError{store, op, err}
	}
	key := store + "\x00" + about
	if d.hanging.is(key) {
		return none, &StoreError{store, op, ErrHangs}
	}
	type answer struct {
		value T
		err   error
	}
	answers, c := make(chan answer, 1), &call{}
	go func() {
		a := answer{err: errEnded}
		defer func() {
			if p := recover(); p != nil {
				a.err = panicked(p)
			}
			d.hanging.end(key, c)
			answers <- a
		}()
		a.value, a.err = f(ctx)
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return none, &StoreError{store, op, a.err}
		}
		return a.value, nil
	case <-ctx.Done():
		d.hanging.leave(key, c)
		return none, &StoreError{store, op, context.Cause(ctx)}
	}
}

var errEnded = errors.New("the store ended its goroutine")

func panicked(p any) error {
	if err, ok := p.(error); ok {
		return fmt.Errorf("the store panicked: %w", err)
	}
	return fmt.Errorf("the store panicked with a %T", p)
}

// tell is ask for a call that answers nothing.
func tell(ctx context.Context, d *Desk, store, op, about string, call func(ctx context.Context) error) error {
	_, err := ask(ctx, d, store, op, about, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

// about names a person within this process.
func about(tenant, person string) string { return tenant + "\x00" + person }

package keyring

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/health"
)

// A KEK that fails is asked again after a pause, which doubles with every
// failure.
const (
	firstPause   = time.Second
	longestPause = time.Minute
	// hangingPause takes the place of longestPause while calls hang that were
	// given up: each keeps a goroutine.
	hangingPause = time.Hour
	forgetPause  = 10 * time.Minute // after its pause a failure that nobody sees again is none any more
	maxFailing   = 10_000           // keysets whose failures are remembered
)

// kekCalls are the calls that open branch keys: one at a time a branch key,
// whichever keyset is needed, and none for a while after it failed. The bytes
// count, not the tenant: those of a key copy may open where those of the store
// are damaged, which looks like a KEK that fails.
type kekCalls struct {
	mu      sync.Mutex // held for moments: never while a KEK is asked
	flying  map[keysetID]*flight
	failing map[keysetID]*failure
}

// keysetID is a keyset with these very bytes: once they are mended, what was
// known about a failure is forgotten.
type keysetID struct {
	tenant, purpose, kek string
	wrapped              [sha256.Size]byte
}

func idOf(row keystore.KeysetRow) keysetID {
	return keysetID{row.Tenant, row.Purpose, row.KEK, sha256.Sum256(row.Wrapped)}
}

// flight is one call. It belongs to nobody's context: who gives up leaves it
// to the others, and to those who come next.
type flight struct {
	done chan struct{} // closed when it has landed
	open *Keyset
	err  error
}

// failure says how often a keyset did not open in a row.
type failure struct {
	count   int
	hanging int       // calls that were given up and have not come back
	since   time.Time // of the first one
	at      time.Time // of the last one
	pause   time.Duration
	err     error
}

// rests reports whether the KEK is left alone now. A clock that was put back
// ends the pause.
func (f *failure) rests(now time.Time) bool {
	passed := now.Sub(f.at)
	return passed >= 0 && passed < f.pause
}

// errNoAnswer takes the place of the context's error: that one would say that
// the caller's own time is over.
var errNoAnswer = errors.New("no answer in time (Config.KEKTimeout)")

// Unanswered reports whether a KEK did not answer in time, which says nothing of what
// it was asked to open.
func Unanswered(err error) bool { return errors.Is(err, errNoAnswer) }

type insists struct{}

// Insist marks the calls of those who do not take a failure that is remembered
// for an answer: an operator, or a job that runs once in a while.
func Insist(ctx context.Context) context.Context { return context.WithValue(ctx, insists{}, true) }

// unwrapKeyset opens the row of a branch key and checks every key in it. A failure that is
// remembered is no answer for whoever verifies a copy: the KEK is asked.
func (v *Ring) unwrapKeyset(ctx context.Context, row keystore.KeysetRow) (*Keyset, error) {
	return v.openKeyset(Insist(ctx), row)
}

// openKeyset is unwrapKeyset for those who cannot wait: while a KEK that failed
// is left alone they get the failure at once.
func (v *Ring) openKeyset(ctx context.Context, row keystore.KeysetRow) (*Keyset, error) {
	if !v.cfg.PermitsKEK(row.KEK) {
		return nil, refusedKEK(row.Tenant, row.Purpose, row.KEK)
	}
	if err := ctx.Err(); err != nil {
		return nil, kekError(row.Tenant, row.Purpose, row.KEK, err)
	}
	id := idOf(row)
	call, begun, err := v.keks.join(id, ctx.Value(insists{}) != nil, v.cfg.Now())
	if err != nil {
		return nil, err
	}
	if begun {
		// Another call may have landed between the caller's look and this one.
		if open := v.keptKeyset(row); open != nil {
			v.land(id, call, open, nil, true)
		} else {
			v.fly(ctx, id, call, row)
		}
	}
	select {
	case <-call.done:
	case <-ctx.Done():
		return nil, kekError(row.Tenant, row.Purpose, row.KEK, ctx.Err())
	}
	if call.err != nil {
		return nil, call.err
	}
	return call.open.As(row), nil
}

// join returns the call that is under way, or a new one that the caller begins.
func (c *kekCalls) join(id keysetID, insisting bool, now time.Time) (call *flight, begun bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call = c.flying[id]; call != nil {
		return call, false, nil
	}
	if f := c.failing[id]; f != nil && !insisting && f.rests(now) {
		return nil, false, remembered(f.err)
	}
	if c.flying == nil {
		c.flying, c.failing = map[keysetID]*flight{}, map[keysetID]*failure{}
	}
	call = &flight{done: make(chan struct{})}
	c.flying[id] = call
	return call, true, nil
}

// fly opens the keyset in a goroutine of its own, which ends with the call. A
// KEK that does not look at its context is given up when its time is over; if
// it answers all the same, later, the answer counts.
func (v *Ring) fly(ctx context.Context, id keysetID, call *flight, row keystore.KeysetRow) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.cfg.KEKTimeout)
	stop := context.AfterFunc(ctx, func() { v.land(id, call, nil, errNoAnswer, false) })
	go caught(func() (*Keyset, error) { return v.readKeyset(ctx, row) }, func(open *Keyset, err error) {
		if err != nil && ctx.Err() != nil {
			err = errNoAnswer
		}
		stop()
		v.land(id, call, open, err, true)
		cancel()
	})
}

// land ends a call, and takes note of one that came back after it was given up.
func (v *Ring) land(id keysetID, call *flight, open *Keyset, err error, returned bool) {
	now := v.cfg.Now()
	if open != nil {
		v.keepKeyset(open)
	}
	c := &v.keks
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flying[id] == call {
		delete(c.flying, id)
		if call.open = open; err != nil {
			call.err = c.failed(id, err, returned, now)
		}
		close(call.done)
	} else if f := c.failing[id]; f != nil && returned && f.hanging > 0 { // it was given up
		if f.hanging--; f.hanging == 0 && f.pause > longestPause {
			f.at, f.pause = now, longestPause
		}
	}
	if open != nil {
		delete(c.failing, id)
	}
}

// failed remembers a failure, and returns what everybody is told meanwhile.
func (c *kekCalls) failed(id keysetID, err error, returned bool, now time.Time) error {
	f := c.failing[id]
	if f == nil {
		if len(c.failing) >= maxFailing {
			for old := range c.failing { // any one goes: it is asked once too often
				delete(c.failing, old)
				break
			}
		}
		f = &failure{since: now}
		c.failing[id] = f
	}
	f.count++
	f.at = now
	longest := longestPause
	if !returned {
		f.hanging++
	}
	if f.hanging > 0 {
		longest = hangingPause
	}
	f.pause = spread(min(firstPause<<min(f.count-1, 20), longest))
	if f.err = kekError(id.tenant, id.purpose, id.kek, err); !errors.Is(err, ErrKeyset) {
		f.err = &KEKError{Tenant: id.tenant, Purpose: id.purpose, KEK: id.kek, Err: err, Retry: now.Add(f.pause)}
	}
	return f.err
}

// FailingKeysets counts, by tenant, the failures of keysets that the tenants
// have now and that somebody still asks for: not those of an older copy, nor
// what may be mended since.
func (v *Ring) FailingKeysets() map[string]health.Finding {
	v.mu.RLock()
	tenants := maps.Clone(v.tenants)
	v.mu.RUnlock()
	now := v.cfg.Now()
	out := map[string]health.Finding{}
	v.keks.mu.Lock()
	defer v.keks.mu.Unlock()
	for id, f := range v.keks.failing {
		k := tenants[id.tenant]
		if k == nil || now.Sub(f.at) > f.pause+forgetPause || !slices.ContainsFunc(k.Rows.Keysets, func(row keystore.KeysetRow) bool { return idOf(row) == id }) {
			continue
		}
		finding := out[id.tenant]
		finding.Value++
		if finding.Since.IsZero() || f.since.Before(finding.Since) {
			finding.Since = f.since
		}
		out[id.tenant] = finding
	}
	return out
}

// remembered is a failure as an answer for which nobody was asked.
func remembered(err error) error {
	kek, ok := err.(*KEKError) //nolint:errorlint // as failed has made it
	if !ok {
		return err
	}
	again := *kek
	again.remembered = true
	return &again
}

// spread draws a pause between a half and the whole, so that the processes that
// share a KMS do not come back to it at one moment.
func spread(pause time.Duration) time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return pause - time.Duration(binary.BigEndian.Uint64(b[:])%uint64(pause/2))
}

// answered runs f, which asks a KEK, and returns when it has answered, the
// context ends or the time is over, whether f looks at its context or not.
func answered[T any](ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go caught(func() (T, error) { return f(within) }, func(value T, err error) { done <- answer{value, err} })
	select {
	case got := <-done:
		if got.err == nil {
			return got.value, nil
		}
		if within.Err() == nil {
			return none, got.err
		}
	case <-within.Done():
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	return none, errNoAnswer
}

// caught hands on what f returns. It makes an error of a panic, which nobody
// else could catch, for the goroutine is ours, and of a goroutine that f ends.
// What is neither text nor error is named by its type alone.
func caught[T any](f func() (T, error), then func(T, error)) {
	var value T
	err := errors.New("the KEK func ended its goroutine")
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("the KEK func panicked: %w", p)
		case string:
			err = fmt.Errorf("the KEK func panicked: %s", p)
		default:
			err = fmt.Errorf("the KEK func panicked with %T", p)
		}
		then(value, err)
	}()
	value, err = f()
}

// OpenedOrUnwrap opens a branch key, and spares the call of the KEK when this
// ring has opened the very same bytes.
func (v *Ring) OpenedOrUnwrap(ctx context.Context, row keystore.KeysetRow) (*Keyset, error) {
	v.mu.RLock()
	k := v.tenants[row.Tenant]
	v.mu.RUnlock()
	if k != nil {
		k.mu.Lock()
		open := k.open[row.Purpose]
		k.mu.Unlock()
		if open != nil && open.Row.KEK == row.KEK && bytes.Equal(open.Row.Wrapped, row.Wrapped) {
			return open, nil
		}
	}
	return v.unwrapKeyset(ctx, row)
}

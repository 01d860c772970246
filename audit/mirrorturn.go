package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// The mirror is worked for as a copy is: beside the passes of the sequencer, and by
// one goroutine at a time. What may not go on without it, the end of an erasure and
// [Trail.CatchUp], waits as long as its calls come back, and then says so.

// mirrorWait is how long a pass, which has more to do, waits for one call of the
// mirror where an erasure is to be ended.
const mirrorWait = time.Second

// errMirror marks what went wrong with the mirror, and with nothing else.
var errMirror = errors.New("audit: mirror")

// mirroring is the work for the mirror of a process.
type mirroring struct {
	lane
	level bool // the last turn was done to its end

	round                    time.Time // when the last round was done
	nextOpenings, nextPeople int64     // the files that the next one begins with
}

// mirror gives the mirror its turn, as copyAll does the copies.
func (t *Trail) mirror(ctx context.Context) {
	if t.config.Mirror == nil {
		return
	}
	if turn := t.mirrored.begin(t.now(), false, func() { t.mirrorTurn(ctx) }); turn != nil {
		t.await(ctx, []<-chan struct{}{turn})
	}
}

// mirrorRest gives the mirror a turn where it is behind for all that this process
// knows, or due to be gone over, though nothing is to be published.
func (t *Trail) mirrorRest(ctx context.Context) {
	t.mirrored.mu.Lock()
	level := t.mirrored.level
	t.mirrored.mu.Unlock()
	if !level || t.roundDue() {
		t.mirror(ctx)
	}
}

// mirrorTurn fills the mirror, and remembers how that went.
func (t *Trail) mirrorTurn(ctx context.Context) {
	err := t.mirrorAll(ctx, t.mirrorSink())
	t.mirrored.mu.Lock()
	t.mirrored.level = err == nil
	t.mirrored.mu.Unlock()
	if ctx.Err() != nil {
		return // who cut it short is no fault of the mirror
	}
	t.mirrored.went(err, t.now())
	if err != nil {
		t.observe(ctx, "audit.mirror.failed", 1)
	}
}

// mirrorSink is the mirror, each call bounded.
func (t *Trail) mirrorSink() Sink {
	return timed{Sink: t.config.Mirror, back: func() { t.mirrored.saw(t.now()) }}
}

// withMirror does something that cannot go on without the mirror. That a file is
// not there is fs.ErrNotExist.
func (t *Trail) withMirror(ctx context.Context, patience time.Duration, work func(sink Sink) error) error {
	err := t.mirrored.do(ctx, t.now, patience, func() error { return work(t.mirrorSink()) })
	if err == nil || errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", errMirror, err)
}

// unmirroredHeads are the heads of a tenant, while the mirror may hold other ones.
func (t *Trail) unmirroredHeads(ctx context.Context, tenant string) (n int, err error) {
	s, err := t.stored(ctx, t.db)
	if err != nil || s.people > 0 || t.config.Mirror == nil {
		return 0, err
	}
	_, err = t.one(ctx, t.db, []any{&n}, `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE tenant = ? AND head IS NOT NULL`, tenant)
	return n, err
}

// mirrorResealed fills the mirror where it may hold other heads than the database.
func (t *Trail) mirrorResealed(ctx context.Context) error {
	s, err := t.stored(ctx, t.db)
	if err != nil || s.people > 0 || t.config.Mirror == nil {
		return err
	}
	return t.withMirror(ctx, copyCall, func(sink Sink) error { return t.mirrorAll(ctx, sink) })
}

// DropMirror says that there is no mirror any more, and none comes back: erasures end
// without one. Delete its files. Without it an erasure waits for a process that has
// Config.Mirror, once one had it.
func (t *Trail) DropMirror(ctx context.Context) error {
	if err := t.ready(); err != nil {
		return err
	}
	if t.config.Mirror != nil {
		return invalid("drop mirror: Config.Mirror is set")
	}
	return t.advance(ctx, t.memory.recall, func(s state) (state, func(tx HandoverTx) error, error) {
		s.mirrored, s.people = 0, 0
		return s, func(HandoverTx) error { return nil }, nil
	})
}

// eraseMirrored has the mirror forget a surrogate.
func (t *Trail) eraseMirrored(ctx context.Context, s surrogateID, patience time.Duration) error {
	if t.config.Mirror == nil {
		s, err := t.stored(ctx, t.db)
		if err == nil && s.mirrored+s.people > 0 {
			return fmt.Errorf("%w: other processes have a Config.Mirror, which is to forget the person, too (there is none any more: DropMirror)", ErrWaiting)
		}
		return nil // the state row is damaged: no erasure waits for that
	}
	err := t.withMirror(ctx, max(patience, mirrorWait), func(sink Sink) error { return t.mirrorErased(ctx, sink, s) })
	if errors.Is(err, errUnanswered) {
		err = fmt.Errorf("%w: %w", ErrWaiting, err)
	}
	return err
}

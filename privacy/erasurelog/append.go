package erasurelog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Each try that fails lets another process succeed.
const attempts = 1000

// clockSlack is how far the clocks of those who write may differ. An entry behind
// one that is ahead by no more has that one's time; what is ahead by more needs
// the clock set right, or an entry of operation [Clock].
const clockSlack = time.Minute

// Append adds one entry, durably, behind the State that decide was shown, and
// returns the State with it. Where another process was faster decide is called
// again: it must leave nothing behind but its answer. An error of decide comes
// back as it is, with the State.
//
// Where decide returns nil, nothing is written; what the State shows is durable
// then, also what another process wrote before it was killed.
//
// An entry that breaks the rules of its operation is refused with [ErrEntry],
// [ErrTwice], [ErrAbsent] or [ErrEnded], one that would be older than the last
// with [ErrClock]. After any other error, also the end of ctx, the entry may
// stand or not: call again, and decide sees it. The anchors are asked first; who has
// a transaction open in which one could wait asks them before: [Log.Anchored].
func (l *Log) Append(ctx context.Context, kept []Kept, decide func(*State) (*Entry, error)) (*State, error) {
	a, err := l.Anchored(ctx)
	if err != nil {
		return nil, err
	}
	return a.Append(ctx, kept, decide)
}

// Append is [Log.Append] with the answers of the anchors.
func (a Anchored) Append(ctx context.Context, kept []Kept, decide func(*State) (*Entry, error)) (*State, error) {
	l, anchors := a.log, a.heads
	for range attempts {
		v, err := l.read(ctx, false, anchors, kept)
		if err != nil {
			return nil, err
		}
		e, err := decide(v.state)
		if err != nil {
			return v.state, err
		}
		var line []byte
		if e != nil {
			if line, err = l.line(ctx, v.state, *e); err != nil {
				return v.state, err
			}
		}
		switch err := l.put(ctx, v, line); {
		case errors.Is(err, ErrMoved):
			continue
		case err != nil:
			return nil, l.unreachable(ctx, err)
		case line == nil:
			return v.state, nil
		}
		written := Kept{"the entry just written", Head{Hash: lineHash(line), N: v.end.N + 1}}
		v, err = l.read(ctx, false, anchors, append(slices.Clip(kept), written))
		return v.state, err
	}
	return nil, l.fail(ErrBusy, 0, "", remedyBusy)
}

// put appends, one of this process at a time: so none waits for a lock that
// another one holds.
func (l *Log) put(ctx context.Context, v view, line []byte) error {
	done, err := take(ctx, l.writing)
	if err != nil {
		return err
	}
	defer done()
	return l.cfg.Medium.Append(ctx, v.end, v.last, line)
}

// line completes an entry and returns its line.
func (l *Log) line(ctx context.Context, s *State, e Entry) ([]byte, error) {
	if e.Root == 0 {
		roots, _, err := l.digests.all(ctx, labelMAC, nil)
		if err != nil {
			return nil, err
		}
		e.Root = roots[0]
	}
	e.At, e.Until = micro(l.cfg.Now()), micro(e.Until)
	if err := l.permit(s, &e); err != nil {
		return nil, err
	}
	e.Aliases, e.Refs, e.Known = set(e.Aliases), set(e.Refs), set(e.Known)
	e.Tops = news(s.Tops(), e.Tops)
	line, err := l.seal(ctx, e, s.Head())
	if err != nil {
		return nil, err
	}
	if _, err := l.check(ctx, &lineReader{}, line, s.Head()); err != nil { // one that cannot be read again would end the ledger
		if !errors.Is(err, ErrForged) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: a member has no form that is read again, such as a time beyond the year 9999", ErrEntry)
	}
	return line, nil
}

// permit says whether an entry may follow, and dates it so that it does.
func (l *Log) permit(s *State, e *Entry) error {
	if err := e.formed(); err != nil {
		return err
	}
	if e.Op == Hold && !e.Until.IsZero() && !e.Until.After(e.At) {
		return fmt.Errorf("%w: Until is over", ErrEntry)
	}
	s.index.mu.RLock()
	err := s.index.standing(e.Plan, s.n()).refuse(*e)
	s.index.mu.RUnlock()
	if err != nil {
		return err
	}
	ahead := time.Duration(0)
	if s.n() > 0 {
		ahead = time.UnixMicro(s.records[s.n()-1].at).Sub(e.At)
	}
	switch {
	case e.Op == Clock && ahead <= clockSlack:
		return fmt.Errorf("%w: the last entry is not more than a minute ahead of the clock: nothing is in the way", ErrEntry)
	case e.Op == Clock:
	case ahead > clockSlack:
		return l.fail(ErrClock, int64(s.n()), "", remedyClock)
	case ahead > 0:
		e.At = e.At.Add(ahead)
	}
	return nil
}

// set sorts digests and leaves out what is there twice: their order would tell
// of rows.
func set(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// news leaves out what the ledger knows.
func news(known, tops map[string]int64) map[string]int64 {
	tops = maps.Clone(tops)
	maps.DeleteFunc(tops, func(column string, n int64) bool {
		old, ok := known[column]
		return ok && old >= n
	})
	return tops
}

// Package losses counts the events that were lost, until the log says how many there
// were. It promises that each loss is counted once, under an id that stays the same
// however often its event is tried, and that only one call at a time writes them.
package losses

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// ID is what losses are counted by.
type ID struct{ Tenant, Class string }

// Loss is a number of lost events.
type Loss struct {
	ID
	Count    int64
	From, To time.Time
	Event    string // its id, once it is on the way into the log
}

// All are those of a process. Its zero value is ready.
type All struct {
	mu       sync.Mutex
	counting map[ID]*Loss
	pending  []*Loss // being written: the same id each time, so that none is written twice
	writing  bool
	tried    time.Time // when a sale last waited for that in vain, by the process's clock
}

// pause is how long sales leave what was lost to the sequencer.
const pause = time.Second

// Rest says that a sale has waited in vain a while ago: the next ones do not.
func (g *All) Rest() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.tried.IsZero() && time.Since(g.tried) < pause
}

// Vain notes that a sale has waited in vain.
func (g *All) Vain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tried = time.Now()
}

// Lost counts an event.
func (g *All) Lost(id ID, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.counting[id]
	if one == nil {
		if g.counting == nil {
			g.counting = make(map[ID]*Loss)
		}
		one = &Loss{ID: id, From: at, To: at}
		g.counting[id] = one
	}
	one.Count++
	if at.Before(one.From) {
		one.From = at // a clock that went back
	}
	if at.After(one.To) {
		one.To = at
	}
}

// Number is how many events were lost and do not stand in the log yet.
func (g *All) Number() (n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.counting {
		n += one.Count
	}
	for _, one := range g.pending {
		n += one.Count
	}
	return n
}

// Begin hands out what is to be written, each with the id of its event; nothing
// where another call does so.
func (g *All) Begin(newID func() (string, error)) ([]*Loss, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writing || len(g.counting)+len(g.pending) == 0 {
		return nil, nil
	}
	for id, one := range g.counting {
		event, err := newID()
		if err != nil {
			return nil, err
		}
		one.Event = event
		g.pending = append(g.pending, one)
		delete(g.counting, id)
	}
	slices.SortFunc(g.pending, func(a, b *Loss) int { return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Event, b.Event)) })
	g.writing = true
	return slices.Clone(g.pending), nil
}

// Done forgets what stands in the log.
func (g *All) Done(written []*Loss) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing = false
	g.pending = slices.DeleteFunc(g.pending, func(one *Loss) bool { return slices.Contains(written, one) })
}

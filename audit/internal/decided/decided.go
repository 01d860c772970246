// Package decided counts what a policy decides until events tell of it. It promises
// that no decision is counted twice or lost while the process lives, that what could
// not be written is kept and tried again, and that its memory is bounded: no decision
// looks at all counts.
package decided

import (
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// CountFor is how long decisions are counted before they are recorded.
const CountFor = time.Minute

const (
	deniedMost  = 60    // denials of one actor and action that are events of their own, within that
	personsMost = 100   // persons that a count names
	countsMost  = 10000 // counts in memory
)

// ID is what decisions are counted by.
type ID struct{ Tenant, Actor, Action, Outcome string }

// Count is a number of decisions.
type Count struct {
	ID
	since    time.Time
	N        int64 // not recorded yet
	singly   int   // denials that were events of their own
	Persons  map[string]bool
	Resource string // of all of them, "" where there are several
	Event    string // id, once it is on its way: it is written once, however often that is tried
}

// All are those of a process that no event tells of yet. Its zero value is
// ready.
type All struct {
	mu sync.Mutex
	by map[ID]*Count
	// tried are counts that may be written or not.
	tried []*Count
	last  time.Time // when they were
	// oldest and newest are when the counts of by began.
	oldest, newest time.Time
}

// Add counts a decision; ended says that whoever asked has hung up. due says that
// something is to be written by now, alone that this one is an event of its own.
func (d *All) Add(id ID, person, resource string, now time.Time, ended bool) (due, alone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.by[id]
	if one == nil {
		if d.by == nil {
			d.by = make(map[ID]*Count)
		}
		one = &Count{ID: id, since: now, Resource: resource, Persons: make(map[string]bool)}
		d.began(len(d.by) == 0, now)
		d.by[id] = one
	}
	if id.Outcome == auditlog.OutcomeDenied && !ended && one.singly < deniedMost {
		one.singly++
		return d.due(now), true
	}
	if one.N == 0 {
		one.Resource = resource
	} else if one.Resource != resource {
		one.Resource = ""
	}
	one.N++
	if person != "" && len(one.Persons) < personsMost {
		one.Persons[person] = true
	}
	return d.due(now), false
}

// began takes a count into account that begins; first says that it is the only one.
func (d *All) began(first bool, at time.Time) {
	if first || at.Before(d.oldest) {
		d.oldest = at
	}
	if first || at.After(d.newest) {
		d.newest = at
	}
}

// due says whether a count has had its minute, or there are too many. It looks at
// none of them: each decision asks.
func (d *All) due(now time.Time) bool {
	if len(d.tried) > 0 { // the database was away, and one request a minute finds out
		return now.Sub(d.last) >= CountFor
	}
	return len(d.by) > countsMost || len(d.by) > 0 && (now.Sub(d.oldest) >= CountFor || now.Before(d.newest))
}

// over says that the minute of a count has passed; a clock that went back ends it.
func (c *Count) over(now time.Time) bool {
	return now.Sub(c.since) >= CountFor || now.Before(c.since)
}

// Take hands out what has had its minute, most of it at most (0: all), each with the
// id of its event.
func (d *All) Take(now time.Time, most int, newID func() (string, error)) ([]*Count, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if most == 0 {
		most = len(d.by) + len(d.tried)
	}
	n := min(most, len(d.tried))
	out := slices.Clone(d.tried[:n])
	d.tried, d.last = d.tried[n:], now
	all, first := len(d.by) > countsMost, true
	var oldest, newest time.Time
	for id, one := range d.by {
		switch {
		case !all && !one.over(now):
			if first || one.since.Before(oldest) {
				oldest = one.since
			}
			if first || one.since.After(newest) {
				newest = one.since
			}
			first = false
			continue
		case len(out) >= most:
			return out, nil // there are more, and the times stay those of all
		}
		if one.N > 0 {
			event, err := newID()
			if err != nil {
				d.tried = append(d.tried, out...)
				return nil, err
			}
			one.Event = event
			out = append(out, one)
		}
		delete(d.by, id)
	}
	d.oldest, d.newest = oldest, newest
	return out, nil
}

// Back takes up again what could not be written.
func (d *All) Back(one *Count) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried = append(d.tried, one) // behind those that nobody has tried since
}

// Number is how many decisions no event tells of yet.
func (d *All) Number() (n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.by {
		n += one.N
	}
	for _, one := range d.tried {
		n += one.N
	}
	return n
}

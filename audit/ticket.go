package audit

import (
	"bytes"
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
)

// A ticket is what [Trail.Prepare] leaves in memory of a person: all that
// recording about them needs. It holds for Config.Prepared, and as long as the row
// that it was made from is there: Prepare looks after a few seconds, for a database
// that was restored, or failed over to a replica that lacks the person, opens nothing
// that is sealed under it. An erasure does not
// wait for it: what is recorded with an old one names an erased surrogate, and the
// sequencer drops what it sealed.

// A grant is how long a ticket holds.
type grant struct {
	start, until time.Time
	wall         time.Time // until, by the wall clock alone
}

func grantFrom(start time.Time, d time.Duration) grant {
	until := start.Add(d)
	return grant{start, until, until.Round(0)}
}

// over says that the time has passed by any clock there is. The monotonic one
// stands still while a machine sleeps, the wall clock may be set; a moment before
// the beginning comes of a clock that went back, and says nothing.
func (g *grant) over(now time.Time) bool {
	return !now.Before(g.until) || now.Before(g.start) || !now.Before(g.wall)
}

// early says that less than half of the time is left.
func (g *grant) early(now time.Time) bool {
	half := grantFrom(g.start, g.until.Sub(g.start)/2)
	return half.over(now)
}

type ticket struct {
	surrogate [16]byte
	text      string // the surrogate as a leaf shows it
	content   [32]byte
}

// surrogateText is how a surrogate stands in the log.
func surrogateText(surrogate [16]byte) string { return "s:" + canon.FormatBytes(surrogate[:]) }

// tenantTicket is what recording for a tenant needs beside the persons: the keys
// of the tags, and the content key of what is about nobody.
type tenantTicket struct {
	own          ticket
	queue, retry *macMaker
}

// maxTickets bounds how many content keys are in memory: beyond, the ones used
// longest ago go.
const maxTickets = 16384

type ticketID struct{ tenant, person string } // person "" is the tenant itself

// lookAgain is how long a ticket is taken for that of the row that is there. What a
// sale does with it is not bounded by that: between Prepare and BEGIN nobody looks.
const lookAgain = 5 * time.Second

// held is a ticket in its place in the order of use.
type held struct {
	id    ticketID
	until grant
	head  []byte // of its row
	look  grant  // whose end is when that is looked at again
	ticket
	queue, retry *macMaker // of a tenant
}

// tickets are those of a process. Its zero value is ready.
type tickets struct {
	mu    sync.Mutex
	by    map[ticketID]*list.Element
	order list.List // the last one used is the first
	next  time.Time // when the ended ones are looked for again
}

// take copies the tickets of a tenant and of persons into dst. What is missing is
// counted; the tickets are for whoever finds that nothing is.
func (s *tickets) take(now time.Time, tenant string, persons []string, of *tenantTicket, dst []ticket) (out []ticket, noTenant bool, missing int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.find(now, ticketID{tenant, ""}); h != nil {
		*of = tenantTicket{h.ticket, h.queue, h.retry}
	} else {
		noTenant = true
	}
	for _, person := range persons {
		h := s.find(now, ticketID{tenant, person})
		if h == nil {
			missing++
			continue
		}
		dst = append(dst, h.ticket)
	}
	return dst, noTenant, missing
}

// find is a ticket that holds. One that does not is gone.
func (s *tickets) find(now time.Time, id ticketID) *held {
	e := s.by[id]
	if e == nil {
		return nil
	}
	h := e.Value.(*held) //nolint:forcetypeassert // nothing else is in the list
	if h.until.over(now) {
		s.drop(e)
		return nil
	}
	s.order.MoveToFront(e)
	return h
}

// stale lists whose tickets are missing or end soon, "" for the tenant's, and whose
// rows are to be looked at again.
func (s *tickets) stale(now time.Time, tenant string, persons []string) (out, look []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := -1; i < len(persons); i++ {
		id := ticketID{tenant, ""}
		if i >= 0 {
			id.person = persons[i]
		}
		if h := s.find(now, id); h == nil || h.until.early(now) {
			out = append(out, id.person)
		} else if h.look.over(now) {
			look = append(look, id.person)
		}
	}
	return out, look
}

// moved drops the tickets of those whose row is another one than it was, and lists
// them; the others are looked at again later.
func (s *tickets) moved(now time.Time, tenant string, persons []string, rows map[string]surrogateRow) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, person := range persons {
		e := s.by[ticketID{tenant, person}]
		if e == nil { // an erasure meanwhile
			out = append(out, person)
			continue
		}
		h := e.Value.(*held) //nolint:forcetypeassert // nothing else is in the list
		if row, found := rows[person]; found && row.surrogate == h.surrogate && bytes.Equal(row.head, h.head) {
			h.look = grantFrom(now, lookAgain)
			continue
		}
		s.drop(e)
		out = append(out, person)
	}
	return out
}

// put remembers tickets, and forgets those that were used longest ago.
func (s *tickets) put(fresh ...*held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[ticketID]*list.Element)
	}
	for _, h := range fresh {
		if e := s.by[h.id]; e != nil {
			s.drop(e)
		}
		s.by[h.id] = s.order.PushFront(h)
	}
	for len(s.by) > maxTickets {
		s.drop(s.order.Back())
	}
}

// forget drops the ticket of a person who is being erased.
func (s *tickets) forget(tenant, person string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.by[ticketID{tenant, person}]; e != nil {
		s.drop(e)
	}
}

// forgetAll drops all tickets.
func (s *tickets) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.order.Front(); e != nil; e = s.order.Front() {
		s.drop(e)
	}
}

// forgetMarked drops the tickets of surrogates, whoever has them.
func (s *tickets) forgetMarked(tenant string, marked []surrogateID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.order.Front(); e != nil && len(marked) > 0; {
		following := e.Next()
		h := e.Value.(*held) //nolint:forcetypeassert // nothing else is in the list
		if h.id.person != "" && slices.Contains(marked, surrogateID{tenant, h.surrogate}) {
			s.drop(e)
		}
		e = following
	}
}

// sweep drops what has ended, now and then.
func (s *tickets) sweep(now time.Time, every time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) && s.next.Sub(now) <= every {
		return
	}
	s.next = now.Add(every)
	for e := s.order.Front(); e != nil; {
		following := e.Next()
		if h := e.Value.(*held); h.until.over(now) { //nolint:forcetypeassert // nothing else is in the list
			s.drop(e)
		}
		e = following
	}
}

// drop overwrites the content key of a ticket and forgets it.
func (s *tickets) drop(e *list.Element) {
	h := e.Value.(*held) //nolint:forcetypeassert // nothing else is in the list
	delete(s.by, h.id)
	s.order.Remove(e)
	clear(h.content[:])
}

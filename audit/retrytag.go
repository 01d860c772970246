package audit

import (
	"encoding/binary"

	"github.com/crmguard/crmguard/internal/frame"
)

// The tag of a retry says that an event is the one that was recorded under its
// id: a MAC over the event as it was given, with its values and without its
// time. The row keeps it for Config.RetryFor, because it is made of values.

// given is an event as a retry is compared by: after Config.From, except for the
// request, in the order of its changes.
type given struct {
	id      [16]byte
	event   *Event
	persons []string // sorted, each once
	changes []change // sorted
}

// change is a change whose values are encoded.
type change struct {
	path, who     string
	before, after frame.Value
}

// append appends what the MAC is over.
func (g *given) append(dst []byte) []byte {
	e := g.event
	dst = frame.Append(dst, "crmguard/audit/retry/v2")
	dst = frame.Append(dst, e.Tenant)
	dst = frame.Append(dst, g.id[:])
	dst = frame.Append(dst, e.Action)
	dst = frame.Append(dst, e.Actor)
	dst = frame.Append(dst, e.Outcome)
	dst = frame.Append(dst, e.Object.Kind)
	dst = frame.Append(dst, e.Object.ID)
	person := byte(0) // the person of an id is not the object of that id
	if e.Object.Person {
		person = 1
	}
	dst = append(dst, person)
	dst = frame.Append(dst, e.Reason)
	dst = frame.Append(dst, e.Request)
	dst = frame.Append(dst, e.Policy)
	dst = frame.Append(dst, e.For)
	dst = frame.Append(dst, e.Prior)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(g.persons)))
	for _, p := range g.persons {
		dst = frame.Append(dst, p)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(g.changes)))
	for i := range g.changes {
		c := &g.changes[i]
		dst = frame.Append(dst, c.path)
		dst = frame.Append(dst, c.who)
		dst = c.before.Append(dst)
		dst = c.after.Append(dst)
	}
	return dst
}

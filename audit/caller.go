package audit

import (
	"cmp"
	"context"
)

// Caller is who is at work in a context, as Config.From reads it there. What an
// [Event] says itself counts more.
type Caller struct {
	Tenant  string // of Event.Tenant
	Actor   string // of Event.Actor
	Request string // of Event.Request
}

// caller asks Config.From, which may be nil.
func (t *Trail) caller(ctx context.Context) Caller {
	if t.config.From == nil {
		return Caller{}
	}
	return t.config.From(ctx)
}

// called is an event with what the context says about it. The request is not
// part of it: what a retry is compared by is the event as given, and a retry is
// another request.
func (t *Trail) called(ctx context.Context, e Event) (Event, Caller) {
	c := t.caller(ctx)
	e.Tenant, e.Actor = cmp.Or(e.Tenant, c.Tenant), cmp.Or(e.Actor, c.Actor)
	return e, c
}

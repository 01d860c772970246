package audit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/tags"
	"github.com/crmguard/crmguard/audit/internal/values"
	"github.com/crmguard/crmguard/internal/frame"
)

// recording is an event on its way into its row. First what can be wrong with the
// event itself is found, then the tickets are taken, and only then anything is
// drawn: what is refused leaves no trace.
type recording struct {
	event Event
	id    [16]byte
	given given
	odd   []string
	who   []string  // whom the changes are about, "" for nobody
	few   [2]string // room for them, mostly

	tenant  tenantTicket
	tickets []ticket // of given.persons, in their order
	leaf    auditlog.Leaf
	row     queuedRow
}

// scratch is memory that recordings use one after another. It holds values of
// persons, and is cleared before the next one.
type scratch struct{ data []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// keepScratch is the largest that is kept: an event of some fields needs less.
const keepScratch = 64 << 10

func (s *scratch) free() {
	if cap(s.data) > keepScratch {
		return
	}
	clear(s.data[:cap(s.data)])
	s.data = s.data[:0]
	scratches.Put(s)
}

// maxRow bounds the openings of one event together: they travel in one statement,
// and the sequencer has them in memory.
const maxRow = 32 << 20

// maxOwners is the number of persons, nobody included, whom the values of one event
// are about at most: with it each event fits into a leaf, whatever its ids look
// like and however many other persons it names.
const maxOwners = 300

// check looks at the event, encodes its values and sorts its changes. It asks
// nobody and draws nothing.
func (t *Trail) check(ctx context.Context, e Event) (*recording, error) {
	e, caller := t.called(ctx, e)
	if err := cmp.Or(e.check(), t.checkKind(e.Object)); err != nil {
		return nil, err
	}
	e.Outcome = cmp.Or(e.Outcome, OutcomeOK)
	r := &recording{event: e}
	r.given = given{event: &r.event, persons: people(e)}
	if n := len(r.given.persons); n > auditlog.MaxPersons {
		return nil, fmt.Errorf("%w: %d persons, and %d at most: record several events that share For", ErrTooLarge, n, auditlog.MaxPersons)
	}
	if err := t.encode(r); err != nil {
		return nil, err
	}
	r.who = r.owners()
	if n := len(r.who); n > maxOwners {
		return nil, fmt.Errorf("%w: values about %d persons, and %d at most: record several events that share For", ErrTooLarge, n, maxOwners)
	}
	r.leaf = auditlog.Leaf{
		Kind: auditlog.KindEvent, At: t.now(), Tenant: e.Tenant, Actor: e.Actor, Action: e.Action, Outcome: e.Outcome,
		Reason: e.Reason, Request: e.Request, Policy: e.Policy, For: e.For, Prior: e.Prior,
	}
	if r.leaf.Request == "" {
		r.leaf.Request = caller.Request
		if err := checkRequest("what Config.From returned", r.leaf.Request); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// encode encodes the values of the changes, and sorts them.
func (t *Trail) encode(r *recording) error {
	changes := r.event.Changes
	r.given.changes = make([]change, len(changes))
	for i := range changes {
		c := &changes[i]
		before, err := t.encodeValue(r, i, c.Old)
		if err != nil {
			return err
		}
		after, err := t.encodeValue(r, i, c.New)
		if err != nil {
			return err
		}
		r.given.changes[i] = change{c.Path, c.Who, before, after}
	}
	slices.SortFunc(r.given.changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.who, b.who)) })
	for i := 1; i < len(r.given.changes); i++ {
		if a, b := &r.given.changes[i-1], &r.given.changes[i]; a.path == b.path && a.who == b.who {
			return invalid("two changes have one Path and one Who")
		}
	}
	return nil
}

// encodeValue encodes one side of a change.
func (t *Trail) encodeValue(r *recording, i int, v any) (frame.Value, error) {
	encoded, err := values.Of(v)
	if err == nil {
		return encoded, nil
	}
	if t.config.StrictValues {
		c := &r.event.Changes[i]
		return encoded, &ValueError{Change: i, Path: c.Path, Err: err, declared: t.declared(r.event.Object.Kind, c.Path)}
	}
	encoded = values.StandInFor(v)
	r.odd = append(r.odd, auditlog.WhyStandIn(encoded))
	return encoded, nil
}

// take takes the tickets: all of them, or none.
func (t *Trail) take(r *recording) error {
	r.tickets = make([]ticket, 0, len(r.given.persons))
	var noTenant bool
	var missing int
	r.tickets, noTenant, missing = t.tickets.take(t.config.Now(), r.event.Tenant, r.given.persons, &r.tenant, r.tickets)
	if noTenant || missing > 0 {
		r.wipe()
		return &NotPreparedError{Persons: missing, Tenant: noTenant}
	}
	return nil
}

// wipe overwrites the keys that were taken.
func (r *recording) wipe() {
	clear(r.tenant.own.content[:])
	clear(r.tickets[:cap(r.tickets)])
}

// ticket is that of a person of the event, of nobody for "".
func (r *recording) ticket(person string) *ticket {
	if person == "" {
		return &r.tenant.own
	}
	i, _ := slices.BinarySearch(r.given.persons, person)
	return &r.tickets[i]
}

// surrogate is how a person stands in the leaf, "" for nobody.
func (r *recording) surrogate(person string) string {
	if person == "" {
		return ""
	}
	return r.ticket(person).text
}

// build makes the row. The keys that were taken for it are gone then.
func (t *Trail) build(r *recording) error {
	defer r.wipe()
	if err := r.name(); err != nil {
		return err
	}
	s := scratches.Get().(*scratch) //nolint:forcetypeassert // nothing else is in the pool
	defer s.free()
	s.data = r.given.append(s.data[:0])
	r.row.id, r.row.retry = r.id, r.tenant.retry.sum(make([]byte, 0, sha256.Size), s.data, nil)

	for i := range r.tickets {
		r.leaf.Persons = append(r.leaf.Persons, r.tickets[i].text)
	}
	slices.Sort(r.leaf.Persons)
	r.leaf.Object = auditlog.Object{Kind: r.event.Object.Kind, ID: r.event.Object.ID}
	if r.event.Object.Person {
		r.leaf.Object.ID = r.surrogate(r.event.Object.ID)
	}
	frames, err := t.seal(r, s)
	if err != nil {
		return err
	}
	return t.assemble(r, s, frames)
}

// name gives the event its id, unless the caller has.
func (r *recording) name() (err error) {
	if r.event.ID != "" {
		r.id, err = parseID(r.event.ID)
	} else {
		var id uuid.UUID
		id, err = uuid.NewV7()
		r.id, r.event.ID = id, id.String()
	}
	r.given.id, r.leaf.ID = r.id, r.event.ID
	return err
}

// seal commits to the values, and seals them for each owner.
func (t *Trail) seal(r *recording, s *scratch) ([]auditlog.Frame, error) {
	frames := make([]auditlog.Frame, 0, len(r.who))
	r.leaf.Changes = make([]auditlog.LeafChange, 0, len(r.given.changes))
	total := 0
	for _, who := range r.who {
		o, err := t.open(r, who)
		if err != nil {
			return nil, err
		}
		if s.data, err = auditlog.AppendBody(s.data[:0], o); err != nil {
			return nil, tooLarge(err)
		}
		of := r.ticket(who)
		body, err := auditlog.SealBody(make([]byte, 0, len(s.data)+sealOver), &of.content, r.id, of.surrogate, s.data)
		if err != nil {
			return nil, fmt.Errorf("audit: record: %w", err)
		}
		if total += len(body); total > maxRow {
			return nil, fmt.Errorf("%w: openings of more than %d bytes", ErrTooLarge, maxRow)
		}
		frames = append(frames, auditlog.Frame{Owner: of.surrogate, Body: body})
	}
	slices.SortFunc(r.leaf.Changes, func(a, b auditlog.LeafChange) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Who, b.Who))
	})
	return frames, tooLarge(r.leaf.Fold())
}

// sealOver is what sealing adds.
const sealOver = 12 + 16

// owners are who the changes are about, each once and sorted, "" for nobody.
func (r *recording) owners() []string {
	out := r.few[:0]
	for i := range r.given.changes {
		if who := r.given.changes[i].who; len(out) == 0 || out[len(out)-1] != who {
			out = append(out, who)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// open makes the opening of one owner, and puts what it commits to into the leaf.
func (t *Trail) open(r *recording, who string) (*auditlog.Opening, error) {
	o := &auditlog.Opening{Fields: make([]auditlog.Field, 0, 4)}
	if err := t.random(o.Seed[:]); err != nil {
		return nil, err
	}
	commits := o.Committer(r.id)
	for i := range r.given.changes {
		c := &r.given.changes[i]
		if c.who != who {
			continue
		}
		path := c.path
		if !t.declared(r.event.Object.Kind, path) {
			name := auditlog.Field{Path: path, Side: auditlog.SideName, Value: frame.Value{Type: frame.Text, Data: []byte(path)}}
			o.Fields = append(o.Fields, name)
			path = "c:" + commits.Commit(&name)
		}
		before := auditlog.Field{Path: c.path, Side: auditlog.SideOld, Value: c.before}
		after := auditlog.Field{Path: c.path, Side: auditlog.SideNew, Value: c.after}
		o.Fields = append(o.Fields, before, after)
		r.leaf.Changes = append(r.leaf.Changes, auditlog.LeafChange{
			Path: path, Who: r.surrogate(who), Odd: auditlog.OddSides(c.before, c.after),
			Old: commits.Commit(&before), New: commits.Commit(&after),
		})
	}
	return o, nil
}

// assemble writes the one column: tag, leaf and openings.
func (t *Trail) assemble(r *recording, s *scratch, frames []auditlog.Frame) error {
	var err error
	if s.data, err = auditlog.AppendLeaf(s.data[:0], &r.leaf); err != nil {
		return tooLarge(err)
	}
	size := 1 + tagSize + 4 + len(s.data)
	if len(frames) > 0 {
		size += 3
	}
	for i := range frames {
		size += 16 + 4 + len(frames[i].Body)
	}
	// The row is not scratch: a driver may hold it for longer than the call.
	row, err := auditlog.AppendRowBody(make([]byte, 0, size), auditlog.RowBody{Tag: noQueueTag[:], Leaf: s.data})
	if err != nil {
		return tooLarge(err)
	}
	begin := len(row)
	if row, err = auditlog.AppendFrames(row, frames); err != nil {
		return tooLarge(err)
	}
	size = len(s.data)
	s.data = tags.Queue(s.data, t.config.Name, r.event.Tenant, row[begin:])
	r.tenant.queue.tag(row[1:1:1+tagSize], s.data[size:], s.data[:size])
	r.row.body = row
	return nil
}

// noQueueTag holds the place of a tag.
var noQueueTag [tagSize]byte

// tooLarge is a refusal of the format in the words of this package.
func tooLarge(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, auditlog.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	default:
		return fmt.Errorf("audit: record: %w", err)
	}
}

// observeOdd tells of the values that had no encoding.
func (t *Trail) observeOdd(ctx context.Context, r *recording) {
	for _, why := range r.odd {
		t.observe(ctx, "audit.standin", 1, slog.String("why", why))
	}
}

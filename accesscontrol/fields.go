package accesscontrol

import (
	"bytes"
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/value"
)

// Visibility is what a principal may see of a field. The zero value hides.
type Visibility uint8

// The visibilities.
const (
	// Hidden: do not show, do not filter, sort or search by it.
	Hidden Visibility = iota
	// Readable: show it.
	Readable
)

// String is "hidden" or "readable".
func (v Visibility) String() string { return either(v == Readable, "readable", "hidden") }

// Fields is the visibility of each declared field of one record. A name that
// is not in it is hidden.
type Fields map[string]Visibility

// Readable lists the readable fields, sorted.
func (f Fields) Readable() []string { return f.with(Readable) }

// Hidden lists the hidden fields, sorted.
func (f Fields) Hidden() []string { return f.with(Hidden) }

func (f Fields) with(v Visibility) []string {
	out := []string{}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if f[name] == v {
			out = append(out, name)
		}
	}
	return out
}

// Fields says for each declared field whether the principal may read it in
// this record: the table's Read action for all of them, and the group's action
// beside it for those of a group. If the record itself may not be read, every
// field is hidden.
func (p *Policy) Fields(ctx context.Context, principal Principal, record Record) (Fields, error) {
	s, err := p.snapshot()
	if err != nil {
		return nil, err
	}
	a, err := s.actor(principal)
	if err != nil {
		return nil, err
	}
	return s.fields(ctx, a, record)
}

func (s *snapshot) fields(ctx context.Context, a *actor, record Record) (Fields, error) {
	t, err := s.bound(record.Type)
	if err != nil {
		return nil, err
	}
	answers := map[string]bool{}
	ask := func(action string) (bool, error) {
		if answer, asked := answers[action]; asked {
			return answer, nil
		}
		d, err := s.decide(ctx, a, action, record)
		answers[action] = d.Allowed
		return d.Allowed, err
	}
	if t.Read == "" {
		return nil, &RequestError{Part: "record", Name: record.Type, Text: "the binding names no Read action"}
	}
	readable, err := ask(t.Read)
	if err != nil {
		return nil, err
	}
	out := make(Fields, len(t.fields))
	for name, actions := range t.fields {
		out[name] = Readable
		if !readable {
			out[name] = Hidden
			continue
		}
		for _, action := range actions {
			allowed, err := ask(action)
			if err != nil {
				return nil, err
			}
			if !allowed {
				out[name] = Hidden
			}
		}
	}
	return out, nil
}

func (s *snapshot) bound(record string) (*table, error) {
	if t := s.tables[record]; t != nil {
		return t, nil
	}
	return nil, &RequestError{Part: "record", Name: record, Text: "no table of this name is bound; bound are " + strings.Join(slices.Sorted(maps.Keys(s.tables)), ", ")}
}

// CheckChange checks both sides of a change: the Update action on the record
// before and on the record after, no other type, id or tenant, and no changed
// field that the principal may not read on either side. With a zero before it
// checks Create, with a zero after Delete.
func (p *Policy) CheckChange(ctx context.Context, principal Principal, before, after Record) error {
	s, err := p.snapshot()
	if err != nil {
		return err
	}
	a, err := s.actor(principal)
	if err != nil {
		return err
	}
	sides := []Record{before, after}
	switch {
	case isZero(before):
		sides = sides[1:]
	case isZero(after):
		sides = sides[:1]
	}
	t, err := s.bound(sides[0].Type)
	if err != nil {
		return err
	}
	action := t.Update
	switch {
	case len(sides) == 1 && isZero(before):
		action = t.Create
	case len(sides) == 1:
		action = t.Delete
	case before.Type != after.Type || before.ID != after.ID || before.Tenant != after.Tenant:
		return &Denied{Action: action, Record: before.Type, Decision: Decision{Reason: Moved, PolicySet: s.hash}}
	}
	if action == "" {
		return &RequestError{Part: "record", Name: sides[0].Type, Text: "the binding names no action for this change"}
	}
	for _, side := range sides {
		d, err := s.decide(ctx, a, action, side)
		if err != nil {
			return err
		}
		if !d.Allowed {
			return &Denied{Action: action, Record: side.Type, Decision: d}
		}
	}
	if len(sides) == 1 {
		return nil
	}
	return s.checkFields(ctx, a, action, before, after)
}

// checkFields refuses a change of fields that are hidden before or after.
func (s *snapshot) checkFields(ctx context.Context, a *actor, action string, before, after Record) error {
	t, err := s.bound(after.Type)
	if err != nil {
		return err
	}
	changed := t.changedFields(before, after)
	if len(changed) == 0 {
		return nil
	}
	var hidden []string
	for _, side := range []Record{before, after} {
		fields, err := s.fields(ctx, a, side)
		if err != nil {
			return err
		}
		for _, name := range changed {
			if fields[name] != Readable && !slices.Contains(hidden, name) {
				hidden = append(hidden, name)
			}
		}
	}
	if len(hidden) > 0 {
		slices.Sort(hidden)
		return &Denied{Action: action, Record: after.Type, Fields: hidden, Decision: Decision{Reason: HiddenField, PolicySet: s.hash}}
	}
	return nil
}

func isZero(r Record) bool {
	return r.Type == "" && r.ID == "" && r.Tenant == "" && len(r.Attrs) == 0
}

// changedFields lists the names whose values differ. Absent and NULL are equal,
// and so are two spellings of one value: the text that a driver gives as bytes
// and that of a Go struct.
func (t *table) changedFields(before, after Record) []string {
	var out []string
	for name, v := range before.Attrs {
		if !t.same(name, v, after.Attrs[name]) {
			out = append(out, name)
		}
	}
	for name, v := range after.Attrs {
		if _, known := before.Attrs[name]; !known && !t.same(name, nil, v) {
			out = append(out, name)
		}
	}
	return out
}

// same compares two values of a field: as the schema has it, or, where the
// policies never see it, by what they are. What cannot be read has changed.
func (t *table) same(name string, a, b any) bool {
	if attr, known := t.attrs[name]; known && !t.columns[name].opaque {
		x, errX := valueOf(attr.Type, a)
		y, errY := valueOf(attr.Type, b)
		return errX == nil && errY == nil && (x == nil && y == nil || x != nil && y != nil && x.Equal(y)) && !finer(a, b)
	}
	x, errX := value.Of(a)
	y, errY := value.Of(b)
	if errX != nil || errY != nil {
		return false
	}
	if x.Kind() == value.Time && y.Kind() == value.Time {
		return !finer(a, b)
	}
	if rawX, err := x.Bytes(); err == nil {
		rawY, err := y.Bytes()
		return err == nil && bytes.Equal(rawX, rawY)
	}
	return x.Kind() == y.Kind() && reflect.DeepEqual(x.Any(), y.Any())
}

// finer says whether two times or two durations differ, if by less than the
// milliseconds that Cedar has.
func finer(a, b any) bool {
	x, errX := value.Of(a)
	y, errY := value.Of(b)
	if errX != nil || errY != nil || x.Kind() != y.Kind() {
		return false
	}
	if at, isTime := x.Any().(time.Time); isTime {
		other, _ := y.Any().(time.Time)
		return !at.Equal(other)
	}
	return x.Kind() == value.Duration && x.Any() != y.Any()
}

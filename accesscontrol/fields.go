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

// Fields is [Actor.Fields] for one record.
func (p *Policy) Fields(ctx context.Context, principal Principal, record Resource) (Fields, error) {
	s, err := p.once(ctx, &principal)
	if err != nil {
		return nil, err
	}
	return s.fields(ctx, &record, "")
}

// Fields says for each declared field what the principal may see of it in this
// record, and do to it. To read it takes the table's Read action, and the
// group's Action beside it for a field of a group; where that is denied, the
// group's Masked action shows its mask. To change what may be read takes the
// table's Update action, and the group's Update action beside it; an action
// that cannot be asked of this principal lets nothing be changed. If the record
// itself may not be read, every field is hidden.
func (a *Actor) Fields(ctx context.Context, record Resource) (Fields, error) {
	s, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	return s.fields(ctx, &record, "")
}

// fields asks of one record. change is the action of a change that is permitted
// already; without it, the table's Update action is asked.
func (s *standing) fields(ctx context.Context, record *Resource, change string) (Fields, error) {
	t, err := s.set.bound(record.Type)
	if err != nil {
		return nil, err
	}
	if t.Read == "" {
		return nil, &RequestError{Part: "resource", Name: record.Type, Text: "the binding names no Read action"}
	}
	ask := asking{standing: s, ctx: ctx, record: record, answers: map[string]bool{}, strict: change != ""}
	if ask.strict {
		ask.answers[change] = true
	} else {
		change = t.Update
	}
	reads, err := ask.all(t.Read)
	if err != nil {
		return nil, err
	}
	out := make(Fields, len(t.fields))
	for name, actions := range t.fields {
		if out[name] = Hidden; !reads {
			continue
		}
		if out[name], err = ask.field(t, name, actions, change); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *snapshot) bound(record string) (*table, error) {
	if t := s.tables[record]; t != nil {
		return t, nil
	}
	return nil, &RequestError{Part: "resource", Name: record, Text: "no table of this name is bound; bound are " + strings.Join(slices.Sorted(maps.Keys(s.tables)), ", ")}
}

// CheckChange is [Actor.CheckChange] for one change.
func (p *Policy) CheckChange(ctx context.Context, principal Principal, before, after Resource) error {
	s, err := p.once(ctx, &principal)
	if err != nil {
		return err
	}
	return s.checkChange(ctx, before, after)
}

// CheckChange checks both sides of a change: the Update action on the record
// before and on the record after, no other type, id or tenant, and no changed
// field that is not writable on both sides: [HiddenField] where one may not be
// read, else [ReadOnlyField]. With a zero before it checks Create, a change from
// nothing: the fields that are set are those that may be read and set, by the
// Create action in place of Update, in the record that comes to be. With a zero
// after it checks Delete.
func (a *Actor) CheckChange(ctx context.Context, before, after Resource) error {
	s, err := a.enter(ctx)
	if err != nil {
		return err
	}
	return s.checkChange(ctx, before, after)
}

func (s *standing) checkChange(ctx context.Context, before, after Resource) error {
	sides := []*Resource{&before, &after}
	switch {
	case isZero(before):
		sides = sides[1:]
	case isZero(after):
		sides = sides[:1]
	}
	t, err := s.set.bound(sides[0].Type)
	if err != nil {
		return err
	}
	action := t.Update
	switch {
	case len(sides) == 1 && isZero(before):
		action = t.Create
	case len(sides) == 1:
		action = t.Delete
	case before.Type != after.Type || !t.key.sameID(before.ID, after.ID) || !t.tenant.sameID(before.Tenant, after.Tenant):
		return &Denied{Action: action, Resource: before.Type, Decision: Decision{Reason: Moved, PolicySet: s.set.hash}}
	}
	if action == "" {
		return &RequestError{Part: "resource", Name: sides[0].Type, Text: "the binding names no action for this change"}
	}
	for _, side := range sides {
		if err := s.check(ctx, action, side); err != nil {
			return err
		}
	}
	if isZero(after) {
		return nil
	}
	return s.checkFields(ctx, action, t.changedFields(before, after), sides)
}

// checkFields refuses a change of fields that are not writable before and after.
func (s *standing) checkFields(ctx context.Context, action string, changed []string, sides []*Resource) error {
	if len(changed) == 0 {
		return nil
	}
	var hidden, fixed []string
	for _, side := range sides {
		fields, err := s.fields(ctx, side, action)
		if err != nil {
			return err
		}
		for _, name := range changed {
			switch v := fields[name]; {
			case v < Readable:
				hidden = append(hidden, name)
			case v < Writable:
				fixed = append(fixed, name)
			}
		}
	}
	switch {
	case len(hidden) > 0:
		return s.withheld(action, sides[0].Type, HiddenField, hidden)
	case len(fixed) > 0:
		return s.withheld(action, sides[0].Type, ReadOnlyField, fixed)
	default:
		return nil
	}
}

// withheld is the denial for the sake of some fields.
func (s *standing) withheld(action, record string, reason Reason, fields []string) error {
	slices.Sort(fields)
	return &Denied{Action: action, Resource: record, Fields: slices.Compact(fields), Decision: Decision{Reason: reason, PolicySet: s.set.hash}}
}

func isZero(r Resource) bool {
	return r.Type == "" && r.ID == "" && r.Tenant == "" && len(r.Attrs) == 0 && len(r.Related) == 0
}

// changedFields lists the names whose values differ. Absent and NULL are equal,
// and so are two spellings of one value: the text that a driver gives as bytes
// and that of a Go struct.
func (t *table) changedFields(before, after Resource) []string {
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

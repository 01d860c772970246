package audit

import (
	"context"
	"log/slog"
	"strings"
)

// Recorder returns a func that records in the caller's transaction on behalf
// of actor, in words of the standard library only: what other packages take.
//
// Attributes: object ("kind/id", which is a [PersonRef] where the kind is one of
// Config.PersonKinds), person and persons (both take a person id or a []string,
// and add up), reason, outcome, for, prior, policy, request, id, and digest and
// count, which become changes about nobody. Any other key is refused, for a
// value under it would stand in the log for ever.
func (t *Trail) Recorder(actor string) func(ctx context.Context, tx HandoverTx, tenant, action string, attrs ...slog.Attr) error {
	return func(ctx context.Context, tx HandoverTx, tenant, action string, attrs ...slog.Attr) error {
		e, err := fromAttrs(actor, tenant, action, attrs)
		if err != nil {
			return err
		}
		e.Object = t.byKind(e.Object)
		_, err = t.Record(ctx, tx, e)
		return err
	}
}

// Noter is like [Trail.Recorder] without a transaction of the caller's.
func (t *Trail) Noter(actor string) func(ctx context.Context, tenant, action string, attrs ...slog.Attr) error {
	return func(ctx context.Context, tenant, action string, attrs ...slog.Attr) error {
		e, err := fromAttrs(actor, tenant, action, attrs)
		if err != nil {
			return err
		}
		e.Object = t.byKind(e.Object)
		_, err = t.Note(ctx, e)
		return err
	}
}

func fromAttrs(actor, tenant, action string, attrs []slog.Attr) (Event, error) {
	e := Event{Tenant: tenant, Actor: actor, Action: action}
	texts := map[string]*string{
		"reason": &e.Reason, "outcome": &e.Outcome, "for": &e.For, "prior": &e.Prior,
		"policy": &e.Policy, "request": &e.Request, "id": &e.ID,
	}
	for _, a := range attrs {
		value := a.Value.Resolve()
		if dst, ok := texts[a.Key]; ok {
			if value.Kind() != slog.KindString {
				return Event{}, invalid("attribute %s is no string", a.Key)
			}
			*dst = value.String()
			continue
		}
		if err := e.attribute(a.Key, value); err != nil {
			return Event{}, err
		}
	}
	return e, nil
}

func (e *Event) attribute(key string, value slog.Value) error {
	switch key {
	case "object":
		kind, id, ok := strings.Cut(value.String(), "/")
		if value.Kind() != slog.KindString || !ok {
			return invalid("attribute object is not kind/id")
		}
		e.Object = Ref(kind, id)
	case "persons", "person":
		return e.addPersons(key, value)
	case "digest":
		if value.Kind() != slog.KindString {
			return invalid("attribute digest is no string")
		}
		e.Changes = append(e.Changes, Change{Path: key, Old: Absent{}, New: value.String()})
	case "count":
		if value.Kind() != slog.KindInt64 {
			return invalid("attribute count is no integer")
		}
		e.Changes = append(e.Changes, Change{Path: key, Old: Absent{}, New: value.Int64()})
	default:
		return invalid("an attribute has a key that is none of object, person, persons, reason, outcome, for, prior, policy, request, id, digest, count")
	}
	return nil
}

func (e *Event) addPersons(key string, value slog.Value) error {
	if value.Kind() == slog.KindString {
		e.Persons = append(e.Persons, value.String())
		return nil
	}
	list, ok := value.Any().([]string)
	if !ok {
		return invalid("attribute %s is neither a string nor []string", key)
	}
	e.Persons = append(e.Persons, list...)
	return nil
}

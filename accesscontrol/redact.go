package accesscontrol

import "context"

// Redact is [Actor.Redact] for one record.
func (p *Policy) Redact(ctx context.Context, principal Principal, record Resource) (Resource, Fields, error) {
	s, err := p.once(ctx, &principal)
	if err != nil {
		return Resource{}, nil, err
	}
	return s.redact(ctx, &record)
}

// Redact gives a copy of a record with what may be shown of it, and the
// [Actor.Fields] that say why: masked fields are the text of their mask, and
// hidden ones are left out. So are related records, each of which is redacted by
// itself. It is a [*Denied] where the record itself may not be read. What the
// copy shows of lists and maps are those of the record.
//
// A mask is put on the value that the record holds: open a sealed one before.
func (a *Actor) Redact(ctx context.Context, record Resource) (Resource, Fields, error) {
	s, err := a.enter(ctx)
	if err != nil {
		return Resource{}, nil, err
	}
	return s.redact(ctx, &record)
}

func (s *standing) redact(ctx context.Context, record *Resource) (Resource, Fields, error) {
	t, err := s.set.readable(record.Type)
	if err != nil {
		return Resource{}, nil, err
	}
	if err := s.check(ctx, t.Read, record); err != nil {
		return Resource{}, nil, err
	}
	fields, err := s.fields(ctx, record, "")
	if err != nil {
		return Resource{}, nil, err
	}
	out := *record
	out.Related = nil
	out.Attrs = make(map[string]any, len(record.Attrs))
	for name, v := range record.Attrs {
		switch fields[name] {
		case Readable, Writable:
			out.Attrs[name] = v
		case Masked:
			out.Attrs[name] = t.columns[name].mask.Apply(v)
		case Hidden:
		}
	}
	return out, fields, nil
}

package sqlstore

import (
	"context"
	"slices"
	"time"

	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// located is a row with what erasing it needs.
type located struct {
	row     datastore.Row
	e       *entity
	scope   int // whose it is
	key     []keyPart
	values  []any                     // in the order of the reads
	actions map[string]datamap.Action // of a row that stays; nil: it goes
	owner   string
	others  bool // a joint record with other persons left
	cut     *way // the row is not the person's: over it, it points to one
	over    bool // it points to a row that goes
	asked   int  // 1 and the scope for which alone it was asked for
	held    bool // by an obligation, until and because of what stands here
	until   time.Time
	because string
	hidden  bool // listed as the person's own, too
}

func (l *located) id() string { return l.row.Table + "\x00" + l.row.Key }

// stays reports whether the row outlives the erasure.
func (l *located) stays() bool {
	if l.cut != nil {
		return l.cut.Unlink == datamap.Null
	}
	return l.actions != nil || l.others
}

// when reports whether the conditions of an edge are true of the row.
func (l *located) when(s *Store, w *way) (bool, error) {
	for _, when := range w.When {
		parts, ok, err := l.tuple(s, []string{when.Column})
		if err != nil || !ok || parts[0].text != when.Is {
			return false, err
		}
	}
	return true, nil
}

// get is a read value of the row; ok is false for what was not read.
func (l *located) get(name string) (v any, ok bool) {
	i, ok := l.e.at[name]
	if !ok || i >= len(l.values) {
		return nil, false
	}
	return l.values[i], true
}

// tuple are the ids in some columns; ok is false where one is NULL.
func (l *located) tuple(s *Store, columns []string) (parts []keyPart, ok bool, err error) {
	for _, name := range columns {
		stored, _ := l.get(asID(name))
		v, err := value.Scanned(stored)
		if err != nil || v.IsNull() {
			return nil, false, err
		}
		text, err := s.at("", l.e.Name, name).spelled(stored)
		if err != nil {
			return nil, false, value.In(name, err)
		}
		parts = append(parts, keyPart{stored, text})
	}
	return parts, true, nil
}

// readRow takes one row apart.
func (s *Store) readRow(e *entity, values []any) (*located, error) {
	l := &located{e: e, values: slices.Clone(values), row: datastore.Row{Table: e.Name, Class: datastore.Deleted}}
	var ok bool
	var err error
	if l.key, ok, err = l.tuple(s, e.Key); err != nil {
		return nil, value.In("a key", err)
	}
	if !ok {
		v, _ := value.Scanned(nil)
		_, err = v.ID() // a row without a key has no name
		return nil, value.In("a key", err)
	}
	l.row.Key = joinKey(l.key)
	if created, has := l.get(asMoment(e.Created)); has && e.Created != "" {
		if l.row.Created = createdAt(created); e.undated {
			l.row.Created = time.Time{}
		}
	} else if len(l.key) == 1 {
		l.row.Created = uuidTime(l.row.Key)
	}
	if e.Link == nil {
		return l, nil
	}
	if owner, has := l.get(asIs(e.Link.Owner)); has {
		if l.owner, err = textOf(owner); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// judge decides what happens to a row of the person's own.
func (s *Store) judge(ctx context.Context, l *located, scope datastore.Scope, p *prepared) error {
	now := scope.Now
	if now.IsZero() {
		now = time.Now()
	}
	l.fate(now)
	if others, joint := l.get(otherPersonsRead); joint {
		var err error
		if l.others, err = isPositive(others); err != nil {
			return err
		}
		if l.others {
			l.row.Others, l.row.Class = true, datastore.Redacted
		}
	}
	if l.actions == nil {
		return nil
	}
	sets, err := s.newValues(ctx, l, scope, p)
	l.row.Clean = len(sets) == 0
	return err
}

// fate decides what happens to the row: by the table's Erase, or by the
// obligation while it runs. Without a date (NULL) the obligation has not begun;
// with one that cannot be read it has no end.
func (l *located) fate(now time.Time) {
	t := l.e.Table
	held, until, because := false, time.Time{}, ""
	if t.Keep != nil {
		start, _ := l.get(asMoment(t.Keep.From))
		from, begun, known := startDate(start)
		because = t.Keep.Because
		switch {
		case !known:
			held, because = true, because+" ("+t.Keep.From+" holds no date that can be read)"
		case begun:
			until = from.AddDate(t.Keep.Years, 0, 0)
			held = until.After(now)
		}
	}
	if t.Erase == datamap.Delete && !held {
		return
	}
	l.held, l.until, l.because = held, until, because
	l.actions = t.Stays()
	kept, shredded, named := false, false, false
	for where, action := range l.actions {
		if action == datamap.Retain && !t.IsPerson(where) {
			if kept = kept || held; !held {
				l.actions[where] = t.Erase // the obligation is over
			}
		}
		shredded = shredded || l.actions[where] == datamap.Shred
		named = named || t.IsPerson(where) && action == datamap.Retain
	}
	switch {
	case kept:
		l.row.Class, l.row.Until, l.row.Because = datastore.Kept, until, because
	case shredded:
		l.row.Class = datastore.Shredded
	case named:
		l.row.Class = datastore.Pseudonymised
	default:
		l.row.Class = datastore.Redacted
	}
}

// covers reports whether an erasure in the scope may touch the row: also one
// that points to a row which goes.
func (l *located) covers(scope datastore.Scope) bool { return l.over || scope.Covers(l.row) }

package sqlstore

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// located is a row with what erasing it needs. A person may have many: what can be
// told from the values and from the table is not kept beside them.
type located struct {
	e     *entity
	read  packed // the values in the order of the reads; of a row that is gone, its key
	fate  *fate
	with  *located // the kept row that keeps this one
	cut   *way     // the row is not the person's: over it, it points to one
	scope int      // whose it is

	asked  bool // for the scope alone
	others bool // a joint record with other persons left
	over   bool // it points to a row that goes
	hidden bool // listed as the person's own, too
	clean  bool // stays by the map, and nothing is left to be done to it
}

// fate is what happens to rows of a table.
type fate struct {
	class   datastore.Class
	stays   bool
	held    bool                      // by an obligation
	actions map[string]datamap.Action // of a row that stays
}

// fates are the fates that rows of the table may have.
func (e *entity) fates() {
	e.goes = fate{class: datastore.Deleted}
	e.redacted = fateOf(e.Table, false)
	e.kept = fateOf(e.Table, true)
	e.keptWith = fate{class: datastore.Kept, stays: true, held: true}
}

// fateOf is the fate of rows that stay. What an obligation retains goes as the
// rest does where none holds them.
func fateOf(t datamap.Table, held bool) fate {
	f := fate{class: datastore.Redacted, stays: true, held: held, actions: t.Stays()}
	kept, shredded, named := false, false, false
	for where, action := range f.actions {
		if action == datamap.Retain && !t.IsPerson(where) {
			if kept = kept || held; !held {
				f.actions[where] = t.Erase
			}
		}
		shredded = shredded || f.actions[where] == datamap.Shred
		named = named || t.IsPerson(where) && action == datamap.Retain
	}
	switch {
	case kept:
		f.class = datastore.Kept
	case shredded:
		f.class = datastore.Shredded
	case named:
		f.class = datastore.Pseudonymised
	}
	return f
}

// rowID names a row.
type rowID struct{ table, key string }

func (l *located) id() rowID { return rowID{l.e.Name, l.name()} }

// name is the key as text.
func (l *located) name() string { return joinKey(l.key()) }

// key are the values of the key: what is read of a row begins with them.
func (l *located) key() []keyPart {
	parts := make([]keyPart, len(l.e.Key))
	for i := range parts {
		parts[i] = l.part(i)
	}
	return parts
}

// part is one value of the key.
func (l *located) part(i int) keyPart {
	stored, _ := l.read.at(i)
	text, _ := l.e.ids[l.e.Key[i]].spelled(stored) // readRow has read it
	return keyPart{stored, text}
}

// sameKey reports whether two rows of one name have one key: on SQLite 1 and '1' are
// two, and so are numbers that differ in the sixteenth digit.
func (l *located) sameKey(other *located) bool {
	of := func(l *located) packed {
		var stored []any
		for _, part := range l.key() {
			stored = append(stored, part.stored)
		}
		key, _ := pack(stored) // it was packed
		return key
	}
	return of(l) == of(other)
}

// named reports whether the row is found by its name: a REAL of SQLite that has more
// than 15 digits is not.
func (l *located) named() bool {
	for _, part := range l.key() {
		if number, is := part.stored.(float64); is && l.e.ids[l.e.Key[0]].on == sqldb.SQLite {
			if known, err := strconv.ParseFloat(part.text, 64); err != nil || known != number {
				return false
			}
		}
	}
	return true
}

// stays reports whether the row outlives the erasure.
func (l *located) stays() bool {
	if l.cut != nil {
		return l.cut.Unlink == datamap.Null
	}
	return l.fate.stays || l.others
}

// row is the row as stores and desk name it.
func (l *located) row() datastore.Row {
	r := datastore.Row{Table: l.e.Name, Key: l.name(), Created: l.created(), Class: l.fate.class, Others: l.others, Clean: l.clean}
	if l.cut != nil {
		r.Points = strings.Join(l.cut.Columns, ", ")
	}
	switch {
	case l.cut != nil && l.stays():
		r.Class, r.Others = datastore.Redacted, true
	case l.cut != nil:
		r.Class = datastore.Deleted
	case l.others:
		r.Class = datastore.Redacted
	case r.Class == datastore.Kept:
		r.Until, r.Because, _ = l.term()
	}
	return r
}

// get is a read value of the row; ok is false for what was not read.
func (l *located) get(name string) (v any, ok bool) {
	i, ok := l.e.at[name]
	if !ok {
		return nil, false
	}
	return l.read.at(i)
}

// tuple are the ids in some columns; ok is false where one is NULL, or was not
// read.
func (l *located) tuple(columns []string) (parts []keyPart, ok bool, err error) {
	for _, name := range columns {
		stored, _ := l.get(asID(name))
		v, err := value.Scanned(stored)
		if err != nil || v.IsNull() {
			return nil, false, err
		}
		text, err := l.e.ids[name].spelled(stored)
		if err != nil {
			return nil, false, value.In(name, err)
		}
		parts = append(parts, keyPart{stored, text})
	}
	return parts, true, nil
}

// when reports whether the conditions of an edge are true of the row.
func (l *located) when(w *way) (bool, error) {
	for _, when := range w.When {
		parts, ok, err := l.tuple([]string{when.Column})
		if err != nil || !ok || parts[0].text != when.Is {
			return false, err
		}
	}
	return true, nil
}

// created is when the row was created, as its column or a UUIDv7 says; zero where
// nobody knows.
func (l *located) created() time.Time {
	if created, has := l.get(asMoment(l.e.Created)); has && l.e.Created != "" {
		if l.e.undated {
			return time.Time{}
		}
		return createdAt(created)
	}
	if len(l.e.Key) > 1 {
		return time.Time{}
	}
	return uuidTime(l.name())
}

// owner is the key owner of a joint record.
func (l *located) owner() (string, error) {
	if l.e.Link == nil {
		return "", nil
	}
	owner, _ := l.get(asIs(l.e.Link.Owner))
	return textOf(owner)
}

// readRow takes one row apart.
func (s *Store) readRow(e *entity, values []any) (*located, error) {
	read, err := pack(values)
	if err != nil {
		return nil, err
	}
	l := &located{e: e, read: read, fate: &e.goes}
	if _, ok, err := l.tuple(e.Key); err != nil || !ok {
		if err == nil {
			v, _ := value.Scanned(nil)
			_, err = v.ID() // a row without a key has no name
		}
		return nil, value.In("a key", err)
	}
	_, err = l.owner()
	return l, err
}

// judge decides what happens to a row of the person's own.
func (s *Store) judge(ctx context.Context, l *located, scope datastore.Scope, p *prepared) error {
	now := scope.Now
	if now.IsZero() {
		now = time.Now()
	}
	l.decide(now)
	if others, joint := l.get(otherPersonsRead); joint {
		var err error
		if l.others, err = isPositive(others); err != nil {
			return err
		}
	}
	if !l.fate.stays || p.lists {
		return nil
	}
	sets, err := s.newValues(ctx, l, scope, p)
	l.clean = len(sets) == 0
	return err
}

// decide decides what happens to the row: by the table's Erase, or by the
// obligation while it runs.
func (l *located) decide(now time.Time) {
	until, _, begun := l.term()
	switch {
	case begun && (until.IsZero() || until.After(now)):
		l.fate = &l.e.kept
	case l.e.Erase == datamap.Delete:
		l.fate = &l.e.goes
	default:
		l.fate = &l.e.redacted
	}
}

// term is until when an obligation keeps the row, and which. Without a date (NULL)
// it has not begun; with one that cannot be read it has no end (zero).
func (l *located) term() (until time.Time, because string, begun bool) {
	if l.with != nil {
		return l.with.term()
	}
	keep := l.e.Keep
	if keep == nil {
		return time.Time{}, "", false
	}
	start, _ := l.get(asMoment(keep.From))
	from, begun, known := startDate(start)
	switch {
	case !known:
		return time.Time{}, keep.Because + " (" + keep.From + " holds no date that can be read)", true
	case !begun:
		return time.Time{}, keep.Because, false
	}
	return from.AddDate(keep.Years, 0, 0), keep.Because, true
}

// covers reports whether an erasure in the scope may touch the row: also one
// that points to a row which goes.
func (l *located) covers(scope datastore.Scope) bool {
	return l.over || scope.Before.IsZero() || scope.Covers(l.row())
}

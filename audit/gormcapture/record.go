package gormcapture

import (
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/audit"
)

// record records the statement, behind its hooks and before its commit.
func (p *Plugin) record(db *gorm.DB) {
	s := statementOf(db)
	if s == nil || db.Error != nil || s.affected == 0 {
		return
	}
	events, err := s.events(db)
	if err == nil {
		events, err = s.untold(db, events)
	}
	if err != nil {
		_ = db.AddError(err)
		return
	}
	var persons []string
	for i := range events {
		persons = append(persons, people(events[i])...)
	}
	for i := range events {
		if _, err := p.put(s.outer, db, events[i], persons); err != nil {
			_ = db.AddError(err)
			return
		}
	}
}

// events are what the statement is recorded as: one event a row, where the rows
// are known, and one for all otherwise.
func (s *statement) events(db *gorm.DB) ([]audit.Event, error) {
	if s.verb == "create" {
		return s.created(db), nil
	}
	if s.verb == "update" && s.model.changes == nil && len(s.columns) == 0 {
		return nil, nil
	}
	if !s.known {
		return []audit.Event{s.all()}, nil
	}
	if s.affected > int64(len(s.keys)) { // others came in between: of these nothing is known
		return nil, ErrRows
	}
	var after map[string]any
	if s.verb == "update" && s.model.changes != nil {
		var err error
		if after, err = s.again(db); err != nil {
			return nil, err
		}
	}
	var outcome string
	if s.affected < int64(len(s.keys)) && (s.verb == "delete" || s.model.changes == nil) {
		outcome = audit.OutcomePartial // some were left alone, and the database does not say which
	}
	var out []audit.Event
	for _, key := range s.keys {
		if to, ok := s.moved[key]; ok {
			out = append(out, s.renamed(key, to, after, outcome)...)
			continue
		}
		e := audit.Event{Action: s.model.Kind + "." + s.verb, Object: s.model.object(key), Outcome: outcome}
		switch {
		case s.model.changes != nil:
			if e.Changes = s.model.changes(s.person(key), s.before[key], after[key]); len(e.Changes) == 0 {
				continue
			}
		default:
			e.Changes = s.names(s.person(key))
		}
		out = append(out, e)
	}
	return out, nil
}

// person is whom the values of a row are about.
func (s *statement) person(key string) string {
	if s.model.Person {
		return key
	}
	return ""
}

// all is the event of a statement whose rows are not known, or too many.
func (s *statement) all() audit.Event {
	e := audit.Event{Action: s.model.Kind + "." + s.verb}
	if !slices.Contains(s.columns, "count") {
		e.Changes = s.names("")
	}
	e.Changes = append(e.Changes, audit.Change{Path: "count", Old: audit.Absent{}, New: s.affected})
	return e
}

// created are the events of an insertion. What it was where a row was there already
// the database does not say.
func (s *statement) created(db *gorm.DB) []audit.Event {
	_, upsert := db.Statement.Clauses["ON CONFLICT"].Expression.(clause.OnConflict)
	action, outcome := s.model.Kind+".create", ""
	rows := s.model.rows(db.Statement.ReflectValue)
	if upsert {
		action = s.model.Kind + ".save"
		if s.affected < int64(len(rows)) || s.orNothing && db.Name() == "mysql" {
			outcome = audit.OutcomePartial // some of them, nobody knows which; MySQL may count what it left alone
		}
		if s.drawn && s.affected != int64(len(rows)) {
			rows = nil // GORM gives the ids that came back to the first rows, whichever they are of
		}
	}
	keys := make([]string, len(rows))
	for i := range rows {
		if keys[i] = s.model.key(s.outer, rows[i]); keys[i] == "" {
			rows = nil // of a map, or of a database that does not say what it has drawn
			break
		}
	}
	if len(rows) == 0 || len(rows) > maxRows {
		e := s.all()
		e.Action, e.Outcome = action, outcome
		return []audit.Event{e}
	}
	out := make([]audit.Event, 0, len(rows))
	for i := range rows {
		e := audit.Event{Action: action, Outcome: outcome, Object: s.model.object(keys[i])}
		if s.model.changes != nil && !upsert {
			e.Changes = s.model.changes(s.person(keys[i]), nil, address(rows[i]))
		}
		out = append(out, e)
	}
	return out
}

// address is a pointer to a row.
func address(row reflect.Value) any {
	if row.CanAddr() {
		return row.Addr().Interface()
	}
	at := reflect.New(row.Type())
	at.Elem().Set(row)
	return at.Interface()
}

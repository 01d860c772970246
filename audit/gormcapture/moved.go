package gormcapture

import (
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/audit"
)

// moved is where a row went whose key was set: its key afterwards, "" where the
// database computes it, and a row that bears it.
type moved struct {
	key string
	row reflect.Value
}

// byKey says that the conditions are comparisons all of which must hold, and that
// the key is one of them and stays. Text of the application's own, and OR, may mean
// other rows than the model's.
func (s *statement) byKey(stmt *gorm.Statement) bool {
	if len(s.setKeys(stmt)) > 0 {
		return false
	}
	where, _ := stmt.Clauses["WHERE"].Expression.(clause.Where)
	compared := map[string]bool{}
	for _, expr := range where.Exprs {
		var column any
		switch e := expr.(type) {
		case clause.Eq:
			column = e.Column
		case clause.IN:
			column = e.Column
		default:
			return false
		}
		switch c := column.(type) {
		case string:
			compared[c] = true
		case clause.Column:
			compared[c.Name] = true
		case []clause.Column:
			for _, one := range c {
				compared[one.Name] = true
			}
		}
	}
	return !slices.ContainsFunc(s.model.schema.PrimaryFieldDBNames, func(name string) bool { return !compared[name] })
}

// setKeys are the columns of the key that a statement sets.
func (s *statement) setKeys(stmt *gorm.Statement) map[string]any {
	set, _ := stmt.Clauses["SET"].Expression.(clause.Set)
	out := map[string]any{}
	for _, a := range set {
		if slices.Contains(s.model.schema.PrimaryFieldDBNames, a.Column.Name) {
			out[a.Column.Name] = a.Value
		}
	}
	return out
}

// move finds out where a row goes whose key is set.
func (s *statement) move(stmt *gorm.Statement, key string, row reflect.Value) {
	set := s.setKeys(stmt)
	if len(set) == 0 {
		return
	}
	to := moved{row: s.model.with(s.outer, row, set)}
	computed := false
	for _, value := range set {
		_, is := value.(clause.Expression)
		computed = computed || is
	}
	if !computed {
		if to.key = s.model.key(s.outer, to.row); to.key == key {
			return
		}
	}
	if s.moved == nil {
		s.moved = map[string]moved{}
	}
	s.moved[key] = to
}

// renamed are the events of a row whose key was set: one under each of its keys.
// The key that is gone tells names alone: its values have not ceased to be.
func (s *statement) renamed(key string, to moved, after map[string]any, outcome string) []audit.Event {
	event := func(key string) audit.Event {
		names := s.names(s.person(key))
		if s.model.changes != nil {
			names = slices.DeleteFunc(names, func(c audit.Change) bool { return !slices.Contains(s.model.schema.PrimaryFieldDBNames, c.Path) })
		}
		return audit.Event{Action: s.model.Kind + "." + s.verb, Object: s.model.object(key), Changes: names, Outcome: outcome}
	}
	if to.key == "" {
		return []audit.Event{event(key)}
	}
	is := event(to.key)
	if s.model.Person { // what was one person's value is not told as another's
		is.Changes = s.names(to.key)
	} else if now, ok := after[to.key]; ok {
		values := s.model.changes("", s.before[key], now)
		is.Changes = slices.DeleteFunc(is.Changes, func(name audit.Change) bool {
			return slices.ContainsFunc(values, func(c audit.Change) bool { return c.Path == name.Path })
		})
		is.Changes = append(is.Changes, values...)
	}
	return []audit.Event{event(key), is}
}

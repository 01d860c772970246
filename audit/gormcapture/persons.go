package gormcapture

import (
	"context"
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/audit"
)

// Prepare prepares what the events of these rows need: structs of the models, or
// slices of them. Call it before a transaction of the application's own, and before
// CreateInBatches or a CreateBatchSize, whose transaction GORM begins before a
// plugin hears of the rows: on SQLite nothing can be made good for within.
func (p *Plugin) Prepare(db *gorm.DB, rows ...any) error {
	var persons []string
	for _, m := range p.models {
		for _, given := range rows {
			for _, row := range m.rows(reflect.ValueOf(given)) {
				persons = append(persons, m.about(db.Statement.Context, row)...)
			}
		}
	}
	slices.Sort(persons)
	return p.trail.Prepare(db.Statement.Context, "", slices.Compact(persons)...)
}

// people are the persons of an event.
func people(e audit.Event) []string {
	out := slices.Clone(e.Persons)
	if e.Object.Person {
		out = append(out, e.Object.ID)
	}
	for _, c := range e.Changes {
		if c.Who != "" {
			out = append(out, c.Who)
		}
	}
	return out
}

// about are the persons whom a row, and its values, are about.
func (m *model) about(ctx context.Context, row reflect.Value) (out []string) {
	var person string
	if m.Person {
		person = m.key(ctx, row)
	}
	if person != "" {
		out = append(out, person)
	}
	if m.who {
		for _, c := range m.changes(person, nil, address(row)) {
			if c.Who != "" {
				out = append(out, c.Who)
			}
		}
	}
	return out
}

// persons are those whom the statement will be about, as far as it can be known.
func (p *Plugin) persons(db *gorm.DB, s *statement) (out []string, err error) {
	m := s.model
	if !m.Person && !m.who {
		return nil, nil
	}
	given := m.rows(reflect.ValueOf(db.Statement.Dest))
	if s.verb != "create" {
		given = append(given, m.rows(reflect.ValueOf(db.Statement.Model))...)
	}
	for _, row := range given {
		out = append(out, m.about(s.outer, row)...)
	}
	where := s.where(db)
	if s.verb != "create" && !unclear(db.Statement) && (len(out) == 0 || len(where) > 0 || m.who || s.sets(db.Statement)) {
		// GORM itself adds the key of a model behind the hooks.
		where = append(where, m.equal(s.outer, m.rows(reflect.ValueOf(db.Statement.Model)))...)
		if s.verb == "delete" {
			where = append(where, m.equal(s.outer, m.rows(reflect.ValueOf(db.Statement.Dest)))...)
		}
		rows, err := s.find(db, db.Statement.ConnPool, where, false)
		if err != nil {
			return nil, err
		}
		if len(rows) > maxRows {
			rows = nil
		}
		for _, row := range rows {
			out = append(out, m.about(s.outer, row)...)
			if values, ok := db.Statement.Dest.(map[string]any); ok {
				out = append(out, m.about(s.outer, m.with(s.outer, row, values))...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// sets says that a statement writes the key.
func (s *statement) sets(stmt *gorm.Statement) bool {
	values, _ := stmt.Dest.(map[string]any)
	for name := range values {
		if field := s.model.schema.LookUpField(name); field != nil && field.PrimaryKey {
			return true
		}
	}
	return false
}

// with is a copy of a row under other values, as far as these are known.
func (m *model) with(ctx context.Context, row reflect.Value, values map[string]any) reflect.Value {
	out := reflect.New(row.Type()).Elem()
	out.Set(row)
	for name, value := range values {
		if _, computed := value.(clause.Expression); computed {
			continue
		}
		if field := m.schema.LookUpField(name); field != nil {
			_ = field.Set(ctx, out, value) // what does not fit is the statement's to refuse
		}
	}
	return out
}

// where are the conditions of a statement.
func (s *statement) where(db *gorm.DB) []clause.Expression {
	where, _ := db.Statement.Clauses["WHERE"].Expression.(clause.Where)
	return slices.Clone(where.Exprs)
}

// equal are the conditions that name these rows by their keys, as far as they have
// one.
func (m *model) equal(ctx context.Context, rows []reflect.Value) []clause.Expression {
	either := make([]clause.Expression, 0, len(rows))
	for _, row := range rows {
		var all []clause.Expression
		for _, field := range m.schema.PrimaryFields {
			if part, zero := field.ValueOf(ctx, row); !zero {
				all = append(all, clause.Eq{Column: clause.Column{Table: clause.CurrentTable, Name: field.DBName}, Value: part})
			}
		}
		switch {
		case len(all) > 0 && len(rows) == 1:
			return all
		case len(all) > 0:
			either = append(either, clause.And(all...))
		}
	}
	switch len(either) {
	case 0:
		return nil
	case 1:
		return either
	}
	return []clause.Expression{clause.Or(either...)}
}

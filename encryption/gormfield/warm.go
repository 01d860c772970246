package gormfield

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"
)

// warm takes the keys of everything that a Create or an Update will write, its
// associations included, before GORM begins the transaction: in it the key store
// might wait for the very connection that the transaction holds. What is known
// only later (a hook sets the owner) is taken then. Nothing fails here; what has
// no key fails where it is sealed.
func (p *Plugin) warm(db *gorm.DB) {
	stmt := db.Statement
	if db.Error != nil {
		p.hide(db)
		return
	}
	if stmt.SQL.Len() > 0 {
		return
	}
	if _, inside := stmt.ConnPool.(gorm.TxCommitter); inside {
		return
	}
	_ = p.takeKeys(db, stmt.Model)
}

// Ensure takes the keys that rows need, and makes those that are missing: call it
// before a transaction of yours, and before CreateInBatches, where the key store
// shares a pool of one connection with the rows. value is what will be created or
// saved: a model, a slice of them, with what they hold, a map or a slice of maps;
// db names the table, by Model or Table, where value does not.
//
// An error is that of the first table whose keys are not to be had: ErrErased for
// an erased person, as when the row is written.
func (p *Plugin) Ensure(db *gorm.DB, value any) error {
	tx := db.Session(&gorm.Session{Context: db.Statement.Context}) // has a Statement of its own
	stmt := tx.Statement
	stmt.Dest, stmt.ReflectValue = value, reflect.Indirect(reflect.ValueOf(value))
	if stmt.Model == nil {
		stmt.Model = value
	}
	if err := stmt.Parse(stmt.Model); err != nil && stmt.Table == "" {
		return &FieldError{Op: "Ensure takes models, or maps with the Model or Table that they are for", Err: ErrModel}
	}
	return p.takeKeys(tx, nil)
}

// takeKeys takes the keys of what a statement will write, and of a model.
func (p *Plugin) takeKeys(db *gorm.DB, model any) error {
	stmt := db.Statement
	w := &warming{plugin: p, db: db, seen: map[seenAt]bool{}, found: map[*sealedTable][]binding{}}
	if stmt.Schema != nil {
		w.walk(stmt.Schema, reflect.ValueOf(model), !slices.Contains(stmt.Omits, clause.Associations))
		w.walk(stmt.Schema, stmt.ReflectValue, true) // of an Update, where it is a model of its own
	}
	w.named(stmt)
	sealing := p.sealing(stmt)
	var failed []error
	for t, bindings := range w.found {
		p.ensure(stmt.Context, sealing.only, t, bindings)
		for _, b := range bindings {
			_, err := sealing.writer(writerOf{table: t, tenant: b.tenant, owner: b.owner}, false)
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

type seenAt struct {
	at   uintptr
	kind reflect.Type
}

type warming struct {
	plugin *Plugin
	db     *gorm.DB
	seen   map[seenAt]bool
	found  map[*sealedTable][]binding
}

func (w *warming) walk(s *schema.Schema, value reflect.Value, deep bool) {
	for value.Kind() == reflect.Pointer || value.Kind() == reflect.Interface {
		value = value.Elem()
	}
	switch value.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range value.Len() {
			w.walk(s, value.Index(i), deep)
		}
		return
	case reflect.Struct:
	default:
		return
	}
	if value.Type() != s.ModelType {
		return
	}
	if value.CanAddr() {
		at := seenAt{value.Addr().Pointer(), value.Type()}
		if w.seen[at] {
			return
		}
		w.seen[at] = true
	}
	if t := w.plugin.tables[bare(s.Table)]; t != nil {
		w.add(t, fieldsOf(w.db.Statement.Context, s, value))
	}
	if !deep {
		return
	}
	for _, rel := range slices.Concat(s.Relationships.BelongsTo, s.Relationships.HasOne, s.Relationships.HasMany, s.Relationships.Many2Many) {
		if rel.Schema != s {
			continue // one that GORM has added for the way back
		}
		if _, zero := rel.Field.ValueOf(w.db.Statement.Context, value); !zero {
			w.walk(rel.FieldSchema, rel.Field.ReflectValueOf(w.db.Statement.Context, value), true)
		}
	}
}

// fieldsOf is what a model says of its columns; nil where a field is zero.
func fieldsOf(ctx context.Context, s *schema.Schema, row reflect.Value) func(column string) any {
	return func(column string) any {
		if field := lookUp(s, column); field != nil && row.Kind() == reflect.Struct && row.Type() == s.ModelType {
			if v, zero := field.ValueOf(ctx, row); !zero {
				return v
			}
		}
		return nil
	}
}

// named finds owners in what a statement says by names: maps, assignments, and a
// struct beside the model. What they leave out, the model says.
func (w *warming) named(stmt *gorm.Statement) {
	t, _ := w.plugin.tableOf(stmt)
	if t == nil {
		return
	}
	model := func(string) any { return nil }
	if stmt.Schema != nil {
		model = fieldsOf(stmt.Context, stmt.Schema, reflect.Indirect(reflect.ValueOf(stmt.Model)))
	}
	add := func(given func(column string) any) {
		w.add(t, func(column string) any {
			if v := given(column); v != nil {
				return v
			}
			return model(column)
		})
	}
	for _, names := range mapsOf(stmt.Dest) {
		said := map[string]any{}
		for name, v := range names {
			said[columnOf(stmt.Schema, name)] = v
		}
		add(func(column string) any { return said[column] })
	}
	if set, ok := stmt.Clauses["SET"].Expression.(clause.Set); ok {
		said := map[string]any{}
		for _, a := range set {
			said[columnOf(stmt.Schema, a.Column.Name)] = a.Value
		}
		add(func(column string) any { return said[column] })
	}
	if dest := reflect.Indirect(reflect.ValueOf(stmt.Dest)); dest.Kind() == reflect.Struct {
		other := &gorm.Statement{DB: stmt.DB}
		if other.Parse(stmt.Dest) == nil {
			add(fieldsOf(stmt.Context, other.Schema, dest))
		}
	}
}

// mapsOf are the maps that a Create or an Update was given.
func mapsOf(dest any) []map[string]any {
	switch dest := dest.(type) {
	case map[string]any:
		return []map[string]any{dest}
	case *map[string]any:
		return []map[string]any{*dest}
	case []map[string]any:
		return dest
	case *[]map[string]any:
		return *dest
	}
	return nil
}

// columnOf is the column that a name in a map stands for.
func columnOf(s *schema.Schema, name string) string {
	if s != nil {
		if field := s.LookUpField(name); field != nil {
			name = field.DBName
		}
	}
	return bare(name)
}

func (w *warming) add(t *sealedTable, said func(column string) any) {
	ctx := w.db.Statement.Context
	text := func(column string) string {
		if column == "" {
			return ""
		}
		id, _ := idText(said(column))
		return id
	}
	b := binding{tenant: text(t.tenant)}
	if t.tenant == "" {
		b.tenant, _ = w.plugin.config.tenant(ctx)
	}
	if b.tenant == "" {
		return
	}
	for _, col := range t.columns {
		full := b
		full.owner = text(t.owner)
		need := of(t, col, full)
		full.owner = need.owner
		if full.owner != "" && !slices.Contains(w.found[t], full) {
			w.found[t] = append(w.found[t], full)
		}
	}
}

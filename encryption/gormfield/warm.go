package gormfield

import (
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
	if stmt.Schema == nil || stmt.SQL.Len() > 0 {
		return
	}
	if _, inside := stmt.ConnPool.(gorm.TxCommitter); inside {
		return
	}
	w := &warming{plugin: p, db: db, seen: map[seenAt]bool{}, found: map[*sealedTable][]binding{}}
	w.walk(stmt.Schema, reflect.ValueOf(stmt.Model), !slices.Contains(stmt.Omits, clause.Associations))
	w.walk(stmt.Schema, stmt.ReflectValue, true) // of an Update, where it is a model of its own
	sealing := p.sealing(stmt.Context)
	for t, bindings := range w.found {
		p.ensure(stmt.Context, t, bindings)
		for _, b := range bindings {
			_, _ = sealing.writer(writerOf{table: t, tenant: b.tenant, owner: b.owner}, false)
		}
	}
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
		w.add(t, s, value)
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

func (w *warming) add(t *sealedTable, s *schema.Schema, row reflect.Value) {
	ctx := w.db.Statement.Context
	text := func(column string) string {
		field := lookUp(s, column)
		if field == nil {
			return ""
		}
		v, zero := field.ValueOf(ctx, row)
		if zero {
			return ""
		}
		id, _ := idText(v)
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

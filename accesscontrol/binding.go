package accesscontrol

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// identifier is what a name of the binding may look like in SQL. Names are
// quoted as well; this keeps quotes and folding out of the question.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// table is a Table that was checked against the schema.
type table struct {
	Table
	kind    cedarx.EntityType
	attrs   cedarx.Attributes
	columns map[string]column
	// slots are the attributes that a check reads, sealed ones left out, each
	// in its place of a row; key is the record itself, in place 0, and tenant
	// stands in none. width counts them, and required are those without which a record is refused.
	slots    map[string]*column
	ordered  []*column // all of slots, the required ones first
	key      *column
	tenant   *column
	width    int
	required []*column
	// sets are the attributes whose elements stand in other tables.
	sets map[string]*set
	// fields maps each declared field to the group actions that it takes, and
	// beside has those for its mask and for a change, where there are any.
	fields map[string][]string
	beside map[string]beside
	// relations are the attributes that are joins, and joins those of them that
	// some policy reads.
	relations map[string]*table
	joins     []*join
}

// beside are actions that the groups of a field name: those that suffice for
// its mask, and those that a change takes.
type beside struct{ masked, update []string }

// column is one attribute and where it stands. typ.Kind 0 means that the
// schema does not know the attribute: it is a field only.
type column struct {
	sqlcond.Column
	attr     string
	typ      cedarx.Type
	opaque   bool
	mask     Mask
	like     bool
	required bool
	// set is where the elements stand of one that is no column.
	set *set
	// field names what in the binding says the type, where it is not Column.As.
	field string
}

// binder collects the faults of a binding.
type binder struct {
	schema   *cedarx.Schema
	actions  map[string]cedarx.Action
	problems []Problem
}

func (b *binder) problem(format string, args ...any) {
	b.problems = append(b.problems, Problem{Text: fmt.Sprintf(format, args...)})
}

// bind checks all tables. Each is known by its record name.
func (b *binder) bind(tables []Table) map[string]*table {
	out := make(map[string]*table, len(tables))
	entities := map[string]bool{}
	for _, source := range tables {
		t := &table{
			Table: source, kind: cedarx.EntityType(source.Entity),
			columns: map[string]column{}, fields: map[string][]string{}, beside: map[string]beside{}, relations: map[string]*table{},
		}
		attrs, known := b.schema.Entities[t.kind]
		switch {
		case source.Resource == "":
			b.problem("a table has no record name")
			continue
		case strings.Contains(source.Resource, "/"):
			b.problem("table %s: a record name holds no slash, which ends it in a resource", source.Resource)
			continue
		case out[source.Resource] != nil:
			b.problem("table %s stands twice", source.Resource)
			continue
		case !known:
			b.problem("table %s: the schema has no entity type %s", source.Resource, source.Entity)
			continue
		case entities[source.Entity]:
			b.problem("table %s: entity type %s is bound twice", source.Resource, source.Entity)
			continue
		}
		entities[source.Entity] = true
		t.attrs = attrs
		b.names(t)
		b.sets(t)
		b.columns(t)
		b.groups(t)
		b.masks(t)
		t.place()
		out[source.Resource] = t
	}
	b.relations(out)
	return out
}

func (b *binder) names(t *table) {
	for _, action := range []string{t.Read, t.Create, t.Update, t.Delete} {
		if action != "" {
			b.action(t, action)
		}
	}
	if t.Name == "" {
		return
	}
	if t.Key == "" {
		b.problem("table %s: Key is empty: it names the column of the record's id", t.Resource)
	}
	schema, table, qualified := strings.Cut(t.Name, ".")
	if !identifier.MatchString(schema) || qualified && !identifier.MatchString(table) {
		b.problem("table %s: name is not a plain SQL identifier, nor one behind its schema", t.Resource)
	}
	if t.Key != "" && !identifier.MatchString(t.Key) {
		b.problem("table %s: key is not a plain SQL identifier", t.Resource)
	}
	for what, as := range map[string]ColumnType{"key": t.KeyAs, "tenant": t.TenantAs} {
		if as != "" && as != Integer && as != UUID {
			b.problem("table %s: the %s is no %q: it is text, Integer or UUID", t.Resource, what, string(as))
		}
	}
	switch {
	case (t.Tenant == "") == (t.OnlyTenant == ""):
		b.problem("table %s: exactly one of Tenant and OnlyTenant must stand", t.Resource)
	case t.Tenant != "" && !identifier.MatchString(t.Tenant):
		b.problem("table %s: tenant is not a plain SQL identifier", t.Resource)
	}
}

func (b *binder) action(t *table, id string) {
	action, known := b.actions[id]
	switch {
	case !known:
		b.problem("table %s: action %s: %s", t.Resource, id, noAction(b.schema, id))
	case !slices.Contains(action.Resources, t.kind):
		b.problem("table %s: action %s does not apply to %s", t.Resource, id, t.kind)
	}
}

func (b *binder) columns(t *table) {
	for _, source := range t.Columns {
		if source.Attr == "" {
			b.problem("table %s: a column has no attribute", t.Resource)
			continue
		}
		if _, twice := t.columns[source.Attr]; twice {
			b.problem("table %s: attribute %s is bound twice", t.Resource, source.Attr)
			continue
		}
		c := column{
			attr: source.Attr, opaque: source.Opaque, mask: source.Mask, like: source.Like, required: source.Required,
			Column: sqlcond.Column{Name: source.Name},
		}
		if c.Name == "" {
			c.Name = c.attr
		}
		if t.Name != "" && !identifier.MatchString(c.Name) {
			b.problem("table %s: the column of attribute %s is not a plain SQL identifier", t.Resource, c.attr)
		}
		attr, known := t.attrs[c.attr]
		if known {
			c.typ = attr.Type
		}
		if known && attr.Required != c.required {
			b.problem("table %s: attribute %s is %s in the schema, and its column is declared %s",
				t.Resource, c.attr, either(attr.Required, "required", "optional"), either(c.required, "NOT NULL", "NULL"))
		}
		as, exists := storages[source.As]
		if c.Storage = as.storage; known && (!exists || !slices.Contains(as.holds, c.typ.Kind) || as.isTime() && c.typ.Extension != "datetime") {
			b.problem("table %s: attribute %s has a type that no column of the type %q holds", t.Resource, c.attr, string(source.As))
		}
		b.patterns(t, source)
		t.columns[c.attr] = c
		t.fields[c.attr] = nil
	}
	for _, name := range slices.Sorted(maps.Keys(t.attrs)) {
		if _, bound := t.fields[name]; bound {
			continue
		}
		switch {
		case t.Name == "": // what the schema says is all there is
			t.fields[name] = nil
		case t.attrs[name].Required:
			b.problem("table %s: attribute %s is required and has no column: no row could be asked about", t.Resource, name)
		}
	}
}

// place gives each attribute its slot.
func (t *table) place() {
	t.key = &column{
		Column: sqlcond.Column{Name: t.Key, Kind: sqlcond.Text, Storage: storages[t.KeyAs].storage},
		attr:   keyAttr, required: true, typ: cedarx.Type{Kind: cedarx.EntityRef, Entity: t.kind},
	}
	t.tenant = &column{
		Column: sqlcond.Column{Name: t.Tenant, Kind: sqlcond.Text, Storage: storages[t.TenantAs].storage},
		attr:   tenantAttr, required: true, typ: cedarx.Type{Kind: cedarx.String},
	}
	if t.Name == "" { // there is no SQL to stand in
		t.key.Column, t.tenant.Column = sqlcond.Column{Kind: sqlcond.Text}, sqlcond.Column{Kind: sqlcond.Text}
	}
	var optional []*column
	t.slots, t.width = map[string]*column{}, 1
	for _, name := range slices.Sorted(maps.Keys(t.attrs)) {
		col, bound := t.columns[name]
		if col.opaque {
			continue
		}
		if !bound {
			col = column{attr: name, typ: t.attrs[name].Type, required: t.attrs[name].Required, set: t.sets[name]}
		}
		col.Slot, col.Kind = t.width, kinds[col.typ.Kind]
		if t.Name == "" {
			col.Name, col.Storage = "", sqlcond.Plain
		}
		if col.isTime() {
			col.Kind = sqlcond.Integer
		}
		t.width++
		t.slots[name] = &col
		if t.attrs[name].Required {
			t.required = append(t.required, &col)
		} else {
			optional = append(optional, &col)
		}
	}
	t.ordered = append(slices.Clone(t.required), optional...)
}

// kinds are the kinds of values that conditions compare; the rest is only
// there or not.
var kinds = [...]sqlcond.Kind{
	cedarx.String: sqlcond.Text, cedarx.EntityRef: sqlcond.Text, cedarx.Long: sqlcond.Integer, cedarx.Bool: sqlcond.Boolean,
	cedarx.Set: sqlcond.Other, cedarx.RecordOf: sqlcond.Other, cedarx.Extension: sqlcond.Other,
}

func (b *binder) groups(t *table) {
	for _, g := range t.Groups {
		b.action(t, g.Action)
		for _, more := range []string{g.Masked, g.Update} {
			if more != "" {
				b.action(t, more)
			}
		}
		if len(g.Fields) == 0 {
			b.problem("table %s: group %s has no fields", t.Resource, g.Name)
		}
		for _, f := range g.Fields {
			if _, declared := t.fields[f]; !declared {
				b.problem("table %s: group %s names the field %s, which no column declares: the field that is meant would be readable", t.Resource, g.Name, f)
				continue
			}
			t.fields[f] = append(t.fields[f], g.Action)
			more := t.beside[f]
			if g.Masked != "" {
				more.masked = append(more.masked, g.Masked)
			}
			if g.Update != "" {
				more.update = append(more.update, g.Update)
			}
			t.beside[f] = more
		}
	}
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

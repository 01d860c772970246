package accesscontrol

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// Set is an attribute of type Set whose elements stand in rows of other tables:
// the lists that hold a subscriber, the teams of a deal, the units above that of
// an account. Conditions ask it with contains, containsAny, containsAll, isEmpty
// and in; each becomes an EXISTS that looks at the rows of one record, by the
// index on (tenant, Match) of each step where there is one.
//
// The elements of a record that is in memory are brought along as the
// attribute's value, []string, []int64 or []Ref, read as the steps say: of its
// own tenant's rows only. NULL is no element, and no row is an empty set.
//
// On MariaDB and MySQL, an UPDATE or DELETE of a table that also stands in the
// steps, such as a tree of accounts, sees its own changes while it looks, where
// it is not refused: select the ids first, FOR UPDATE, and change those.
type Set struct {
	// Attr is the attribute in the schema: a required Set of String, Long or
	// entities.
	Attr string
	// From is the column of the bound table where the first step begins, and
	// FromAs its type where that is not text: Integer or UUID. Empty is the key.
	From   string
	FromAs ColumnType
	// Steps lead to the elements: one for a table of pairs or a closure table,
	// two where the elements stand behind it, three at most.
	Steps []Step
}

// Step leads from values to others by the rows of one table.
type Step struct {
	// Name is the SQL table, as [Table.Name].
	Name string
	// Tenant is the column of the tenant, or OnlyTenant the one tenant to whom
	// the whole table belongs, as in [Table]: each table stands behind the fence.
	// A table of pairs that has no such column gets one, filled from the record
	// of either side; a view will not do, as nobody can tell its columns' types.
	Tenant     string
	TenantAs   ColumnType
	OnlyTenant string
	// Match is the column that equals From, or the Value of the step before.
	Match   string
	MatchAs ColumnType
	// Value is the column of the elements, or of what the next step matches.
	Value   string
	ValueAs ColumnType
	// Levels says that the table is a tree in which each row names its parent:
	// Match is the id and Value the id above it. The elements are then the value
	// before, whether or not it has a row, and its ancestors, up to so many
	// levels (32 at most). Only the last step may be one; circles do no harm.
	//
	// A statement walks the tree down once, from the values that it compares
	// with, and keeps what it found: as many rows as stand below them, at most
	// once a level. From is then looked up there, by no index of its own. For
	// large trees a closure table is faster, which is a plain step: Match is
	// the descendant and Value the ancestor, each row its own one too.
	Levels int
}

// The bounds of a set.
const (
	maxSteps  = 3
	maxLevels = 32
)

// set is a Set that was checked against the schema.
type set struct {
	sqlcond.Set
	// element is the column of the elements, as those are.
	element column
	// tables are the bound one and those of the steps, with the columns that
	// are looked at.
	tables []stepTable
}

// stepTable is what a step asks of the live table.
type stepTable struct {
	name    string
	columns []column // Match, Value and the tenant's
	tree    bool
}

// reaches says whether any row of the joins may be a tenant's. The rows of a
// tree are none of them: a value without one is an element all the same.
func (s *set) reaches(tenant string) bool {
	for of := s.Element; of.Via != nil; of = of.Via.From {
		if !of.Via.Owns(tenant) {
			return false
		}
	}
	return true
}

// sets checks the sets of a table. Where there is no table, what the schema says
// is all there is.
func (b *binder) sets(t *table) {
	t.sets = map[string]*set{}
	if t.Name == "" {
		return
	}
	for _, source := range t.Sets {
		found := len(b.problems)
		say := func(format string, args ...any) {
			b.problem("table %s: set %s: %s", t.Resource, source.Attr, fmt.Sprintf(format, args...))
		}
		attr, known := t.attrs[source.Attr]
		switch _, twice := t.fields[source.Attr]; {
		case source.Attr == "":
			b.problem("table %s: a set has no attribute", t.Resource)
		case twice:
			say("it stands twice")
		case !known:
			say("the schema has no such attribute: declare it there, with package roles in Model.Attrs")
		case slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Attr == source.Attr }):
			say("it stands in Columns, too: its elements stand in one place")
		case attr.Type.Kind != cedarx.Set || !slices.Contains(elements, attr.Type.Element.Kind):
			say("the attribute is no Set of String, Long or entities")
		case !attr.Required:
			say("the attribute is optional, and a set is never absent: where there is no row, it is empty; declare it without ?")
		case source.From != "" && !identifier.MatchString(source.From):
			say("From is not a plain SQL identifier")
		case source.From == "" && source.FromAs != "":
			say("FromAs stands without From: the type of the key is KeyAs")
		case len(source.Steps) == 0 || len(source.Steps) > maxSteps:
			say("it takes 1 to %d steps", maxSteps)
		default:
			bound := steps(say, t, source, *attr.Type.Element)
			if len(b.problems) == found {
				bound.Slot = len(t.sets)
				t.sets[source.Attr] = bound
			}
		}
		t.fields[source.Attr] = nil
	}
}

// elements are the kinds of which a set may be.
var elements = []cedarx.Kind{cedarx.String, cedarx.Long, cedarx.EntityRef}

// steps checks the steps of a set: each begins with what the one before ends
// with, or rows that belong together would not meet.
func steps(say func(string, ...any), t *table, source Set, element cedarx.Type) *set {
	name, as := t.Key, t.KeyAs
	if source.From != "" {
		name, as = source.From, source.FromAs
	}
	linked(say, "FromAs", as)
	from := link(name, as)
	out := &set{tables: []stepTable{fromTable(t, source)}}
	for i, step := range source.Steps {
		at := func(format string, args ...any) { say("step %d: %s", i+1, fmt.Sprintf(format, args...)) }
		stepNames(at, step)
		linked(at, "TenantAs", step.TenantAs)
		linked(at, "MatchAs", step.MatchAs)
		if step.MatchAs != as {
			at("Match holds %s, and what it equals holds %s", asWords[step.MatchAs], asWords[as])
		}
		last := i == len(source.Steps)-1
		as = step.ValueAs
		switch of, exists := storages[as]; {
		case !last:
			linked(at, "ValueAs", as)
		case !exists || !slices.Contains(of.holds, element.Kind):
			at("ValueAs is no %q where the elements are %s%s", string(as), kindWords[element.Kind], map[bool]string{true: ": leave it empty"}[element.Kind == cedarx.Long])
		case element.Kind == cedarx.Long:
			as = Integer
		}
		switch {
		case step.Levels < 0 || step.Levels > maxLevels:
			at("Levels is 1 to %d", maxLevels)
		case step.Levels > 0 && !last:
			at("only the last step has Levels")
		case step.Levels > 0 && as != step.MatchAs:
			at("in a tree, Match and Value are ids of one type")
		}
		value := link(step.Value, as)
		if last {
			value.Kind, value.Storage = kinds[element.Kind], storages[step.ValueAs].storage
		}
		row := rowOf(step)
		if step.Levels == 0 {
			row.From, row.Key = from, link(step.Match, step.MatchAs)
			row.Key.Via, value.Via = row, row
			from = value
		} else {
			id := link(step.Match, step.MatchAs)
			id.Kind, id.Storage = value.Kind, value.Storage
			row.Key, value.Via, id.Via = value, row, row
			out.Tree = &sqlcond.Tree{Node: row, ID: id, Levels: step.Levels}
			above := *from
			above.Kind, above.Storage = value.Kind, value.Storage
			from = &above
		}
		out.tables = append(out.tables, stepColumns(source.Attr, step, element, last))
	}
	out.Element = from
	out.element = column{Column: *from, attr: source.Attr, typ: element}
	return out
}

// rowOf is a row of the table of a step, which stands behind the fence.
func rowOf(step Step) *sqlcond.Join {
	row := &sqlcond.Join{Table: step.Name}
	if step.Tenant == "" {
		row.Owns = func(tenant string) bool { return tenant == step.OnlyTenant }
		return row
	}
	row.Tenant = link(step.Tenant, step.TenantAs)
	row.Tenant.Via = row
	fence := column{Column: *row.Tenant}
	row.Owns = func(tenant string) bool { return fence.holds(sqlcond.TextOf(tenant)) }
	return row
}

// stepColumns are the columns of a step as the live table must have them.
func stepColumns(attr string, step Step, element cedarx.Type, last bool) stepTable {
	id := cedarx.Type{Kind: cedarx.EntityRef} // of no type
	value := id
	if last {
		value = element
	}
	out := stepTable{name: step.Name, tree: step.Levels > 0, columns: []column{
		linkColumn("Match of "+attr, step.Match, id, "Step.MatchAs", step.MatchAs), linkColumn("Value of "+attr, step.Value, value, "Step.ValueAs", step.ValueAs),
	}}
	if step.Tenant != "" {
		out.columns = append(out.columns, linkColumn("Tenant of "+attr, step.Tenant, id, "Step.TenantAs", step.TenantAs))
	}
	return out
}

// linkColumn is a column of a step for a comparison with the live table; what
// and field are its names in the findings.
func linkColumn(what, name string, typ cedarx.Type, field string, as ColumnType) column {
	return column{Column: sqlcond.Column{Name: name, Storage: storages[as].storage}, attr: what, typ: typ, field: field}
}

var (
	kindWords = map[cedarx.Kind]string{cedarx.String: "texts", cedarx.Long: "integers", cedarx.EntityRef: "entities"}
	asWords   = map[ColumnType]string{"": "text", Integer: "Integer", UUID: "UUID"}
)

// link is a column of ids by which rows are found.
func link(name string, as ColumnType) *sqlcond.Column {
	return &sqlcond.Column{Name: name, Kind: sqlcond.Text, Storage: storages[as].storage}
}

func linked(say func(string, ...any), field string, as ColumnType) {
	if _, is := asWords[as]; !is {
		say("%s is no %q: it is text, Integer or UUID", field, string(as))
	}
}

func stepNames(say func(string, ...any), step Step) {
	schema, table, qualified := strings.Cut(step.Name, ".")
	if !identifier.MatchString(schema) || qualified && !identifier.MatchString(table) {
		say("Name is not a plain SQL identifier, nor one behind its schema")
	}
	if !identifier.MatchString(step.Match) || !identifier.MatchString(step.Value) {
		say("Match and Value are columns: each is a plain SQL identifier")
	}
	switch {
	case (step.Tenant == "") == (step.OnlyTenant == ""):
		say("exactly one of Tenant and OnlyTenant must stand: a table of pairs without a tenant takes the column from the record that it belongs to")
	case step.Tenant != "" && !identifier.MatchString(step.Tenant):
		say("Tenant is not a plain SQL identifier")
	}
}

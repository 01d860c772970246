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
	source Set
	// element is the column of the elements.
	element column
}

// tree says whether the last step goes up a tree.
func (s *set) tree() bool { return s.Steps[len(s.Steps)-1].Levels > 0 }

// reaches says whether any row of the steps may be a tenant's.
func (s *set) reaches(tenant string) bool {
	for i, step := range s.source.Steps {
		if step.OnlyTenant != "" && step.OnlyTenant != tenant {
			return false
		}
		fence := column{Column: sqlcond.Column{Storage: storages[step.TenantAs].storage}}
		if s.Steps[i].Tenant != nil && !fence.holds(sqlcond.TextOf(tenant)) {
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
			say("the schema has no such attribute")
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
	from, as := t.Key, t.KeyAs
	if source.From != "" {
		from, as = source.From, source.FromAs
	}
	out := &set{source: source, Set: sqlcond.Set{From: link(from, as)}}
	linked(say, "FromAs", as)
	for i, step := range source.Steps {
		at := func(format string, args ...any) { say("step %d: %s", i+1, fmt.Sprintf(format, args...)) }
		stepNames(at, step)
		linked(at, "TenantAs", step.TenantAs)
		linked(at, "MatchAs", step.MatchAs)
		if step.MatchAs != as {
			at("Match is %q and what it equals is %q", string(step.MatchAs), string(as))
		}
		last := i == len(source.Steps)-1
		as = step.ValueAs
		switch of, exists := storages[as]; {
		case !last:
			linked(at, "ValueAs", as)
		case !exists || !slices.Contains(of.holds, element.Kind):
			at("ValueAs is no %q where the elements are %s", string(as), kindWords[element.Kind])
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
		bound := sqlcond.Step{Table: step.Name, Match: link(step.Match, step.MatchAs), Value: link(step.Value, as), Levels: step.Levels}
		if step.Tenant != "" {
			fence := link(step.Tenant, step.TenantAs)
			bound.Tenant = &fence
		}
		if last {
			out.element = column{
				Column: sqlcond.Column{Name: step.Value, Kind: kinds[element.Kind], Storage: storages[step.ValueAs].storage},
				attr:   source.Attr, typ: element,
			}
			bound.Value = out.element.Column
		}
		out.Steps = append(out.Steps, bound)
	}
	return out
}

var kindWords = map[cedarx.Kind]string{cedarx.String: "texts", cedarx.Long: "integers", cedarx.EntityRef: "entities"}

// link is a column of ids by which rows are found.
func link(name string, as ColumnType) sqlcond.Column {
	return sqlcond.Column{Name: name, Kind: sqlcond.Text, Storage: storages[as].storage}
}

func linked(say func(string, ...any), field string, as ColumnType) {
	if as != "" && as != Integer && as != UUID {
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
		say("exactly one of Tenant and OnlyTenant must stand")
	case step.Tenant != "" && !identifier.MatchString(step.Tenant):
		say("Tenant is not a plain SQL identifier")
	}
}

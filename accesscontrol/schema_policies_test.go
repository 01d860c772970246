package accesscontrol_test

import (
	"fmt"
	"strings"
)

// Policies by type, over a schema that was drawn.

// atomOf is a condition about a record of a table that stands behind so many
// joins as left says.
func (w *schemaWorld) atomOf(base string, t drawnTable, left int) string {
	if len(t.attrs) == 0 || w.IntN(14) == 0 {
		return pick(w.Rand, []string{base + " " + w.equal() + " " + t.entity + "::" + quote(pick(w.Rand, t.ids)), base + " is " + t.entity, base + " has nothing", w.known()})
	}
	a := pick(w.Rand, t.attrs)
	if a.set && base != "resource" { // the sets of other records are refused
		if w.IntN(9) > 0 {
			return base + " == " + t.entity + "::" + quote(pick(w.Rand, t.ids))
		}
		return base + " has " + a.word()
	}
	atom := w.about(base, t, a, left)
	if a.required || w.IntN(60) == 0 {
		return atom
	}
	return w.behind(base, a.word(), atom)
}

func (w *schemaWorld) about(base string, t drawnTable, a drawnAttr, left int) string {
	x := a.access(base)
	literal := func() string { return a.literal(w.generator) }
	if a.set {
		return w.aboutSet(x, t, a)
	}
	if w.IntN(6) == 0 {
		if other := pick(w.Rand, t.attrs); !other.set && other.kind == a.kind {
			op := w.equal()
			if a.kind == "Long" || a.kind == "datetime" {
				op = w.ordered()
			}
			return w.present(base, other, x+" "+op+" "+other.access(base))
		}
	}
	switch a.kind {
	case "String":
		like := "*" + strings.Trim(quote(pick(w.Rand, []string{"a", "A", "ü", "北", "%", "_", "'", "e"})), `"`) + pick(w.Rand, []string{"*", "", `\**`})
		forms := []string{x + " " + w.equal() + " " + w.text(), x + " " + w.equal() + " " + literal(), literal() + " == " + x, "principal.tags.contains(" + x + ")", w.set(literal) + ".contains(" + x + ")"}
		if a.like {
			forms = append(forms, x+` like "`+like+`"`, x+` like "`+like+`"`)
		}
		return pick(w.Rand, forms)
	case "Long":
		return pick(w.Rand, []string{x + " " + w.ordered() + " " + w.long(), literal() + " " + w.ordered() + " " + x, x + " " + w.ordered() + " " + literal(), "principal.nums.contains(" + x + ")", w.set(literal) + ".contains(" + x + ")"})
	case "Bool":
		return pick(w.Rand, []string{x, x, "!" + x, x + " " + w.equal() + " " + pick(w.Rand, []string{"true", "false", "principal.active"}), pick(w.Rand, []string{"[true]", "[true, false]", "principal.flags"}) + ".contains(" + x + ")"})
	case "datetime":
		return pick(w.Rand, []string{x + " " + w.ordered() + " " + literal(), literal() + " " + w.ordered() + " " + x, w.set(literal) + ".contains(" + x + ")"})
	}
	if a.join && left > 0 && w.IntN(3) > 0 {
		return w.atomOf(x, w.bound(a.kind), left-1)
	}
	forms := []string{x + " " + w.equal() + " " + literal(), literal() + " == " + x, w.set(literal) + ".contains(" + x + ")", x + " is " + a.kind, x + " in " + literal(), x + " in " + w.set(literal)}
	switch a.kind {
	case "User":
		forms = append(forms, x+" "+w.equal()+" principal", x+" in principal.teams", x+" in "+w.team(), "["+literal()+", principal.lead].contains("+x+")", x+" is User in "+w.team())
	case "Team":
		forms = append(forms, "principal in "+x, "principal is User in "+x, "principal.teams.contains("+x+")", x+" in principal.teams", "principal.lead in "+x)
	default:
		if base == "resource" && a.kind == t.entity {
			forms = append(forms, x+" == resource")
		}
	}
	return pick(w.Rand, forms)
}

// present guards the other attribute of a comparison.
func (w *schemaWorld) present(base string, a drawnAttr, atom string) string {
	if a.required {
		return "(" + atom + ")"
	}
	return w.behind(base, a.word(), atom)
}

func (w *schemaWorld) aboutSet(x string, t drawnTable, a drawnAttr) string {
	literal := func() string { return a.literal(w.generator) }
	forms := []string{
		x + ".contains(" + literal() + ")", x + ".containsAny(" + w.set(literal) + ")", x + ".containsAll(" + w.set(literal) + ")", x + ".isEmpty()", w.set(literal) + ".containsAny(" + x + ")",
		"!" + x + ".isEmpty()", "resource has " + a.word(),
	}
	for _, other := range t.attrs {
		if !other.set && other.kind == a.kind {
			forms = append(forms, w.present("resource", other, x+".contains("+other.access("resource")+")"))
		}
	}
	switch a.kind {
	case "String":
		forms = append(forms, x+".containsAny(principal.tags)", x+".contains("+w.text()+")")
	case "Long":
		forms = append(forms, x+".containsAll(principal.nums)", x+".contains("+w.long()+")")
	case "User":
		forms = append(forms, x+".contains(principal)", "principal in "+x)
	case "Team":
		forms = append(forms, "principal in "+x, x+".containsAny(principal.teams)")
	default:
		if a.kind == t.entity {
			forms = append(forms, literal()+" in "+x)
		}
	}
	return pick(w.Rand, forms)
}

func (w *schemaWorld) bound(entity string) drawnTable {
	for _, t := range w.tables {
		if t.entity == entity {
			return t
		}
	}
	return drawnTable{}
}

func (w *schemaWorld) conditionOf(t drawnTable, depth int) string {
	next := func() string { return w.conditionOf(t, depth-1) }
	switch n := w.IntN(8); {
	case depth == 0 || n == 0:
		return w.atomOf("resource", t, 2)
	case n < 3:
		return "(" + next() + " && " + next() + ")"
	case n < 5:
		return "(" + next() + " || " + next() + ")"
	case n == 5:
		return "!(" + next() + ")"
	case n == 6:
		return "(if " + next() + " then " + next() + " else " + next() + ")"
	default:
		if w.IntN(30) == 0 { // no database compares it as Cedar does, whoever reaches it
			return `(if principal.level == 7 then true else principal.region == "a\0")`
		}
		return "(if " + w.known() + " then " + next() + " else " + next() + ")"
	}
}

// policiesOf draws a set about one table.
func (w *schemaWorld) policiesOf(t drawnTable) string {
	var b strings.Builder
	scope := "(principal, action, resource is " + t.entity + ")"
	switch w.IntN(5) {
	case 0, 1:
		b.WriteString("@id(\"all\") permit " + scope + ";\n")
	case 2, 3:
		b.WriteString("@id(\"most\") permit " + scope + " when { " + w.atomOf("resource", t, 2) + " || " + w.atomOf("resource", t, 1) + " };\n")
		b.WriteString("@id(\"rest\") permit " + scope + " unless { " + w.atomOf("resource", t, 2) + " && " + w.atomOf("resource", t, 1) + " };\n")
	}
	for i := range 1 + w.IntN(5) {
		effect := pick(w.Rand, []string{"permit", "permit", "permit", "forbid"})
		principal := pick(w.Rand, []string{"principal", "principal", "principal is User", "principal in Team::\"t1\"", "principal == User::\"ann\""})
		action := pick(w.Rand, []string{"action", "action == Action::\"read\"", "action == Action::\"read\"", "action in Action::\"any\"", "action == Action::\"write\""})
		resource := pick(w.Rand, []string{"resource is " + t.entity, "resource is " + t.entity, "resource == " + t.entity + "::" + quote(pick(w.Rand, t.ids))})
		fmt.Fprintf(&b, "@id(\"p%d\") %s (%s, %s, %s)", i, effect, principal, action, resource)
		for range 1 + w.IntN(2) {
			b.WriteString("\n  " + pick(w.Rand, []string{"when", "when", "unless"}) + " { " + w.conditionOf(t, w.IntN(3)) + " }")
		}
		b.WriteString(";\n")
	}
	return b.String()
}

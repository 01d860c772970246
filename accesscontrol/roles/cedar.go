package roles

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
)

// Config is the policy set of the roles, for accesscontrol.Load: a text of
// Cedar for each role, "roles-NAME.cedar", the schema "roles.cedarschema", and
// the tables. Print the texts, keep them in files, or put policies of your own
// beside them under other names:
//
//	config := set.Config()
//	config.Texts["own.cedar"] = `@id("won") forbid (principal, action == Action::"deal.update", resource is Deal)
//		when { resource has stage && resource.stage == "won" };`
//
// What they read stands in Model.Attrs, and is a column or a set of the table. A
// permit of your own asks for no role unless it says so, as in
// principal in Role::"rep", which whoever inherits from rep is as well: without
// that it permits those, too, from whom every role was taken. No name of a role
// in it is checked.
//
// The id of a generated policy is role/action/reach and, behind a point, the
// attribute: "rep/deal.read/own.owner_id".
func (s *Set) Config() accesscontrol.Config {
	texts := map[string]string{"roles.cedarschema": s.schemaText(), "roles.cedar": "// The roles stand in a text each.\n"}
	for name, role := range s.model.Roles {
		var b strings.Builder
		for _, rule := range role.rules {
			for _, action := range rule.actions {
				s.permit(&b, name, action, rule)
			}
		}
		texts["roles-"+name+".cedar"] = b.String()
	}
	return accesscontrol.Config{Texts: texts, Tables: slices.Clone(s.model.Tables)}
}

func policyID(role, action string, r rule) string {
	id := role + "/" + action + "/" + string(r.reach)
	if r.attr != "" {
		id += "." + r.attr
	}
	return id
}

// permit writes one policy. What stands in it was checked to be plain names;
// actions are quoted.
func (s *Set) permit(b *strings.Builder, role, action string, r rule) {
	table := s.tables[s.actions[action]]
	fmt.Fprintf(b, "@id(%s)\npermit (principal in Role::%s, action == Action::%s, resource is %s)", quoted(policyID(role, action, r)), quoted(role), quoted(action), table.Entity)
	if r.reach != All {
		attr := "resource." + r.attr
		condition := map[Reach]string{Own: attr + " == principal", Reports: attr + " in principal"}[r.reach]
		facts, _ := r.reach.facts()
		given := "principal[" + quoted(scopeAttr(role, facts.kind)) + "]"
		if facts.scoped {
			condition = attr + " in " + given
			if !facts.below { // in would reach below where something else brings that along
				condition = given + ".contains(" + attr + ")"
			}
			condition = "principal has " + quoted(scopeAttr(role, facts.kind)) + " && " + condition
		}
		if !required(table, r.attr) {
			condition = "resource has " + r.attr + " && " + condition
		}
		if facts.scoped {
			condition = "principal in Role::" + quoted(role+everywhereSuffix) + " || " + condition
		}
		b.WriteString("\nwhen { " + condition + " }")
	}
	b.WriteString(";\n\n")
}

// everywhereSuffix ends the name of the Cedar role of those who hold a role in
// every unit, team and territory. No role of a model has a point in its name.
const everywhereSuffix = ".everywhere"

// scopeAttr is the attribute of User that holds for which things of a kind one
// has a role.
func scopeAttr(role, kind string) string { return role + "." + strings.ToLower(kind) }

// required says whether an attribute is in every record: its column says so, and
// a set is, though it may be empty.
func required(t *accesscontrol.Table, attr string) bool {
	return slices.ContainsFunc(t.Sets, func(s accesscontrol.Set) bool { return s.Attr == attr }) ||
		slices.ContainsFunc(t.Columns, func(c accesscontrol.Column) bool { return c.Attr == attr && c.Required })
}

// quoted writes a text that holds no control characters, as names here.
func quoted(text string) string { return strconv.Quote(text) }

// schemaText writes the Cedar schema.
func (s *Set) schemaText() string {
	var b strings.Builder
	b.WriteString("entity Role;\nentity Team;\nentity Unit in [Unit];\nentity Territory in [Territory];\nentity User in [Role, User] = {\n")
	for _, role := range sorted(s.model.Roles) {
		for _, kind := range s.kinds([]string{role}) {
			fmt.Fprintf(&b, "\t%s?: Set<%s>,\n", quoted(scopeAttr(role, kind)), kind)
		}
	}
	for _, attr := range sorted(s.types[UserKind]) {
		fmt.Fprintf(&b, "\t%s?: %s,\n", attr, s.types[UserKind][attr])
	}
	b.WriteString("};\n")
	for _, record := range sorted(s.tables) {
		t := s.tables[record]
		fmt.Fprintf(&b, "entity %s = {\n", t.Entity)
		for _, attr := range sorted(s.types[t.Entity]) {
			mark := "?"
			if required(t, attr) {
				mark = ""
			}
			fmt.Fprintf(&b, "\t%s%s: %s,\n", attr, mark, s.types[t.Entity][attr])
		}
		b.WriteString("};\n")
	}
	for _, action := range sorted(s.actions) {
		fmt.Fprintf(&b, "action %s appliesTo { principal: User, resource: %s };\n", quoted(action), s.tables[s.actions[action]].Entity)
	}
	return b.String()
}

package datamap

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// actions checks what happens to the rows of a table that leads to persons.
func (v *validation) actions() {
	t := v.t
	v.keep()
	for _, c := range t.Columns {
		v.to(c)
		if c.Erase != "" && !t.IsPerson(c.Name) && !c.Personal() {
			v.bad("column %s: Erase %s of what is not personal, or shared, is never done: give it a Category, or leave Erase out", c.Where(), c.Erase)
		}
	}
	if !v.owned[t.Name] {
		return // of rows that only point to persons Unlink says what happens
	}
	switch t.Erase {
	case Delete, Null, Redact, Shred, Pseudonymise, Scrub:
	case Generalise, Retain:
		v.bad("Erase %q is for single columns: say delete, or null and %s at the columns", t.Erase, t.Erase)
	default:
		v.bad("Erase %q: say delete, null, redact, pseudonymise, scrub or shred", t.Erase)
	}
	if t.Link != nil && t.Erase != Delete {
		v.bad("Erase of a joint record is delete (of the record whose last person goes)")
	}
	if !t.CanStay() {
		return
	}
	for _, e := range t.Ways() {
		if !e.Names() || !e.Leads() || len(e.Columns) == 0 {
			continue
		}
		if _, said := t.Column(e.Columns[0]); !said {
			v.bad("rows can stay: list person column %s with Erase null or retain", e.Columns[0])
		}
	}
	for _, c := range t.Columns {
		v.action(c)
	}
}

// keep checks the obligation.
func (v *validation) keep() {
	t := v.t
	if t.Keep == nil {
		return
	}
	if t.Keep.Because == "" || t.Keep.From == "" || t.Keep.Years <= 0 || t.Keep.Years > 1000 {
		v.bad("Keep needs a named obligation, the column from which it counts, and its years, 1000 at most")
	}
	if t.Link != nil {
		v.bad("Keep on a joint record is not possible")
	}
	if !v.owned[t.Name] {
		v.bad("Keep, but no person reaches the table: nothing of it is erased")
	}
	for _, c := range t.Columns {
		if c.Name == t.Keep.From && c.Personal() && t.Action(c) != Retain {
			v.bad("column %s: the obligation counts from it: say retain", c.Name)
		}
	}
}

// leads reports whether a column is part of an edge, whose action is about the
// way to the person and not about data.
func (v *validation) leads(column string) bool {
	return slices.ContainsFunc(v.t.Ways(), func(e Edge) bool { return slices.Contains(e.Columns, column) })
}

// action checks what happens to one column of rows that stay.
func (v *validation) action(c Column) {
	t, action := v.t, v.t.Action(c)
	person, personal := t.IsPerson(c.Name), c.Personal()
	switch {
	case person && action != Null && action != Retain:
		v.bad("person column %s of rows that stay: Erase null or retain", c.Name)
	case person && action == Null && slices.Contains(t.Key, c.Name):
		v.bad("person column %s is part of the key, which cannot become null: say retain, or delete the rows", c.Name)
	case person:
	case !personal:
	case v.leads(c.Name) && action != Null && action != Retain:
		v.bad("column %s leads to a person: Erase null or retain", c.Name)
	case c.Name == t.Tenant:
		v.bad("tenant column %s is personal data: a row without its tenant is nobody's", c.Name)
	case t.Keep != nil && c.Erase == "":
		v.bad("column %s: under Keep every personal column says what happens to it while the row stays: say Erase, such as datamap.Retain or datamap.Null", c.Where())
	case action == Retain && t.Keep == nil && !v.leads(c.Name):
		v.bad("column %s: retain needs the table's Keep", c.Where())
	case action == Shred && !c.Sealed:
		v.bad("column %s: shred needs a sealed column", c.Where())
	case c.Sealed && (action == Generalise || action == Scrub || action == Pseudonymise):
		v.bad("column %s: %s cannot read a sealed column: say shred or null", c.Where(), action)
	case action == Delete, action == "":
		v.bad("column %s: say null, redact, generalise, pseudonymise, scrub, shred or retain", c.Where())
	}
}

// first is how many characters of a text are kept.
var first = regexp.MustCompile(`^first:([1-9][0-9]{0,2})$`)

// to checks the value that an action writes.
func (v *validation) to(c Column) {
	action := v.t.Action(c)
	switch {
	case !knownAction(c.Erase):
		v.bad("column %s: there is no action %q: say null, redact, generalise, pseudonymise, scrub, shred or retain", c.Where(), c.Erase)
	case action == Generalise:
		if c.To != ToYear && c.To != ToMonth && c.To != ToDecade && !first.MatchString(c.To) {
			v.bad("column %s: generalise to %q: say year, month, decade, or first: and how many characters", c.Where(), c.To)
		}
	case c.To == "":
	case !utf8.ValidString(c.To) || strings.ContainsRune(c.To, 0):
		v.bad("column %s: To is no text that every database can hold", c.Where())
	case action == Redact:
		if strings.Contains(c.To, CodeMark) {
			v.bad("column %s: %s is of pseudonymise: say %s for a code of the row", c.Where(), CodeMark, RowMark)
		}
		if strings.Count(c.To, RowMark) > 1 {
			v.bad("column %s: To names %s twice", c.Where(), RowMark)
		}
	case action == Pseudonymise:
		if strings.Count(c.To, CodeMark) != 1 || strings.Contains(c.To, RowMark) {
			v.bad("column %s: To of pseudonymise names %s once, and nothing else in braces", c.Where(), CodeMark)
		}
	default:
		v.bad("column %s: To is of redact, generalise and pseudonymise", c.Where())
	}
}

func knownAction(a Action) bool {
	return slices.Contains([]Action{"", Delete, Null, Redact, Generalise, Pseudonymise, Scrub, Shred, Retain}, a)
}

// retains reports whether an obligation keeps personal data in the table's rows.
func (t Table) retains() bool {
	return t.Keep != nil && slices.ContainsFunc(t.Columns, func(c Column) bool {
		return c.Personal() && !t.IsPerson(c.Name) && t.Action(c) == Retain
	})
}

// returns checks that a person's kept rows are found again when their
// obligation ends: nothing on any way to the person may go before them. A row
// need not have all of its ways.
func (v *validation) returns() {
	if !v.owned[v.t.Name] || !v.t.retains() {
		return
	}
	for _, e := range v.t.Ways() {
		if !e.Leads() {
			continue
		}
		if why := v.lost(v.t, e, v.t.Keep.Years, map[string]bool{}); why != "" {
			v.bad("its rows are kept, but %s: nobody would find them when the obligation ends; name the person in a column of the table that is retained, or say Unlink null where the edge is not needed", why)
		}
	}
}

// lost says why a row of t is not found over the edge after an erasure, or "".
// years is how long the rows that hang on it are kept.
func (v *validation) lost(t Table, e Edge, years int, seen map[string]bool) string {
	for _, name := range e.Columns {
		if c, said := t.Column(name); said && t.CanStay() && t.Action(c) == Null {
			return "column " + name + " of " + t.Name + ", which leads to the person, becomes null"
		}
	}
	if e.Identity != "" {
		return "the identities by which they are found (" + e.label() + ") are gone with the person's other rows"
	}
	next, ok := v.m.Table(e.Table)
	if !ok || seen[next.Name] {
		return "" // said elsewhere, or looked at
	}
	seen[next.Name] = true
	switch {
	case next.Erase == Delete && next.Keep == nil:
		return "those of " + next.Name + ", which lead to the person, go"
	case next.Erase == Delete && next.Keep.Years < years:
		return "those of " + next.Name + ", which lead to the person, are kept for a shorter time"
	}
	for _, further := range next.Ways() {
		if further.Leads() {
			if why := v.lost(next, further, years, seen); why != "" {
				return why
			}
		}
	}
	return ""
}

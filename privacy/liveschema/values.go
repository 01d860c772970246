package liveschema

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// How long the codes are that stand for a row, and for a value.
const (
	rowCode  = 16
	codeSize = 32
)

// values checks that the columns can hold what the map writes into them.
func (c *checking) values() {
	c.eachTable(func(t datamap.Table, live *catalog.Table) {
		for _, e := range t.Ways() {
			if e.Unlink != datamap.Null {
				continue
			}
			for _, name := range t.Empties(e) {
				if column := c.s.Column(live, name); column != nil {
					c.emptied(t, live, *column)
				}
			}
		}
		c.elsewhere(t, live)
		if !t.Owns() || !t.CanStay() {
			return
		}
		for _, entry := range t.Columns {
			column := c.s.Column(live, entry.Name)
			if column == nil || !entry.Personal() && !t.IsPerson(entry.Name) {
				continue
			}
			action := t.Action(entry)
			if action == datamap.Retain && !t.IsPerson(entry.Name) && t.Erase != datamap.Delete {
				action = t.Erase // once the obligation is over
			}
			c.written(t, live, *column, entry, action)
		}
	})
}

// written checks one column that the map changes.
func (c *checking) written(t datamap.Table, live *catalog.Table, column catalog.Column, entry datamap.Column, action datamap.Action) {
	switch action {
	case datamap.Null, datamap.Redact, datamap.Generalise, datamap.Pseudonymise, datamap.Scrub:
	default:
		return // nothing is written
	}
	switch {
	case column.Generated:
		c.found(GeneratedColumn, Alarm, t.Name, column.Name, "")
		return
	case entry.Path != "":
		if !column.JSON() {
			c.found(WrongType, Alarm, t.Name, entry.Where(), "a member of "+column.Type)
		}
		c.checked(t, live, column, false)
		return
	case action == datamap.Null:
		c.emptied(t, live, column)
		return
	}
	if why := unfit(column, action, entry.To); why != "" {
		c.found(WrongType, Alarm, t.Name, column.Name, string(column.Type)+": "+why)
	}
	unique := c.unique(t, live, column.Name)
	switch {
	case unique == "", action == datamap.Pseudonymise, action == datamap.Redact && strings.Contains(entry.To, datamap.RowMark):
	case action == datamap.Scrub:
		c.found(MayCollide, Notice, t.Name, column.Name, unique)
	default:
		c.found(NotUnique, Alarm, t.Name, column.Name, unique)
	}
	c.checked(t, live, column, false)
}

// emptied checks a column that becomes NULL.
func (c *checking) emptied(t datamap.Table, live *catalog.Table, column catalog.Column) {
	if column.Generated {
		c.found(GeneratedColumn, Alarm, t.Name, column.Name, "")
	}
	if column.NotNull {
		c.found(NotNull, Alarm, t.Name, column.Name, "")
	}
	for _, i := range live.Indexes {
		if i.Unique && i.NullsEqual && c.has(i.Columns, column.Name) {
			c.found(NotUnique, Alarm, t.Name, column.Name, i.Name+" NULLS NOT DISTINCT")
		}
	}
	c.checked(t, live, column, true)
}

// unique is the name of an index in which the rows differ by this column, "" for
// none.
func (c *checking) unique(t datamap.Table, live *catalog.Table, column string) string {
	for _, i := range live.Indexes {
		whole := !slices.ContainsFunc(t.Key, func(name string) bool { return !c.has(i.Columns, name) })
		if i.Unique && c.knows(live, i, column) && !whole {
			return i.Name
		}
	}
	return ""
}

// knows reports whether an index has a column, alone, in an expression, or in a
// column that the database makes from it.
func (c *checking) knows(live *catalog.Table, i catalog.Index, column string) bool {
	made := func(name string) bool {
		of := c.s.Column(live, name)
		return of != nil && speaks(of.Made, column)
	}
	return c.has(i.Columns, column) || slices.ContainsFunc(i.Expressions, func(text string) bool { return speaks(text, column) }) || slices.ContainsFunc(i.Columns, made)
}

// speaks reports whether a condition or an expression names a column.
func speaks(text, column string) bool {
	return regexp.MustCompile(`(?i)(^|[^\pL\pN_$])` + regexp.QuoteMeta(column) + `([^\pL\pN_$]|$)`).MatchString(text)
}

// checked finds CHECKs that speak of a column. NULL satisfies every one that does
// not speak of it.
func (c *checking) checked(t datamap.Table, live *catalog.Table, column catalog.Column, null bool) {
	for _, check := range live.Checks {
		ofNull := strings.Contains(strings.ToLower(check.Text), "null") || strings.Contains(strings.ToLower(check.Text), "coalesce")
		if speaks(check.Text, column.Name) && (!null || ofNull) {
			c.found(CheckConstraint, Notice, t.Name, column.Name, strings.TrimSpace(check.Name))
		}
	}
}

// unfit says why a column cannot hold what an action writes, or "".
func unfit(column catalog.Column, action datamap.Action, to string) string {
	text := column.Class == catalog.Text || column.Class == catalog.Any
	switch action {
	case datamap.Redact:
		if to == "" {
			to = datamap.RedactedText
		}
		return misfit(column, strings.ReplaceAll(to, datamap.RowMark, strings.Repeat("0", rowCode)))
	case datamap.Pseudonymise:
		if to == "" {
			to = datamap.CodeMark
		}
		if !text {
			return "a code is a text"
		}
		return misfit(column, strings.ReplaceAll(to, datamap.CodeMark, strings.Repeat("0", codeSize)))
	case datamap.Scrub:
		if !text {
			return "a redactor reads text"
		}
	case datamap.Generalise:
		dated := column.Class == catalog.Date || column.Class == catalog.Instant || column.Class == catalog.Integer
		if !text && (!dated || strings.HasPrefix(to, "first:")) {
			return "not to be made coarse to " + to
		}
	default:
	}
	return ""
}

// misfit says why a column cannot hold a value, or "".
func misfit(column catalog.Column, value string) string {
	ok := true
	var err error
	switch column.Class {
	case catalog.Text, catalog.Bytes:
		ok = column.Size == 0 || int64(utf8.RuneCountInString(value)) <= column.Size
		if !ok {
			return "holds " + strconv.FormatInt(column.Size, 10) + " only"
		}
	case catalog.Integer:
		_, err = strconv.ParseInt(value, 10, 64)
	case catalog.Number:
		_, err = strconv.ParseFloat(value, 64)
	case catalog.Bool:
		_, err = strconv.ParseBool(value)
	case catalog.Date:
		_, err = time.Parse(time.DateOnly, value)
	case catalog.Instant:
		_, err = time.Parse(time.DateOnly, value[:min(len(value), len(time.DateOnly))])
	case catalog.UUID:
		err = uuid.Validate(value)
	case catalog.Enum:
		ok = slices.Contains(column.Labels, value)
	case catalog.JSON:
		ok = json.Valid([]byte(value))
	case catalog.Other, catalog.Any, catalog.Compound, catalog.Large: // not known
	}
	if !ok || err != nil {
		return "no value of this type"
	}
	return ""
}

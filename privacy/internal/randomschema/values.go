package randomschema

import (
	"fmt"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// A written value is what stands in a cell, as an application hands it over.
type written struct {
	value  any
	texts  []string // that are about the person
	others []string // that stand beside them and are not
}

// odd are what people and programs write beside the text that is meant: none of
// it may keep a search, or an erasure, from it.
var odd = []string{
	"", "", "", "\u200b", "\u202e", "\ufeff", "é", "e\u0301", "Ｆｕｌｌ", "ß", "\U0001f600", "it's", `\`, `"`, "%_", "\t\n", "李", "; DROP", " ", "<b>&",
}

// cell makes the value of a personal column of a row.
func (c *Case) cell(d *drawer, t *table, at int, r *row) written {
	col := t.columns[at]
	text := token(t.n, col.name, at, r.n)
	plain := func(value any, texts ...string) written { return written{value, texts, nil} }
	switch col.kind {
	case day:
		n := 1500*t.n + 100*at + r.n // never the first of a month, which stays when it is made coarser
		date := time.Date(1911, time.Month(2+n/27), 2+n%27, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		return plain(date, date)
	case stamp:
		n := 1500*t.n + 100*at + r.n
		date := time.Date(1851, time.Month(2+n/27), 2+n%27, 8, 30, 15, 0, time.UTC).Format(time.DateTime)
		return plain(date, date)
	case money:
		number := fmt.Sprintf("%d.75", 100_000_000+t.n*1_000_000+at*10_000+r.n*7)
		if d.upTo(0, 9, "nothing") == 0 {
			return plain("0")
		}
		return plain(number, number)
	case object:
		return c.document(d, col, text)
	case binary:
		if d.upTo(0, 9, "no bytes") == 0 {
			return plain([]byte{})
		}
		return plain([]byte("\x00\xff"+text), "\x00\xff"+text)
	case sealed:
		bytes := c.Keys.seal(c.ownerOf(r), text)
		return plain(bytes, string(bytes))
	case name:
		if col.check == "" && !col.unique && d.upTo(0, 9, "empty") == 0 {
			return plain("")
		}
		full := "N" + one(d, "odd", odd...) + text + "@mail.example"
		return plain(full, full)
	default:
		return c.free(d, col, text)
	}
}

// free is a text that says something about the person of the row, and something
// else besides: also about another person.
func (c *Case) free(d *drawer, col column, text string) written {
	if col.check == "" && d.upTo(0, 9, "empty") == 0 {
		return written{one(d, "blank", "", " ", "\u200b"), nil, nil}
	}
	about, rest := "S"+text, "R"+token("rest", text)
	if d.yes("names somebody else") {
		rest += " says V" + token("first name", d.upTo(0, len(c.People)-1, "who is named"))
	}
	size := one(d, "size", 0, 1, 2, 20, 3000)
	return written{strings.Repeat("Some text ", size) + about + one(d, "odd", odd...) + " " + rest, []string{about}, []string{rest}}
}

// document is a JSON document: whole, or without some of its members.
func (c *Case) document(d *drawer, col column, text string) written {
	a, b, street, theme := "S"+text, "b "+text, "street "+text, "theme-"+token("theme", text)
	whole := fmt.Sprintf(`{"a": "%s", "b": {"c": ["%s"], "street/no": "%s"}, "theme": "%s"}`, a, b, street, theme)
	all := written{whole, []string{a, b, street}, []string{theme}}
	switch d.upTo(0, 7, "document") {
	case 0:
		return written{one(d, "bare", "{}", "[]", "null", `"plain"`, "7", `{"a": null, "b": null}`), nil, nil}
	case 1:
		return written{fmt.Sprintf(`{"theme": "%s", "b": {"c": {"d": {"e": "%s"}}}}`, theme, b), []string{b}, []string{theme}}
	case 2:
		if c.Name == testdb.SQLite || c.Name == testdb.MariaDB { // PostgreSQL keeps one
			return written{fmt.Sprintf(`{"a": "%s", "theme": "%s", "a" : "%s"}`, a, theme, a+"twice"), []string{a, a + "twice"}, []string{theme}}
		}
	case 3:
		if at := col.map_[min(1, len(col.map_)-1)]; at.Path == "" || at.Erase == datamap.Null || at.Erase == datamap.Scrub || at.Erase == datamap.Pseudonymise {
			return written{fmt.Sprintf(`{ "a":"%s", "n" : 1.50, "theme": "%s","b":[] }`, a, theme), []string{a}, []string{theme}}
		}
	}
	return all
}

package stranger

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// firstID is where the numbers of contacts begin: what takes one for a float64
// takes it for its neighbour.
const firstID int64 = 1<<53 + 1

const huge = 300_000 // bytes

// A row is what the values of one row are made for.
type row struct {
	w     *World
	table string
	p     *Person // nil where the row says nothing about a person
	i     int     // number of the row in its table
	n     int     // number of the row among those of its person

	merged  bool   // of the contact that was merged into the person's
	deal    int    // number of the deal that it belongs to
	subject string // what a comment is about
}

// What an erasure of the row's person does to a text.
const (
	plain   = wholedb.Plain
	gone    = wholedb.Gone
	kept    = wholedb.Kept
	shared  = wholedb.Shared
	mention = wholedb.Mention
)

// A needle is a text of a person that stands in a cell.
type needle struct {
	of    *Person
	text  string
	phone bool
	fate  wholedb.Fate
}

// A marked value says itself which texts in it are to be found.
type marked struct {
	value   any
	needles []needle
}

// token is the same each time, and of no other cell.
func (r row) token(column string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", r.table, column, r.i))
	return hex.EncodeToString(sum[:6])
}

// text is a free text with the habit of the person. must says that the column
// takes neither NULL nor an empty text.
func (r row) text(column string, must bool) any {
	text := fmt.Sprintf("%s of %d, %s", column, r.p.N, r.token(column))
	switch {
	case r.p.Habit == "null" && !must:
		return nil
	case r.p.Habit == "empty" && !must:
		return ""
	case r.p.Habit == "invisible":
		return "\u200b" + strings.ReplaceAll(text, " ", "\u00a0") + "\u202e\t\ufeff"
	case r.p.Habit == "otherwise":
		return strings.Replace(text, " of ", " f\u00fcr ", 1)
	}
	return text
}

func (r row) long() any {
	text, ok := r.text("bio", false).(string)
	if r.p.Habit != "huge" || !ok {
		return r.text("bio", false)
	}
	return marked{strings.Repeat(text+"; ", huge/len(text)), []needle{{of: r.p, text: text, fate: gone}}}
}

func (r row) photo() any {
	switch r.p.Habit {
	case "null":
		return nil
	case "empty":
		return []byte{}
	}
	sum := sha256.Sum256([]byte(r.token("photo")))
	photo := append([]byte{0, 0xff}, sum[:]...) // no text in any encoding
	if r.p.Habit != "huge" {
		return photo
	}
	return marked{append(photo, make([]byte, huge)...), []needle{{of: r.p, text: string(photo), fate: gone}}}
}

// email is one of the person's three addresses: of the contact, of the table
// emails, of the portal.
func (p *Person) email(n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "address %d %d", p.N, n))
	return fmt.Sprintf("person%d.%x@mail%d.example", p.N, sum[:5], n)
}

// respelt is the address as other applications of the same company spell it.
func (p *Person) respelt(n int) string {
	switch {
	case p.Habit == "otherwise":
		return strings.ToUpper(p.email(n)[:1]) + p.email(n)[1:len(p.email(n))-7] + "EXAMPLE"
	case p.Habit == "lookalike" && n == 1:
		return "p\u00e9rson0" + strings.TrimPrefix((&Person{}).email(0), "person0")
	}
	return p.email(n)
}

func (r row) phone() any {
	if r.p.Habit == "null" {
		return nil
	}
	number := 100_000_000 + int64(r.i)*7_919_003%900_000_000 + int64(len(r.table))*11
	digits := fmt.Sprint(number)
	text := fmt.Sprintf("+49 %s %s %s", digits[:3], digits[3:6], digits[6:])
	return marked{text, []needle{{of: r.p, text: text, phone: true, fate: gone}}}
}

func (r row) date() any {
	if r.p.Habit == "null" {
		return nil
	}
	return time.Date(1931, 2, 3, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.i*37).Format(time.DateOnly)
}

func (r row) money() any {
	switch r.p.Habit {
	case "null":
		return nil
	case "empty":
		return "0.00"
	}
	return fmt.Sprintf("%d.25", 48_210_937+r.i*101)
}

func (r row) ip() any {
	if r.p.Habit == "null" {
		return nil
	}
	t := r.token("ip")
	return fmt.Sprintf("2001:db8:1%s:1%s:1%s::1", t[:3], t[3:6], t[6:9])
}

// object is JSON of these members, in their order, each with its fate.
func (r row) object(members ...member) marked {
	m := marked{}
	var parts []string
	for _, one := range members {
		encoded, err := json.Marshal(one.value)
		if err != nil {
			encoded = []byte("null")
		}
		parts = append(parts, fmt.Sprintf("%q: %s", one.name, encoded))
		for _, text := range one.texts {
			m.needles = append(m.needles, needle{of: r.p, text: text, fate: one.fate})
		}
	}
	m.value = "{" + strings.Join(parts, ", ") + "}"
	return m
}

type member struct {
	name  string
	value any
	texts []string // that stand in it
	fate  wholedb.Fate
}

func (r row) member(name string, f wholedb.Fate) member {
	text := fmt.Sprintf("%s of %d, %s", name, r.p.N, r.token(name))
	return member{name, text, []string{text}, f}
}

// nested is a member with two members, of which the second is a list.
func (r row) nested(name string, f wholedb.Fate) member {
	a, b := r.member(name+" a", f), r.member(name+" b", f)
	return member{name, map[string]any{"a": a.value, "b": []any{b.value, 17}}, append(a.texts, b.texts...), f}
}

func uuidOf(kind string, n int) string {
	b := sha256.Sum256(fmt.Appendf(nil, "%s %d", kind, n))
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// created is a time of its own for every row, long before [Now].
func (r row) created() any {
	return time.Date(2025, 3, 1, 8, 30, 0, 123_456_000, time.UTC).Add(time.Duration(r.i)*time.Hour + time.Duration(len(r.table))*time.Minute)
}

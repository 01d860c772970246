package main

import (
	"context"
	"database/sql"
	"iter"
	"os"
	"strings"
	"time"
)

// coreLength is how many bytes of a value a cut form must tell at least.
const coreLength = 6

// telling are the forms of one person's values that nothing else produces: what
// is found of them can only come from that person.
type telling struct {
	person *person
	labels map[string]bool // the values that are left as they were written, each once
	forms  []needle
}

// tellApart finds, for each candidate, the forms of their values that neither
// another person's record nor the machinery produces, in the very form in
// which they are searched.
func (c *crm) tellApart(ctx context.Context, candidates []*person) ([]telling, error) {
	f := newFilter()
	for i, p := range candidates {
		for label, value := range p.traces(c) {
			f.add(i, label, value)
		}
	}
	own := map[*person]int{}
	for i, p := range candidates {
		own[p] = i
	}
	for i, p := range c.people {
		owner, candidate := own[p]
		if !candidate {
			owner = nobody
		}
		f.drop(owner, p.everything(c))
		c.out.progress("people compared,", i+1, len(c.people))
	}
	machinery, err := c.machineryText(ctx)
	if err != nil {
		return nil, err
	}
	f.drop(nobody, slicesOf(machinery))
	out := make([]telling, len(candidates))
	for i, p := range candidates {
		out[i] = f.left(i)
		out[i].person = p
	}
	return out, ctx.Err()
}

func slicesOf(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(text, "\x00") {
			if !yield(part) {
				return
			}
		}
	}
}

// nobody owns what the machinery and all others say.
const nobody = -1

// filter drops forms that more than one person produces.
type filter struct {
	forms   *needles // every form, searched in every form of everybody else
	cores   *needles // what cut forms tell, searched as written
	entries []entry
	byForm  map[int][]int // entries by number in forms
	byCore  map[int][]int
}

type entry struct {
	owner int
	label string
	form
	gone bool
}

func newFilter() *filter {
	return &filter{forms: newNeedles(), cores: needlesOf(coreLength), byForm: map[int][]int{}, byCore: map[int][]int{}}
}

// add takes all forms of a value of a candidate.
func (f *filter) add(owner int, label, value string) {
	for form := range formsOf(value) {
		number, core := f.forms.add("", form.bytes), f.cores.add("", form.core)
		if number < 0 || core < 0 {
			continue
		}
		at := len(f.entries)
		f.entries = append(f.entries, entry{owner: owner, label: label, form: form})
		f.byForm[number], f.byCore[core] = append(f.byForm[number], at), append(f.byCore[core], at)
	}
}

// drop takes out the forms that somebody's texts produce, but for their own.
func (f *filter) drop(owner int, texts iter.Seq[string]) {
	var joined strings.Builder
	joined.WriteString("\x00\x00\x00\x00\x00\x00\x00\x00") // so that the shortest name is searched too
	for text := range texts {
		joined.WriteString(text + "\x00")
	}
	for spelling := range spellings(joined.String()) {
		f.cores.places([]byte(spelling), f.dropping(owner, f.byCore))
		for form := range encodings(spelling) {
			f.forms.places(form.bytes, f.dropping(owner, f.byForm))
		}
	}
}

func (f *filter) dropping(owner int, entries map[int][]int) func(int) {
	return func(number int) {
		for _, at := range entries[number] {
			if f.entries[at].owner != owner {
				f.entries[at].gone = true
			}
		}
	}
}

// left are the forms of a candidate that were not dropped. Two values that are
// one ("phone" and "mobile_phone") are found under the first label alone; and a
// value of which only other spellings are left, because somebody else's is
// spelt so, need not stand anywhere.
func (f *filter) left(owner int) telling {
	out := telling{labels: map[string]bool{}}
	taken := map[string]bool{}
	for _, e := range f.entries {
		if e.owner != owner || e.gone {
			continue
		}
		if e.written && !taken[string(e.bytes)] {
			out.labels[e.label] = true
		}
		taken[string(e.bytes)] = true
		out.forms = append(out.forms, needle{e.bytes, e.label + ", " + e.name})
	}
	return out
}

// traces are what may be found of a person who is forgotten: their values, and
// free text about them alone.
func (p *person) traces(c *crm) iter.Seq2[string, string] {
	return func(yield func(label, value string) bool) {
		for label, value := range p.sealedValues() {
			if !yield(label, value) {
				return
			}
		}
		for _, text := range p.texts {
			if text != c.note && !yield("free text", text) {
				return
			}
		}
	}
}

// everything is all that is known of a person, clear columns included. The note
// that is shared with who is forgotten is not: nothing of it may be left.
func (p *person) everything(c *crm) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name, value := range p.values {
			if clearField(name) && !yield(value) {
				return
			}
		}
		for _, value := range p.sealedValues() {
			if !yield(value) {
				return
			}
		}
		for _, text := range p.texts {
			if text != c.note && !yield(text) {
				return
			}
		}
	}
}

// machineryText is what stands in the folder whoever the contacts are, and what
// the declared clear columns say: companies outlive the people who work there.
// A value that says the same ("contract", the date of today) is no trace.
func (c *crm) machineryText(ctx context.Context) (string, error) {
	var out strings.Builder
	say := func(parts ...string) {
		for _, part := range parts {
			out.WriteString(part + "\x00")
		}
	}
	say(schemaSQL, leftover(), logName, schemaID, wordsOfSteps())
	for _, db := range []*sql.DB{c.live.db, c.keyDB} {
		declared, err := texts(ctx, db, `SELECT name FROM sqlite_master UNION ALL SELECT sql FROM sqlite_master WHERE sql IS NOT NULL`)
		if err != nil {
			return "", err
		}
		say(declared...)
	}
	for _, name := range []string{"policy.cedar", "policy.cedarschema"} {
		text, err := policyFiles.ReadFile(name)
		if err != nil {
			return "", err
		}
		say(string(text))
	}
	rejected, err := os.ReadFile(c.path("rejected.csv"))
	if err != nil {
		return "", err
	}
	say(string(rejected))
	for _, t := range dataMap().Tables {
		for _, column := range t.Columns {
			say(t.Name, column.Name, column.Category, column.Purpose, column.Basis, column.Withhold)
		}
	}
	for _, u := range users() {
		say(u.id, u.role, u.region)
	}
	for day := c.clock.began.UTC().AddDate(0, 0, -1); day.Before(c.clock.now().Add(window + 3*24*time.Hour)); day = day.AddDate(0, 0, 1) {
		say(day.Format(time.DateOnly), day.Format("20060102"))
	}
	for company := range c.accounts {
		say(company)
	}
	say(c.given)
	// The first events made contacts: they hold no value of anybody.
	leaves, err := texts(ctx, c.live.db, `SELECT CAST(leaf AS TEXT) FROM crmguard_audit_entries ORDER BY idx LIMIT 2`)
	say(leaves...)
	return out.String(), err
}

// wordsOfSteps are words that the steps themselves write, and those of the
// artefacts of an erasure.
func wordsOfSteps() string {
	return strings.Join([]string{
		"Retired", "Contact, changed", "Changed during the rotation, ", "Changed between reading and writing", "Promoted after the backup, ",
		"Meeting; one participant was erased on request", "contact.create", "contact.update", "keys.rotate", "gdpr-17", "privacy-desk",
		"attachments", "database", "audit openings", "person keys", "audit trail", "deleted", "shredded", "redacted", "unreadable",
		"file-system snapshots and remapped disk blocks", "swap and core dumps", "mail that was sent", "nightly", "examples/crm", "Scanned letter: ", "Prefers ", "favourite",
	}, "\x00")
}

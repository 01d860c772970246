package main

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// findByEmail looks people up by a value that is nowhere stored in clear: the
// blind index holds a keyed digest of the normalised address.
func findByEmail(ctx context.Context, c *crm) error {
	if len(c.byEmail) == 0 {
		c.nothingShown("find", "no e-mail address in the file")
		return nil
	}
	var known []*person
	for _, p := range c.people {
		if p.values["email"] != "" {
			known = append(known, p)
		}
	}
	asked, found := 0, 0
	for i := 0; i < len(known); i += max(1, len(known)/50) {
		asked++
		ids, err := c.lookUp(ctx, inCapitals(known[i].values["email"])+" ")
		if err != nil {
			return err
		}
		if c.isAnswer(ids, known[i].values["email"]) {
			found++
		}
	}
	nobody, err := c.lookUp(ctx, "nobody-of-that-name@post.example")
	if err != nil {
		return err
	}
	c.figures["asked"], c.figures["found"] = asked, found
	c.out.say("%d of %d people found by e-mail, written in capitals with a space behind; a stranger's address: %d", found, asked, len(nobody))
	c.out.say("a copy of the database shows equal and frequent addresses, not the addresses")
	if err := expect("people found by e-mail", asked, found); err != nil {
		return err
	}
	return expect("rows for a stranger's address", 0, len(nobody))
}

// inCapitals leaves letters beyond ASCII alone: the capitals of ß are two
// letters, and another address.
func inCapitals(email string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, email)
}

// looseEmail is equal for all spellings that the blind index takes as one, and
// perhaps for more.
func looseEmail(email string) string {
	return norm.NFC.String(strings.ToLower(norm.NFC.String(strings.TrimSpace(email))))
}

// isAnswer says that the ids are those of exactly the people with that address.
func (c *crm) isAnswer(ids []string, email string) bool {
	var want []string
	for _, p := range c.byEmail[looseEmail(email)] {
		if c.contacts.Match("email_index", c.valueOf(p, "email"), email) {
			want = append(want, p.id)
		}
	}
	slices.Sort(want)
	slices.Sort(ids)
	return slices.Equal(want, ids)
}

// lookUp returns the ids of the people with that address. The index narrows,
// the opened value decides: a 32-bit index may name a stranger by chance.
func (c *crm) lookUp(ctx context.Context, email string) ([]string, error) {
	probes, err := c.contacts.Lookup(ctx, tenant, "email_index", email)
	if err != nil {
		return nil, err
	}
	where, args := probes.Where("c")
	rows, err := collect(contactsWhere(ctx, c.live.db, "c.tenant = ? AND "+where, append([]any{tenant}, args...)...))
	if err != nil {
		return nil, err
	}
	opened, err := c.open(ctx, rows)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, row := range opened {
		if text := row.text["email"]; text != nil && c.contacts.Match("email_index", *text, email) {
			ids = append(ids, row.id)
		}
	}
	return ids, nil
}

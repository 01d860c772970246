package main

import (
	"context"
	"strings"
)

// findByEmail looks people up by a value that is nowhere stored in clear: the
// lookup index holds a keyed digest of the normalised address.
func findByEmail(ctx context.Context, c *crm) error {
	asked, found := 0, 0
	for i := 0; i < len(c.people); i += max(1, len(c.people)/50) {
		p := c.people[i]
		asked++
		ids, err := c.lookUp(ctx, strings.ToUpper(p.values["email"])+" ")
		if err != nil {
			return err
		}
		if len(ids) == 1 && ids[0] == p.id {
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

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// mostFiles is about how many attachments a large CRM gets.
const mostFiles = 500

// fill adds what a CRM holds besides contacts: a deal for every third person,
// a note for every second, a contract file for every tenth. One note is about
// two persons, where a third one is there who can be given their data without
// it.
func (c *crm) fill(ctx context.Context) error {
	c.counts = map[string]int{}
	done := 0
	for people := range slices.Chunk(c.people, pageSize) {
		w := &writes{}
		for _, p := range people {
			if err := c.fillOne(ctx, w, done, p); err != nil {
				return err
			}
			done++
		}
		if err := w.commit(ctx, c); err != nil {
			return err
		}
		c.out.progress("people with deals, notes and files,", done, len(c.people))
	}
	if err := c.chooseWhoLeaves(ctx); err != nil {
		return err
	}
	if len(c.people) == fewest {
		return nil
	}
	c.note = fmt.Sprintf("Meeting with %s and %s", c.gone.fullName(), c.partner.fullName())
	return c.addActivity(ctx, "meeting", c.note, c.gone, c.partner)
}

func (c *crm) fillOne(ctx context.Context, w *writes, i int, p *person) error {
	if i%3 == 0 {
		if err := c.deal(ctx, w, p, fmt.Sprintf("Renewal for %s of %s", p.fullName(), p.values["company"])); err != nil {
			return err
		}
	}
	if i%2 == 0 {
		if err := c.activity(ctx, w, "call", fmt.Sprintf("Called %s at %s, will send papers to %s", p.fullName(), p.values["phone"], p.values["street"]), p); err != nil {
			return err
		}
	}
	if i%max(10, len(c.people)/mostFiles) == 0 {
		content := fmt.Sprintf("Contract with %s, %s, %s.\n%s", p.fullName(), p.values["street"], p.values["city"], strings.Repeat("Terms. ", 200))
		return c.addAttachment(ctx, p, "contract-"+p.values["username"]+".txt", content)
	}
	return nil
}

// writes are statements of one transaction. What they need is fetched before
// it begins: inside it no other connection may be needed.
type writes struct {
	queries []string
	args    [][]any
}

func (w *writes) add(query string, args ...any) {
	w.queries, w.args = append(w.queries, query), append(w.args, args)
}

func (w *writes) commit(ctx context.Context, c *crm) error {
	tx, err := c.live.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for i, query := range w.queries {
		if _, err := tx.ExecContext(ctx, query, w.args[i]...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (c *crm) deal(ctx context.Context, to *writes, p *person, subject string) error {
	w, err := c.deals.Writer(ctx, tenant, p.id)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	to.add(`INSERT INTO deals (id, tenant, person, owner, stage, amount_cents, subject, created) VALUES (?, ?, ?, ?, 'lead', ?, ?, ?)`,
		id.String(), tenant, p.id, p.user, 100*(1+len(c.people)%97), w.Text("subject", subject), c.now())
	p.texts = append(p.texts, subject)
	c.counts["deals"]++
	return nil
}

// activity is a note about one person under that person's key, or about
// several under a key of its own, so that it stays readable for the others
// when one of them is erased.
func (c *crm) activity(ctx context.Context, to *writes, kind, body string, about ...*person) error {
	keyOwner, w, err := c.activityWriter(ctx, about)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	to.add(`INSERT INTO activities (id, tenant, kind, key_owner, body, created) VALUES (?, ?, ?, ?, ?, ?)`, id.String(), tenant, kind, keyOwner, w.Text("body", body), c.now())
	for _, p := range about {
		to.add(`INSERT INTO activity_persons (activity, person) VALUES (?, ?)`, id.String(), p.id)
		p.texts = append(p.texts, body)
	}
	c.counts["activities"]++
	return nil
}

// addActivity stores one note.
func (c *crm) addActivity(ctx context.Context, kind, body string, about ...*person) error {
	w := &writes{}
	if err := c.activity(ctx, w, kind, body, about...); err != nil {
		return err
	}
	return w.commit(ctx, c)
}

// addAttachment seals a file as a stream; its name is sealed with it.
func (c *crm) addAttachment(ctx context.Context, p *person, name, content string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	if _, err := c.live.db.ExecContext(ctx, `INSERT INTO attachments (id, tenant, person, file, bytes, created) VALUES (?, ?, ?, ?, ?, ?)`,
		id.String(), tenant, p.id, id.String(), len(content), c.now()); err != nil {
		return err
	}
	path := attachment{id: id.String()}.path(c.live.dir)
	if err := keepStream(path, func(file io.Writer) error {
		return c.attachments.SealStream(ctx, file, streamRef(p.id, id.String()), name, int64(len(content)), strings.NewReader(content))
	}); err != nil {
		return err
	}
	p.texts = append(p.texts, content, name)
	c.counts["attachments"]++
	return nil
}

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/audit"
)

// atWork is the key of the context's user.
type atWork struct{}

// as is the context of a request by this user, as a server would make it
// behind its login.
func as(ctx context.Context, userID string) context.Context {
	return context.WithValue(ctx, atWork{}, userID)
}

// caller says who is at work: the trail asks it, so that no call needs to.
func caller(ctx context.Context) audit.Caller {
	id, _ := ctx.Value(atWork{}).(string)
	return audit.Caller{Tenant: tenant, Actor: id}
}

// lookAround lets an outsider ask for a contact, which the policy refuses, and
// the contact's owner read it: one line each, around the decision.
func (c *crm) lookAround(ctx context.Context) error {
	p := c.people[0]
	rows, err := collect(contactsWhere(ctx, c.live.db, "c.tenant = ? AND c.id = ?", tenant, p.id))
	if err != nil {
		return err
	}
	for _, id := range []string{outsider, p.user} {
		ctx := as(ctx, id)
		decision := c.policy.Check(ctx, principal(userOf(id)), "contact.read", rows[0].accessResource())
		err := c.live.trail.Decisions(ctx, "contact.read", "contact/"+p.id, decision)
		denied, ok := errors.AsType[*accesscontrol.Denied](err)
		if ok != (id == outsider) || !ok && err != nil {
			return expectThat(false, "a refusal for the outsider alone", "%s: %v", id, err)
		}
		if ok {
			c.out.say("refused and recorded: %s", denied.Reason)
		}
	}
	return c.live.trail.Flush(ctx) // what is allowed is counted for a minute; the tour does not wait for it
}

// ask answers what an auditor asks, each question in one statement, and gives
// the answer to the last one as a spreadsheet.
func (c *crm) ask(ctx context.Context) error {
	ctx = as(ctx, auditor)
	p := c.people[0]
	changes := 0
	for _, other := range c.people {
		if other.user == p.user {
			changes += len(other.former)
		}
	}
	for _, q := range []struct {
		text string
		ask  audit.Filter
		want int
	}{
		{"changed by " + p.user, audit.Filter{Actor: p.user, Action: "contact.update"}, changes},
		{"refused to " + outsider, audit.Filter{Actor: outsider, Outcome: audit.OutcomeDenied}, 1},
		{"who looked at the contact", audit.Filter{Person: p.id, Action: "contact.read", Outcome: audit.OutcomeAllowed, Actor: p.user}, 1},
	} {
		n, err := c.count(ctx, q.ask)
		if err != nil {
			return err
		}
		c.out.say("asked of the log: %s: %s", q.text, thousands(n))
		if err := expect("events "+q.text, q.want, n); err != nil {
			return err
		}
	}
	var sheet bytes.Buffer
	exported, err := c.live.trail.Export(ctx, &sheet, audit.Filter{Person: p.id})
	if err != nil {
		return err
	}
	lines, err := csv.NewReader(&sheet).ReadAll()
	if err != nil {
		return err
	}
	c.out.say("exported as CSV, by %s and recorded: %d events about one person", auditor, exported.Entries)
	if err := expect("lines of the export behind its first", exported.Rows, int64(len(lines)-1)); err != nil {
		return err
	}
	n, err := c.count(ctx, audit.Filter{Actor: auditor, Action: "audit.export"})
	if err != nil {
		return err
	}
	return expect("exports of the trail that the trail tells of", 1, n)
}

// count counts what a question finds, page by page.
func (c *crm) count(ctx context.Context, question audit.Filter) (n int, err error) {
	for page := (audit.Page{Size: 100}); ; {
		found, err := c.live.trail.Find(ctx, question, page)
		if err != nil {
			return 0, err
		}
		n += len(found.Entries)
		if found.Next == "" {
			return n, nil
		}
		page.Before = found.Next
	}
}

const (
	outsider = "u-outsider-1"
	auditor  = "u-auditor-1"
)

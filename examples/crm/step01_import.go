package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/integrity"
)

// importContacts reads a CSV export row by row. Good rows are stored sealed
// from the first byte; bad ones are named by line, field and code, never by
// value.
func importContacts(ctx context.Context, c *crm) error {
	if err := c.addUsers(ctx); err != nil {
		return err
	}
	source := c.source
	options, err := source.options()
	if err != nil {
		return err
	}
	rejected, err := os.OpenFile(c.path("rejected.csv"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer rejected.Close()
	file, err := source.text()
	if err != nil {
		return err
	}
	defer file.Close()
	rows, err := source.rows(file)
	if err != nil {
		return err
	}
	options.Rejects = rejected
	options.Progress = func(r integrity.Report) { c.out.progress("rows read,", r.Read, source.survey.Read) }
	done, err := integrity.Import(ctx, rows, options, c.storeContacts)
	if err != nil {
		return fmt.Errorf("%s: %w", source.name, err)
	}
	if err := rejected.Close(); err != nil {
		return err
	}

	c.figures["read"], c.figures["accepted"], c.figures["rejected"] = done.Read, done.Accepted, done.Rejected
	c.out.say("%s: %s rows read = %s accepted + %s rejected", source.name, thousands(done.Read), thousands(done.Accepted), thousands(done.Rejected))
	for _, f := range done.Faults {
		c.out.say("  %s in %s: %s, %s", orRow(f.Place), count(f.Count, "row"), f.Code, f.Outcome)
	}
	for heading, count := range done.ColumnsDropped {
		c.out.say("  column %s: %s values never entered", heading, thousands(count))
	}
	if source.shared {
		c.out.say("all rows have one e-mail address: it is taken as shared, not as a sign of one person")
	}
	if source.dropped > 0 {
		c.out.say("bytes that are not UTF-8 cost %s a value; %s", count(source.dropped, "row"), needUTF8)
	}
	c.out.say("rejected.csv names line, field and code of each fault, never a value")
	if err := expect("rows read = accepted + rejected", done.Read, done.Accepted+done.Rejected); err != nil {
		return err
	}
	if err := expect("contacts accepted as when the file was looked through", source.survey.Accepted, done.Accepted); err != nil {
		return err
	}
	var stored int
	if err := c.live.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM contacts WHERE tenant = ?`, tenant).Scan(&stored); err != nil {
		return err
	}
	return expect("contacts in the database", done.Accepted, stored)
}

func orRow(place string) string {
	if place == "" {
		return "the row"
	}
	return place
}

// user is a principal of the CRM.
type user struct{ id, role, region string }

// users are those who work with the CRM: two sales reps and a manager in each
// region, and three who look from aside.
func users() []user {
	return []user{
		{"u-sales-1", "sales", "west"},
		{"u-sales-2", "sales", "west"},
		{"u-sales-3", "sales", "east"},
		{"u-sales-4", "sales", "east"},
		{"u-manager-1", "manager", "west"},
		{"u-manager-2", "manager", "east"},
		{"u-support-1", "support", "west"},
		{"u-auditor-1", "auditor", "west"},
		{"u-outsider-1", "outsider", "west"},
	}
}

func (c *crm) addUsers(ctx context.Context) error {
	c.byID, c.byEmail, c.accounts = map[string]*person{}, map[string][]*person{}, map[string]string{}
	for _, u := range users() {
		if _, err := c.live.db.ExecContext(ctx, `INSERT INTO users (id, tenant, role, region) VALUES (?, ?, ?, ?)`, u.id, tenant, u.role, u.region); err != nil {
			return err
		}
	}
	return nil
}

// storeContacts stores one batch in one transaction. Keys are fetched before
// it begins, because inside it no other connection may be needed.
func (c *crm) storeContacts(ctx context.Context, batch []integrity.Accepted) error {
	people := make([]*person, len(batch))
	ids := make([]string, len(batch))
	for i, row := range batch {
		p, err := c.newPerson(row, len(c.people)+i)
		if err != nil {
			return err
		}
		people[i], ids[i] = p, p.id
	}
	if err := c.vault.Ensure(ctx, tenant, ids...); err != nil {
		return err
	}
	if err := c.live.trail.Prepare(ctx, tenant, ids...); err != nil {
		return err
	}
	rows := make([]*contact, len(people))
	for i, p := range people {
		row, err := c.sealContact(ctx, p)
		if err != nil {
			return err
		}
		rows[i] = row
	}
	tx, err := c.live.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for i, row := range rows {
		if err := c.ensureAccount(ctx, tx, people[i]); err != nil {
			return err
		}
		if err := c.insertContact(ctx, tx, row); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	for _, p := range people {
		c.people = append(c.people, p)
		c.byID[p.id] = p
		if email := p.values["email"]; email != "" {
			c.byEmail[looseEmail(email)] = append(c.byEmail[looseEmail(email)], p)
		}
	}
	return nil
}

// newPerson gives the accepted row with that number a random id and somebody
// who looks after it: the users of both regions take turns, so that two
// contacts already have two owners in two regions.
func (c *crm) newPerson(row integrity.Accepted, number int) (*person, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	p := &person{id: id.String(), line: row.Line, values: make(map[string]string, len(row.Values)+1)}
	for name, value := range row.Values {
		p.values[name] = fmt.Sprint(value)
	}
	if len(row.Custom) > 0 {
		custom, err := json.Marshal(row.Custom)
		if err != nil {
			return nil, err
		}
		p.values["custom"] = string(custom)
	}
	sales := users()[:4]
	p.user = sales[[]int{0, 2, 1, 3}[number%len(sales)]].id
	return p, nil
}

// regionOf is the region of a user.
func regionOf(id string) string {
	for _, u := range users() {
		if u.id == id {
			return u.region
		}
	}
	return ""
}

// fullName is how the CRM addresses a person: the name, or else the e-mail
// address.
func (p *person) fullName() string {
	name := p.values["full_name"]
	if parts := strings.TrimSpace(p.values["first_name"] + " " + p.values["last_name"]); name == "" {
		name = parts
	}
	if name == "" {
		name = p.values["email"]
	}
	return name
}

package main

import (
	"bytes"
	"context"
	_ "embed" // the bundled people
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/integrity"
)

//go:embed testdata/people.csv
var bundledPeople []byte

// importContacts reads a CSV export row by row. Good rows are stored sealed
// from the first byte; bad ones are named by line, field and code, never by
// value.
func importContacts(ctx context.Context, c *crm) error {
	if err := c.addUsers(ctx); err != nil {
		return err
	}
	source, name, closeSource, err := c.openSource()
	if err != nil {
		return err
	}
	defer closeSource()
	rules, err := contactRules()
	if err != nil {
		return err
	}
	rejected, err := os.OpenFile(c.path("rejected.csv"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer rejected.Close()

	rows := integrity.CSV(source, integrity.CSVOptions{Columns: integrity.KnownHeaders()})
	done, err := integrity.Import(ctx, rows, integrity.ImportOptions{
		Schema: rules, Unique: []string{"email"}, Dates: []string{"2006-01-02", "1/2/2006"}, Rejects: rejected,
		Progress: func(r integrity.Report) { c.out.progress("rows read,", r.Read, r.Read) },
	}, c.storeContacts)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := rejected.Close(); err != nil {
		return err
	}

	c.figures["read"], c.figures["accepted"], c.figures["rejected"] = done.Read, done.Accepted, done.Rejected
	c.out.say("%s: %s rows read = %s accepted + %s rejected", name, thousands(done.Read), thousands(done.Accepted), thousands(done.Rejected))
	for _, f := range done.Faults {
		c.out.say("  %s in %s: %s, %s", orRow(f.Place), count(f.Count, "row"), f.Code, f.Outcome)
	}
	for heading, count := range done.ColumnsDropped {
		c.out.say("  column %s: %s values never entered", heading, thousands(count))
	}
	c.out.say("rejected.csv names line, field and code of each fault, never a value")
	if err := expect("rows read = accepted + rejected", done.Read, done.Accepted+done.Rejected); err != nil {
		return err
	}
	if err := expectThat(done.Accepted >= 20, "at least 20 accepted contacts to show anything with", "%d", done.Accepted); err != nil {
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

func (c *crm) openSource() (source io.Reader, name string, closeSource func(), err error) {
	if c.settings.contacts == "" {
		return bytes.NewReader(bundledPeople), "people.csv (bundled, invented)", func() {}, nil
	}
	file, err := os.Open(c.settings.contacts)
	if err != nil {
		return nil, "", nil, err
	}
	return file, filepath.Base(c.settings.contacts), func() { _ = file.Close() }, nil
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
	c.byID, c.accounts = map[string]*person{}, map[string]string{}
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
		p, err := c.newPerson(row)
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
	}
	return nil
}

// newPerson gives an accepted row a random id and somebody who looks after it.
func (c *crm) newPerson(row integrity.Accepted) (*person, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	p := &person{id: id.String(), line: row.Line, values: map[string]string{}, custom: map[string]string{}}
	for name, value := range row.Values {
		p.values[name] = fmt.Sprint(value)
	}
	if len(row.Custom) > 0 {
		custom, err := json.Marshal(row.Custom)
		if err != nil {
			return nil, err
		}
		p.values["custom"] = string(custom)
		for name, value := range row.Custom {
			p.custom[name] = fmt.Sprint(value)
		}
	}
	sales := users()[:4]
	p.user = sales[int(id[15])%len(sales)].id
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

// fullName is how the CRM addresses a person.
func (p *person) fullName() string {
	return strings.TrimSpace(p.values["first_name"] + " " + p.values["last_name"])
}

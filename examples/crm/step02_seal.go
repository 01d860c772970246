package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// sealedScan fills the rest of the CRM (deals, activities, attachments), and
// then looks at the live files as a thief would: every sealed value of 8
// bytes or more is searched in the raw bytes.
func sealedScan(ctx context.Context, c *crm) error {
	if err := c.fill(ctx); err != nil {
		return err
	}
	values := newNeedles()
	for _, p := range c.people {
		for name, value := range p.sealedValues() {
			values.add(name, []byte(value))
		}
		for _, text := range p.texts {
			values.add("free text", []byte(text))
		}
	}
	// What a clear column says anyway ("Anderson" in the name of a company)
	// proves nothing about the seal; e-mail, phone and street are searched
	// whatever the clear columns say.
	said := map[string]bool{}
	values.scan(c.clearText(), func(n needle) {
		if n.label != "email" && n.label != "phone" && n.label != "street" {
			said[string(n.bytes)] = true
		}
	})
	files, found := 0, 0
	var where string
	err := filepath.WalkDir(c.live.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		files++
		return values.scanReader(file, func(n needle) {
			if !said[string(n.bytes)] {
				found++
				where = fmt.Sprintf("a value of %s in %s", n.label, filepath.Base(path))
			}
		})
	})
	if err != nil {
		return err
	}
	c.figures["values"], c.figures["left_out"], c.figures["found"] = len(values.patterns)-len(said), len(said), found
	c.out.say("sealed under each person's own key: %s contacts, %d deals, %d activities, %d attachments", thousands(len(c.people)), c.counts["deals"], c.counts["activities"], c.counts["attachments"])
	c.out.say("raw scan of %d live files for %s sealed values of 8 bytes or more: %d found (%d left out, because a clear column or the schema says the same)", files, thousands(len(values.patterns)-len(said)), found, len(said))
	return expectThat(found == 0, "no sealed value in the raw bytes of the live files", "%d, the last one %s", found, where)
}

// clearField names what the data map declares as shared.
func clearField(name string) bool {
	return name == "country" || name == "language" || name == "company"
}

// clearText is everything that stands in clear by declaration: companies, the
// schema, the words of the machinery.
func (c *crm) clearText() []byte {
	var out strings.Builder
	out.WriteString(schemaSQL)
	for name := range c.accounts {
		out.WriteString("\x00" + name)
	}
	for _, p := range c.people {
		for name, value := range p.values {
			if clearField(name) {
				out.WriteString("\x00" + value)
			}
		}
	}
	return []byte(out.String())
}

// fill adds what a CRM holds besides contacts: a deal for every third person,
// a note for every second, a contract file for every tenth. One note is about
// two persons.
func (c *crm) fill(ctx context.Context) error {
	c.counts = map[string]int{}
	for i, p := range c.people {
		if i%3 == 0 {
			if err := c.addDeal(ctx, p, fmt.Sprintf("Renewal for %s of %s", p.fullName(), p.values["company"])); err != nil {
				return err
			}
		}
		if i%2 == 0 {
			if err := c.addActivity(ctx, "call", fmt.Sprintf("Called %s at %s, will send papers to %s", p.fullName(), p.values["phone"], p.values["street"]), p); err != nil {
				return err
			}
		}
		if i%10 == 0 {
			content := fmt.Sprintf("Contract with %s, %s, %s.\n%s", p.fullName(), p.values["street"], p.values["city"], strings.Repeat("Terms. ", 200))
			if err := c.addAttachment(ctx, p, "contract-"+p.values["username"]+".txt", content); err != nil {
				return err
			}
		}
		c.out.progress("people,", i+1, len(c.people))
	}
	c.chooseWhoLeaves()
	return c.addActivity(ctx, "meeting", fmt.Sprintf("Meeting with %s and %s", c.gone.fullName(), c.partner.fullName()), c.gone, c.partner)
}

func (c *crm) addDeal(ctx context.Context, p *person, subject string) error {
	w, err := c.deals.Writer(ctx, tenant, p.id)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	_, err = c.live.db.ExecContext(ctx, `INSERT INTO deals (id, tenant, person, owner, stage, amount_cents, subject, created) VALUES (?, ?, ?, ?, 'lead', ?, ?, ?)`,
		id.String(), tenant, p.id, p.user, 100*(1+len(c.people)%97), w.Text("subject", subject), c.now())
	p.texts = append(p.texts, subject)
	c.counts["deals"]++
	return err
}

// addActivity stores a note about one person under that person's key, or about
// several under a key of its own, so that it stays readable for the others
// when one of them is erased.
func (c *crm) addActivity(ctx context.Context, kind, body string, about ...*person) error {
	keyOwner, w, err := c.activityWriter(ctx, about)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	sealed := w.Text("body", body)
	tx, err := c.live.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `INSERT INTO activities (id, tenant, kind, key_owner, body, created) VALUES (?, ?, ?, ?, ?, ?)`, id.String(), tenant, kind, keyOwner, sealed, c.now()); err != nil {
		return err
	}
	for _, p := range about {
		if _, err := tx.ExecContext(ctx, `INSERT INTO activity_persons (activity, person) VALUES (?, ?)`, id.String(), p.id); err != nil {
			return err
		}
	}
	for _, p := range about {
		p.texts = append(p.texts, body)
	}
	c.counts["activities"]++
	return tx.Commit()
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
	file, err := os.OpenFile(filepath.Join(c.live.dir, "attachments", id.String()), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := c.attachments.SealStream(ctx, file, streamRef(p.id, id.String()), name, int64(len(content)), strings.NewReader(content)); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	p.texts = append(p.texts, content, name)
	c.counts["attachments"]++
	return file.Close()
}

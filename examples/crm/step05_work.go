package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"slices"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/integrity"
)

// work lets the users work: several hundred changes, each with its audit event
// in the same transaction. Then the events are sequenced into a Merkle log,
// its checkpoint is signed and handed to another domain, the whole log is
// verified from its files alone, and an auditor asks it questions.
func work(ctx context.Context, c *crm) error {
	if err := c.rememberTheStart(ctx); err != nil {
		return err
	}
	changes := min(400, 2*len(c.people))
	for i := range changes {
		p := c.people[(i*7)%len(c.people)]
		if err := c.update(ctx, p, "job_title", fmt.Sprintf("%s, changed %05d", orElse(p.values["job_title"], "Contact"), i+1)); err != nil {
			return err
		}
		c.out.progress("changes,", i+1, changes)
	}
	if err := c.plantCanaries(ctx); err != nil {
		return err
	}
	if err := c.lookAround(ctx); err != nil {
		return err
	}
	if err := c.anchor(ctx); err != nil {
		return err
	}
	verdict, err := auditlog.VerifyLog(ctx, os.DirFS(c.path("audit", "log")), c.trust(ctx))
	if err != nil {
		return err
	}
	c.figures["changes"], c.figures["entries"] = changes, int(verdict.Verified)
	c.out.say("%d changes by %d users, each in one transaction with its event", changes, 4)
	c.out.say("log: %s entries, signed checkpoint, verdict of the whole log: %s", thousands(int(verdict.Verified)), verdict.Verdict)
	if err := expect("verdict on the log", auditlog.OK, verdict.Verdict); err != nil {
		return err
	}
	if err := expectThat(verdict.Verified >= int64(changes), "an entry for each change", "%d entries", verdict.Verified); err != nil {
		return err
	}
	if err := c.proveOne(ctx); err != nil {
		return err
	}
	return c.ask(ctx)
}

// rememberTheStart keeps a contact and the log as they are now: an attacker who
// puts old things back needs old things.
func (c *crm) rememberTheStart(ctx context.Context) error {
	rows, err := collect(contactsWhere(ctx, c.live.db, "c.tenant = ? AND c.id = ?", tenant, c.people[0].id))
	if err != nil {
		return err
	}
	c.oldRow = rows[0]
	if err := c.publish(ctx); err != nil {
		return err
	}
	c.olderLog, err = readTree(c.path("audit", "log"))
	return err
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// trust is what a verifier holds: the key of the log, and the checkpoint that
// was kept elsewhere.
func (c *crm) trust(ctx context.Context) auditlog.Trust {
	kept, _ := c.keptCheckpoint(ctx)
	return auditlog.Trust{Key: c.logKey, Kept: kept}
}

// proveOne proves one event to somebody who has neither log nor database.
func (c *crm) proveOne(ctx context.Context) error {
	event := ""
	for entry, err := range c.live.trail.History(ctx, tenant, audit.About(c.people[0].id), audit.Page{Size: 1}) {
		if err != nil {
			return err
		}
		event = entry.Leaf.ID
	}
	leaf, err := c.live.trail.Leaf(ctx, event)
	if err != nil {
		return err
	}
	proof, err := c.live.trail.Proof(ctx, event)
	if err != nil {
		return err
	}
	proved, err := auditlog.Verify(auditlog.Trust{Key: c.logKey}, leaf, proof)
	if err != nil {
		return err
	}
	c.out.say("one event proved offline: %s, leaf %d bytes, proof %d bytes", proved.Action, len(leaf), len(proof))
	return expect("the proved event", event, proved.ID)
}

// update changes one field of a contact as its owner: policy first, then row,
// seal and event in one transaction.
func (c *crm) update(ctx context.Context, p *person, field, value string) error {
	w, err := c.contacts.Writer(ctx, tenant, p.id)
	if err != nil {
		return err
	}
	sealed, err := w.Seal(field, []byte(value))
	if err != nil {
		return err
	}
	if err := c.live.trail.Prepare(ctx, tenant, p.id); err != nil {
		return err
	}
	tx, err := c.live.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	err = c.changeRow(ctx, tx, p.id, "contact.update", []audit.Change{{Path: field, Who: p.id, Old: orAbsent(c.valueOf(p, field)), New: value}}, func(row *contact) error {
		if err := c.policy.Check(ctx, principal(userOf(row.owner)), "contact.update", row.accessResource()); err != nil {
			return err
		}
		row.sealed[field] = sealed
		return nil
	})
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	c.remember(p, field, value)
	return nil
}

func orAbsent(value string) any {
	if value == "" {
		return audit.Absent{}
	}
	return value
}

func userOf(id string) user {
	i := slices.IndexFunc(users(), func(u user) bool { return u.id == id })
	return users()[i]
}

// changeRow verifies a contact, changes it, records the event, and seals the
// new version, in the caller's transaction.
func (c *crm) changeRow(ctx context.Context, tx *sql.Tx, id, action string, changes []audit.Change, change func(*contact) error) error {
	rows, err := collect(contactsWhere(ctx, tx, "c.tenant = ? AND c.id = ?", tenant, id))
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return fmt.Errorf("contact is not there: %d rows", len(rows))
	}
	row := rows[0]
	if err := c.sealer.Verify(ctx, row.sealedRow()); err != nil {
		return err
	}
	if err := change(row); err != nil {
		return err
	}
	if row.event, err = c.record(ctx, tx, row.owner, action, id, changes); err != nil {
		return err
	}
	row.version++
	if row.seal, err = c.sealer.Seal(ctx, row.ref(), row.values()); err != nil {
		return err
	}
	return row.store(ctx, tx)
}

// store writes a changed row back, if nobody was faster.
func (row *contact) store(ctx context.Context, tx *sql.Tx) error {
	set, args := "", []any{}
	for _, name := range sealedFields() {
		set += ", " + name + " = ?"
		args = append(args, row.sealed[name])
	}
	args = append(args, row.version, row.event, row.seal, tenant, row.id, row.version-1)
	done, err := tx.ExecContext(ctx, `UPDATE contacts SET `+set[2:]+`, version = ?, event = ?, seal = ? WHERE tenant = ? AND id = ? AND version = ?`, args...)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("contact was changed by somebody else meanwhile (%d rows, %w)", n, err)
	}
	return nil
}

// plantCanaries puts four strings that occur nowhere else into the record of
// the person who will ask to be forgotten: into a custom field, a note, an
// attachment and a change that the audit trail keeps.
func (c *crm) plantCanaries(ctx context.Context) error {
	for range 4 {
		secret := make([]byte, 12)
		if _, err := rand.Read(secret); err != nil {
			return err
		}
		c.canaries = append(c.canaries, "canary-"+hex.EncodeToString(secret))
	}
	p := c.gone
	if err := c.update(ctx, p, "custom", `{"favourite":"`+c.canaries[0]+`"}`); err != nil {
		return err
	}
	if err := c.addActivity(ctx, "note", "Prefers "+c.canaries[1], p); err != nil {
		return err
	}
	if err := c.addAttachment(ctx, p, c.canaries[2]+".txt", "Scanned letter: "+c.canaries[2]); err != nil {
		return err
	}
	if err := c.update(ctx, p, "job_title", c.canaries[3]); err != nil {
		return err
	}
	return c.update(ctx, p, "job_title", "Retired") // the canary is now in the change history alone
}

// anchor computes the roots over all row seals, lets a beat carry them into
// the log, and publishes.
func (c *crm) anchor(ctx context.Context) error {
	swept, err := c.sweep(ctx, c.live.db, nil)
	if err != nil {
		return err
	}
	if err := expectThat(swept.OK(), "every row as it was sealed", "%v", swept.Counts); err != nil {
		return err
	}
	c.roots = swept.Roots
	if err := c.live.trail.Beat(ctx); err != nil {
		return err
	}
	return c.publish(ctx)
}

// sweep verifies the seals of all contacts; with roots also that no row was
// put back or lost.
func (c *crm) sweep(ctx context.Context, db *sql.DB, against *integrity.Roots) (integrity.SweepReport, error) {
	rows := func(yield func(integrity.SealedRow, error) bool) {
		for row, err := range contactsWhere(ctx, db, "c.tenant = ?", tenant) {
			if err != nil {
				yield(integrity.SealedRow{}, err)
				return
			}
			if !yield(row.sealedRow(), nil) {
				return
			}
		}
	}
	return c.sealer.Sweep(ctx, rows, integrity.SweepOptions{Tenant: tenant, Table: "contacts", Against: against})
}

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/certificate"
)

// erasureDelay lies between the plan of an erasure and its execution: time to
// notice a forged request.
const erasureDelay = 24 * time.Hour

// giveAndForget hands one person their data, and erases another one: planned,
// approved by somebody else, executed after the delay, read back, certified,
// and made final in the key copies.
func giveAndForget(ctx context.Context, c *crm) error {
	if err := c.give(ctx); err != nil {
		return err
	}
	if err := c.changeAfterBackup(ctx); err != nil {
		return err
	}
	// The search must find now what it must not find later.
	var err error
	if c.wrapped, err = c.vault.WrappedKeys(ctx, tenant, c.gone.id); err != nil {
		return err
	}
	if c.ghosts, err = c.ghostNeedles(ctx); err != nil {
		return err
	}
	if c.before, err = c.hunt(ctx); err != nil {
		return err
	}
	if err := c.forget(ctx); err != nil {
		return err
	}
	c.figures["erased_line"] = c.gone.line
	return c.closeEpoch(ctx)
}

// whoAsks is a person who stays, and with whom nobody shares a note: what they
// are given is theirs to keep.
func (c *crm) whoAsks() *person {
	for i := range c.people {
		if p := c.people[(3+i)%len(c.people)]; p != c.gone && p != c.partner {
			return p
		}
	}
	return c.partner
}

// give exports one person's data, encrypted for that person alone.
func (c *crm) give(ctx context.Context) error {
	asks := c.whoAsks()
	var sealed bytes.Buffer
	exported, err := c.live.desk.Export(ctx, tenant, asks.id, c.exportKey.Recipient().String(), &sealed)
	if err != nil {
		return err
	}
	if err := keep(c.path("export", exported.Name), sealed.Bytes()); err != nil {
		return err
	}
	records := 0
	for _, table := range exported.Manifest.Tables {
		records += table.Rows
	}
	if c.given, err = exportText(sealed.Bytes(), c.exportKey); err != nil {
		return err
	}
	c.out.say("given: %d records of one person as %s, encrypted with age", records, size(exported.Size))
	return expectThat(records >= 1, "at least the contact in the export", "%d records", records)
}

// changeAfterBackup is the work that a disaster will cost.
func (c *crm) changeAfterBackup(ctx context.Context) error {
	for i := range 5 {
		if err := c.update(ctx, c.people[(i+5)%len(c.people)], "job_title", fmt.Sprintf("Promoted after the backup, %d", i)); err != nil {
			return err
		}
	}
	return c.anchor(ctx)
}

// forget erases a person.
func (c *crm) forget(ctx context.Context) error {
	desk := c.live.desk
	plan, err := desk.PlanErasure(ctx, privacy.Request{Tenant: tenant, Person: c.gone.id, Reason: "gdpr-17", By: "u-support-1"})
	if err != nil {
		return err
	}
	rows := 0
	for _, count := range plan.Counts {
		rows += count.Rows
	}
	if err := desk.Approve(ctx, plan.ID, "u-support-1"); !errors.Is(err, privacy.ErrSelfApproval) {
		return expectThat(false, "approval by the requester refused", "%v", err)
	}
	if err := desk.Approve(ctx, plan.ID, "u-manager-1"); err != nil {
		return err
	}
	if _, err := desk.Execute(ctx, plan.ID); !errors.Is(err, privacy.ErrTooEarly) {
		return expectThat(false, "execution before its time refused", "%v", err)
	}
	c.out.say("planned: %d records in %d places; the requester could not approve it, and it could not run for %d hours (the tour moves its clock past that, and past leases and the %d days of the key copy)", rows, len(plan.Counts), int(erasureDelay.Hours()), int(window.Hours()/24))
	c.clock.skip(erasureDelay)
	outcome, err := desk.Execute(ctx, plan.ID)
	if err != nil {
		return err
	}
	if outcome.State == privacy.Waiting {
		c.clock.skip(encryption.DefaultLease + time.Second)
		if outcome, err = desk.Execute(ctx, plan.ID); err != nil {
			return err
		}
	}
	for _, store := range outcome.Stores {
		if store.Remaining > 0 {
			c.out.say("  %s: %d left", store.Store, store.Remaining)
		}
	}
	if err := expect("state of the erasure after reading back", privacy.Done, outcome.State); err != nil {
		return err
	}
	if err := c.certificate(outcome); err != nil {
		return err
	}
	if c.note == "" {
		c.partNotShown("erasure", "note", "only two people: a note about two of them needs a third one who asks for their data")
	} else if err := c.partnerKeepsTheNote(ctx); err != nil {
		return err
	}
	return c.publish(ctx)
}

// certificate checks what the person gets: verified, and about them.
func (c *crm) certificate(outcome privacy.Outcome) error {
	if err := keep(c.path("certificate.dsse.json"), outcome.Certificate); err != nil {
		return err
	}
	read, err := certificate.Verify(outcome.Certificate, c.certKey.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	says := read.Statement
	c.out.say("erased and read back; certificate: unreadable here since %s, in key copies by %s",
		says.UnreadableLiveAt.Format(time.DateOnly), says.FinalAt.Format(time.DateOnly))
	return expectThat(says.Concerns(outcome.Salt, tenant, c.gone.id), "a certificate about the erased person", "another subject")
}

// partnerKeepsTheNote: the second person of the shared note can still read it.
func (c *crm) partnerKeepsTheNote(ctx context.Context) error {
	var id, keyOwner string
	var sealed []byte
	err := c.live.db.QueryRowContext(ctx, `SELECT a.id, a.key_owner, a.body FROM activities a JOIN activity_persons p ON p.activity = a.id WHERE p.person = ? AND a.kind = 'meeting'`, c.partner.id).Scan(&id, &keyOwner, &sealed)
	if err != nil {
		return err
	}
	reader, err := c.activities.Reader(ctx, tenant, keyOwner)
	if err != nil {
		return err
	}
	text, err := reader.Row(keyOwner, id).Text(ctx, "body", sealed)
	if err != nil {
		return err
	}
	c.out.say("the shared note, for the other person: %q", text)
	return nil
}

// closeEpoch makes the erasure final: a new wrap key, every remaining person
// key wrapped anew, a new KEK, the old one destroyed. The key copy that was
// stolen in step 8 then opens nothing with the keys that remain.
func (c *crm) closeEpoch(ctx context.Context) error {
	opens, err := c.stolenKeyOpens(ctx)
	if err != nil {
		return err
	}
	if err := expectThat(opens, "the stolen key to open something before the epoch is closed: otherwise the check after it proves nothing", "nothing"); err != nil {
		return err
	}
	c.clock.skip(window)
	if err := c.keks.create("kek-2"); err != nil {
		return err
	}
	epoch := keycopy.Rewrap{KEK: "kek-2", Copy: c.vault.Copier(c.path("keycopy")), Destroy: c.keks.destroy}
	if c.settings.mutant == breakKeyCopy {
		epoch.Destroy = nil
	}
	closed, err := c.vault.RewrapKeys(ctx, epoch)
	if err != nil {
		return err
	}
	c.out.say("epoch closed: %s keys wrapped anew, new KEK, key copy renewed", thousands(closed.Rewrapped))
	opens, err = c.stolenCopyOpens(ctx)
	if err != nil {
		return err
	}
	if err := expectThat(!opens, "the stolen key copy of step 8 worthless with the keys that remain", "it opens"); err != nil {
		return err
	}
	if opens, err = c.stolenKeyOpens(ctx); err != nil {
		return err
	}
	if err := expectThat(!opens, "the stolen key of the erased person worthless in the key store of today", "it opens a value of theirs"); err != nil {
		return err
	}
	c.out.say("the key copy of step 8 opens nothing with the keys that remain")
	if err := c.everyoneElseReadable(ctx); err != nil {
		return err
	}
	return c.anchor(ctx)
}

// stolenCopyOpens loads the old key copy into a key store of its own and tries
// to open it with every KEK that still exists.
func (c *crm) stolenCopyOpens(ctx context.Context) (bool, error) {
	dir, err := os.MkdirTemp("", "crm-stolen-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "copy")
	if err := os.WriteFile(path, c.oldCopy, 0o600); err != nil {
		return false, err
	}
	db, err := openDatabase(filepath.Join(dir, "keys.db"))
	if err != nil {
		return false, err
	}
	defer db.Close()
	if err := sqlkeys.Install(ctx, db); err != nil {
		return false, err
	}
	store, err := sqlkeys.Open(ctx, db)
	if err != nil {
		return false, err
	}
	vault, err := encryption.RestoreCopy(ctx, c.vaultConfig(store), path)
	if errors.Is(err, encryption.ErrKEK) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	keys, err := vault.WrappedKeys(ctx, tenant, c.gone.id)
	return len(keys) > 0, err
}

// stolenKeyOpens puts the erased person's wrapped key out of the stolen copy
// into a copy of the key store of today, and tries to open the
// fields of their own that the snapshot of step 8 holds.
func (c *crm) stolenKeyOpens(ctx context.Context) (bool, error) {
	dir, err := os.MkdirTemp("", "crm-stolen-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if _, err := c.keyDB.ExecContext(ctx, `VACUUM INTO ?`, filepath.Join(dir, "keys.db")); err != nil {
		return false, err
	}
	db, err := openDatabase(filepath.Join(dir, "keys.db"))
	if err != nil {
		return false, err
	}
	defer db.Close()
	keyVersion, err := sealedvalue.KeyVersion(c.goneValue)
	if err != nil {
		return false, err
	}
	if _, err := db.ExecContext(ctx, `UPDATE crmguard_encryption_owner SET state = 'live' WHERE tenant = ? AND owner = ?`, tenant, c.gone.id); err != nil {
		return false, err
	}
	store, err := sqlkeys.Open(ctx, db)
	if err != nil {
		return false, err
	}
	for _, wrapped := range c.wrapped {
		if _, err := db.ExecContext(ctx, `INSERT OR REPLACE INTO crmguard_encryption_key (tenant, owner, generation, wrapped) VALUES (?, ?, ?, ?)`, tenant, c.gone.id, int64(keyVersion), wrapped); err != nil {
			return false, err
		}
		vault, err := encryption.Open(ctx, c.vaultConfig(store))
		if err != nil {
			return false, err
		}
		table, err := vault.Table(encryption.Table{Name: "contacts", Owner: "id", Tenant: "tenant", Columns: []encryption.Column{{Name: "custom"}}})
		if err != nil {
			return false, err
		}
		reader, err := table.Reader(ctx, tenant, c.gone.id)
		if err != nil {
			continue // the key does not unwrap
		}
		value, err := reader.Row(c.gone.id, c.gone.id).Text(ctx, "custom", c.goneValue)
		if err == nil && value == c.gone.values["custom"] {
			return true, nil
		}
	}
	return false, nil
}

// everyoneElseReadable opens every contact but the erased one.
func (c *crm) everyoneElseReadable(ctx context.Context) error {
	wrong, read := 0, 0
	err := c.eachContact(ctx, func(id string, values map[string]string) error {
		p := c.byID[id]
		if p == c.gone {
			return expectThat(false, "no contact of the erased person", "one")
		}
		read++
		if !p.sameAs(values) {
			wrong++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := expect("contacts of others", len(c.people)-1, read); err != nil {
		return err
	}
	return expect("contacts of others that differ", 0, wrong)
}

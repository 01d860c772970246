package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

// rotate gives every sealed byte a new key while people go on reading,
// searching and writing, and destroys the old keys once nothing needs them.
func rotate(ctx context.Context, c *crm) error {
	before, err := c.activeKeyVersion(ctx)
	if err != nil {
		return err
	}
	after, err := c.vault.NewKeyVersion(ctx, tenant)
	if err != nil {
		return err
	}
	if len(c.byEmail) == 0 {
		c.partNotShown("rotation", "search", "no e-mail address in the file: contacts were read by id while the keys changed, not searched by e-mail")
	}
	traffic := c.startTraffic(ctx)
	err = c.resealAll(ctx)
	c.figures["reads"], c.figures["failures"], c.figures["writes"] = traffic.stop()
	if err := errors.Join(err, traffic.err()); err != nil {
		return err
	}
	left, err := c.census(ctx)
	if err != nil {
		return err
	}
	c.figures["old_generation"], c.figures["new_generation"] = int(left[before]), int(left[after])
	c.out.say("meanwhile %s reads and searches, %d failures, %d changes written, %d of them between the rewriter's reading and its writing", thousands(c.figures["reads"]), c.figures["failures"], c.figures["writes"], c.figures["conflicts"])
	c.out.say("census by ciphertext prefix: old key version %d, new key version %s", left[before], thousands(int(left[after])))
	if err := expectThat(c.figures["reads"] > 0, "reads while the keys changed", "none"); err != nil {
		return err
	}
	if err := expect("failed reads while the keys changed", 0, c.figures["failures"]); err != nil {
		return err
	}
	if err := expect("values under the old key version", int64(0), left[before]); err != nil {
		return err
	}
	if err := c.everyoneReadable(ctx, "after the rotation"); err != nil {
		return err
	}
	if err := c.vault.DestroyKeyVersion(ctx, tenant, before, c.holders(true)...); err != nil {
		return err
	}
	c.out.say("the old key version is destroyed; everyone is still readable")
	if err := c.everyoneReadable(ctx, "after the old key version was destroyed"); err != nil {
		return err
	}
	if err := c.live.trail.Noter("u-manager-1")(ctx, tenant, "keys.rotate"); err != nil {
		return err
	}
	return c.anchor(ctx) // every seal is new, and so are the roots
}

// activeKeyVersion is the key version that seals.
func (c *crm) activeKeyVersion(ctx context.Context) (uint32, error) {
	keyVersions, err := c.vault.KeyVersions(ctx, tenant)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(keyVersions, func(g keystore.KeyVersionRow) bool { return g.State == keystore.Active })
	if i < 0 {
		return 0, errors.New("no active key version")
	}
	return keyVersions[i].KeyVersion, nil
}

// resealAll rewrites all that is sealed: columns, files, and the openings of
// the audit trail.
func (c *crm) resealAll(ctx context.Context) error {
	total := len(c.people)
	between, err := c.changeInBetween(ctx)
	if err != nil {
		return err
	}
	done, err := c.contacts.Reseal(ctx, c.live.db, tenant, jobs.ResealOptions{
		BeforeRow: between, AfterRow: c.sealInTx,
		Progress: func(r jobs.ResealReport) { c.out.progress("contacts resealed,", r.Rows, total) },
	})
	if err != nil {
		return err
	}
	if err := expectThat(done.Conflicts > 0, "a change between the rewriter's reading and its writing noticed", "none"); err != nil {
		return err
	}
	c.figures["conflicts"] += done.Conflicts
	for _, table := range []*encryption.SealedTable{c.deals, c.activities} {
		if _, err := table.Reseal(ctx, c.live.db, tenant, jobs.ResealOptions{}); err != nil {
			return err
		}
	}
	if err := c.resealAttachments(ctx); err != nil {
		return err
	}
	sealer := c.vault.PersonSealer("audit")
	_, err = c.live.trail.Reseal(ctx, func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
		resealed, _, err := sealer.Reseal(ctx, tenant, person, sealed, ad)
		return resealed, err
	})
	return err
}

// changeInBetween verifies each row before it is resealed, and, at the first
// one, changes a contact of the same batch that the rewriter has read already
// and not yet written: the change must survive.
func (c *crm) changeInBetween(ctx context.Context) (jobs.RowHook, error) {
	rows, err := collect(contactsWhere(ctx, c.live.db, "c.tenant = ? ORDER BY c.id LIMIT 10", tenant))
	if err != nil {
		return nil, err
	}
	p := c.byID[rows[len(rows)-1].id]
	w, err := c.contacts.Writer(ctx, tenant, p.id) // keys are fetched before the transaction
	if err != nil {
		return nil, err
	}
	if err := c.live.trail.Prepare(ctx, tenant, p.id); err != nil { // and so is what its event needs
		return nil, err
	}
	field, value := c.changeable(p)
	sealed, err := w.Seal(field, []byte(value))
	if err != nil {
		return nil, err
	}
	changed := false
	return func(ctx context.Context, tx *sql.Tx, tenant, key string) error {
		if !changed {
			changed = true
			c.remember(p, field, value)
			if err := c.changeRow(ctx, tx, p.id, "contact.update", nil, func(row *contact) error {
				row.sealed[field] = sealed
				return nil
			}); err != nil {
				return err
			}
		}
		return c.verifyInTx(ctx, tx, tenant, key)
	}, nil
}

// changeable is a field of the contact that is still under the old key, for
// only such a one is rewritten, with a new value for it. The job title is none:
// the traffic may have given it the new key already. Where the file gave no
// city, what it gave is sealed anew: other bytes, and nothing of it is lost.
func (c *crm) changeable(p *person) (field, value string) {
	const changed = "Changed between reading and writing"
	if c.valueOf(p, "city") != "" {
		return "city", changed
	}
	for _, field := range sealedFields() {
		if value := c.valueOf(p, field); value != "" && field != "job_title" {
			return field, value
		}
	}
	return "city", changed
}

// verifyInTx refuses to bless a tampered row: its old seal must hold before
// it gets a new one.
func (c *crm) verifyInTx(ctx context.Context, tx *sql.Tx, _, key string) error {
	rows, err := collect(contactsWhere(ctx, tx, "c.tenant = ? AND c.id = ?", tenant, key))
	if err != nil || len(rows) != 1 {
		return errors.Join(err, fmt.Errorf("%d rows for one contact", len(rows)))
	}
	return c.sealer.Verify(ctx, rows[0].sealedRow())
}

// sealInTx seals the row over its new bytes; version and event stay, for the
// contact itself has not changed.
func (c *crm) sealInTx(ctx context.Context, tx *sql.Tx, _, key string) error {
	rows, err := collect(contactsWhere(ctx, tx, "c.tenant = ? AND c.id = ?", tenant, key))
	if err != nil || len(rows) != 1 {
		return errors.Join(err, fmt.Errorf("%d rows for one contact", len(rows)))
	}
	seal, err := c.sealer.Seal(ctx, rows[0].ref(), rows[0].values())
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE contacts SET seal = ? WHERE tenant = ? AND id = ?`, seal, tenant, key)
	return err
}

func (c *crm) resealAttachments(ctx context.Context) error {
	files, err := c.attachmentFiles(ctx, "")
	if err != nil {
		return err
	}
	for _, f := range files {
		sealed, err := os.ReadFile(f.path(c.live.dir))
		if err != nil {
			return err
		}
		var resealed bytes.Buffer
		if err := c.attachments.ResealStream(ctx, &resealed, bytes.NewReader(sealed), streamRef(f.person, f.id)); err != nil {
			return err
		}
		if err := keep(f.path(c.live.dir), resealed.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// attachment is a row of attachments.
type attachment struct{ id, person string }

func (f attachment) path(dir string) string { return filepath.Join(dir, "attachments", f.id) }

// attachmentFiles lists the attachments of a person, or of all.
func (c *crm) attachmentFiles(ctx context.Context, person string) ([]attachment, error) {
	rows, err := c.live.db.QueryContext(ctx, `SELECT file, person FROM attachments WHERE tenant = ? AND (? = '' OR person = ?) ORDER BY id`, tenant, person, person)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []attachment
	for rows.Next() {
		var f attachment
		if err := rows.Scan(&f.id, &f.person); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, rows.Err()
}

// readStream opens an attachment.
func (c *crm) readStream(ctx context.Context, f attachment) (name string, content []byte, err error) {
	sealed, err := os.Open(f.path(c.live.dir))
	if err != nil {
		return "", nil, err
	}
	defer sealed.Close()
	stream, err := c.attachments.OpenStream(ctx, sealed, streamRef(f.person, f.id))
	if err != nil {
		return "", nil, err
	}
	content, err = io.ReadAll(stream)
	return stream.Name, content, err
}

// census counts every sealed value of the live system by key version.
func (c *crm) census(ctx context.Context) (map[uint32]int64, error) {
	keyVersions, err := c.vault.KeyVersions(ctx, tenant)
	if err != nil {
		return nil, err
	}
	out := map[uint32]int64{}
	for _, g := range keyVersions {
		for _, holder := range c.holders(false) {
			n, _, err := holder(ctx, tenant, g.KeyVersion)
			if err != nil {
				return nil, err
			}
			out[g.KeyVersion] += int64(n)
		}
	}
	return out, nil
}

// holders are all that may need a key version; with the snapshots, before
// one is destroyed.
func (c *crm) holders(snapshots bool) []jobs.Holder {
	db := c.live.db
	out := []jobs.Holder{c.contacts.Holder(db), c.deals.Holder(db), c.activities.Holder(db), c.attachmentHolder, c.live.trail.OpeningHolders}
	if snapshots {
		for _, repo := range c.repos {
			out = append(out, repo.KeyHolders)
		}
	}
	return out
}

// attachmentHolder counts the attachments under a key version: it stands in
// the first five bytes of each file.
func (c *crm) attachmentHolder(ctx context.Context, _ string, keyVersion uint32) (count int, where string, err error) {
	files, err := c.attachmentFiles(ctx, "")
	if err != nil {
		return 0, "", err
	}
	for _, f := range files {
		data, err := os.ReadFile(f.path(c.live.dir))
		if err != nil {
			return 0, "", err
		}
		g, err := sealedvalue.KeyVersion(data)
		if err != nil {
			return 0, "", err
		}
		if g == keyVersion {
			count++
		}
	}
	return count, "attachments", nil
}

// traffic is what users do while the keys change.
type traffic struct {
	cancel                  context.CancelFunc
	done                    chan struct{}
	reads, failures, writes atomic.Int64
	firstErr                atomic.Pointer[error]
}

// startTraffic reads and searches in one goroutine, and changes a contact now
// and then, some of them between the rewriter's reading and its writing. It
// returns when the first answer is there: however few contacts there are,
// somebody reads while the keys change.
func (c *crm) startTraffic(ctx context.Context) *traffic {
	ctx, cancel := context.WithCancel(ctx)
	t := &traffic{cancel: cancel, done: make(chan struct{})}
	first := make(chan struct{})
	go func() {
		defer close(t.done)
		for i := 0; ctx.Err() == nil; i++ {
			p := c.people[(i*13)%len(c.people)]
			err := c.readDuringRotation(ctx, p)
			if ctx.Err() != nil {
				return
			}
			t.reads.Add(1)
			if i == 0 {
				close(first)
			}
			if err != nil {
				t.fail(fmt.Errorf("reading while the keys changed: %w", err))
			}
			if i%5 != 0 {
				continue
			}
			// The change is finished even when the rotation ends meanwhile.
			if err := c.update(context.WithoutCancel(ctx), p, "job_title", fmt.Sprintf("Changed during the rotation, %05d", i)); err != nil {
				t.fail(err)
				continue
			}
			t.writes.Add(1)
		}
	}()
	select {
	case <-first:
	case <-t.done:
	}
	return t
}

// readDuringRotation finds a person by e-mail, or by id where there is none,
// and opens the record.
func (c *crm) readDuringRotation(ctx context.Context, p *person) error {
	if email := c.valueOf(p, "email"); email != "" {
		ids, err := c.lookUp(ctx, email)
		if err == nil && !c.isAnswer(ids, email) {
			err = fmt.Errorf("%d found, not those with that address", len(ids))
		}
		return err
	}
	rows, err := collect(contactsWhere(ctx, c.live.db, "c.tenant = ? AND c.id = ?", tenant, p.id))
	if err != nil {
		return err
	}
	opened, err := c.open(ctx, rows)
	if err == nil && len(opened) != 1 {
		err = fmt.Errorf("%d rows for one contact", len(opened))
	}
	return err
}

func (t *traffic) fail(err error) {
	t.failures.Add(1)
	t.firstErr.CompareAndSwap(nil, &err)
}

func (t *traffic) stop() (reads, failures, writes int) {
	t.cancel()
	<-t.done
	return int(t.reads.Load()), int(t.failures.Load()), int(t.writes.Load())
}

func (t *traffic) err() error {
	if first := t.firstErr.Load(); first != nil {
		return *first
	}
	return nil
}

// everyoneReadable opens every contact and compares it with what was put in.
func (c *crm) everyoneReadable(ctx context.Context, when string) error {
	wrong, read := 0, 0
	err := c.eachContact(ctx, func(id string, values map[string]string) error {
		read++
		if p := c.byID[id]; p == nil || !p.sameAs(values) {
			wrong++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := expect("contacts that can be read "+when, len(c.people), read); err != nil {
		return err
	}
	return expectThat(wrong == 0, "every contact as it was written "+when, "%d that differ", wrong)
}

// eachContact opens all contacts, one after the other.
func (c *crm) eachContact(ctx context.Context, yield func(id string, values map[string]string) error) error {
	done := 0
	for page, err := range contactPages(ctx, c.live.db) {
		if err != nil {
			return err
		}
		opened, err := c.open(ctx, page)
		if err != nil {
			return err
		}
		for _, row := range opened {
			values := map[string]string{}
			for name, text := range row.text {
				values[name] = *text
			}
			if err := yield(row.id, values); err != nil {
				return err
			}
		}
		done += len(page)
		c.out.progress("contacts opened,", done, len(c.people))
	}
	return nil
}

// sameAs compares the sealed fields with what was opened.
func (p *person) sameAs(opened map[string]string) bool {
	for _, name := range sealedFields() {
		if p.values[name] != opened[name] {
			return false
		}
	}
	return true
}

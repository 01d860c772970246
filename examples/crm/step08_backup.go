package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/sqlitesource"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

// backUp copies database, attachments and configuration into one snapshot in
// two stores, once a verified copy of the keys covers it, and reads both back
// in full. Then the keys change again: the key version that the snapshot needs
// cannot be destroyed.
func backUp(ctx context.Context, c *crm) error {
	configuration, err := os.MkdirTemp("", "crm-config-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(configuration)
	if err := os.CopyFS(configuration, policyFiles); err != nil { // what a new machine needs besides the data
		return err
	}
	database, err := sqlitesource.New(sqlitesource.Config{
		Name: "db", File: "crm.db", DB: c.live.db, Strip: map[string][]string{"contacts": {"email_index"}}, Staging: c.path("backup"),
	})
	if err != nil {
		return err
	}
	job := backup.Job{
		Name: "nightly", Repositories: c.repos,
		Sources:   []backup.Source{database, backup.Folder("attachments", c.path("live", "attachments")), backup.Folder("config", configuration)},
		Positions: backup.Positions{Keys: c.vault.Position, Ledger: c.live.desk.LedgerHead, Trail: c.live.trail.Checkpoint},
		KeyCopy:   c.vault.KeyCopy(c.path("keycopy")), KeyVersions: c.keyVersionsInUse, App: "examples/crm", Schema: schemaID, Now: c.clock.now,
	}
	if err := c.publish(ctx); err != nil {
		return err
	}
	taken, err := job.RunOnce(ctx)
	if err != nil {
		return err
	}
	c.snapshot, c.snapshots, c.changes = taken.Snapshot, append(c.snapshots, taken.Snapshot), 0
	c.held = map[string]heldRecord{}
	if err := c.eachRecord(ctx, func(key string, r record) error {
		c.held[key] = r.held(c)
		return nil
	}); err != nil {
		return err
	}
	c.out.say("snapshot %s: %d files, %s read, %s new in each of 2 stores", taken.Snapshot[:8], taken.Files, size(taken.Bytes), size(taken.Added))
	if err := c.readBack(ctx); err != nil {
		return err
	}
	if err := c.keepOldKeyCopy(ctx); err != nil {
		return err
	}
	return c.rotateAgain(ctx)
}

// generationsInUse counts what the snapshot's sources hold by key version.
func (c *crm) keyVersionsInUse(ctx context.Context) (map[string]map[uint32]int64, error) {
	counts, err := c.census(ctx)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(counts, func(_ uint32, n int64) bool { return n == 0 })
	return map[string]map[uint32]int64{tenant: counts}, nil
}

// readBack reads every byte of both stores, and compares them.
func (c *crm) readBack(ctx context.Context) error {
	for i, repo := range c.repos {
		report, err := repo.Check(ctx, backup.ReadAll, c.snapshots...)
		if err != nil {
			return err
		}
		c.out.say("store %c read back in full: %d packs, %d blobs, %s, %d problems", 'a'+i, report.Packs, report.Blobs, size(report.Bytes), len(report.Problems))
		if err := expect("problems in the store", 0, len(report.Problems)); err != nil {
			return err
		}
	}
	a, err := folderDigest(c.path("backup", "a"))
	if err != nil {
		return err
	}
	b, err := folderDigest(c.path("backup", "b"))
	if err != nil {
		return err
	}
	c.out.say("both stores hold identical bytes; a verified key copy stands in a place of its own")
	return expect("the bytes of store b", a, b)
}

// folderDigest is one digest over the names and contents of a folder.
func folderDigest(dir string) (string, error) {
	sum := sha256.New()
	fsys := os.DirFS(dir)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data)
		return err
	})
	return fmt.Sprintf("%x", sum.Sum(nil)), err
}

// keepOldKeyCopy plays the attacker who made away with the key copy of this
// day, and with a sealed value of the snapshot; step 9 must make both
// worthless.
func (c *crm) keepOldKeyCopy(ctx context.Context) error {
	if err := c.live.db.QueryRowContext(ctx, `SELECT custom FROM contacts WHERE id = ?`, c.gone.id).Scan(&c.goneValue); err != nil {
		return err
	}
	path, err := keycopy.Newest(c.path("keycopy"))
	if err != nil {
		return err
	}
	c.oldCopy, err = os.ReadFile(path)
	return err
}

// rotateAgain changes the keys after the backup. Destroying the key version
// that the snapshot needs must be refused, naming the snapshot.
func (c *crm) rotateAgain(ctx context.Context) error {
	needed, err := c.activeKeyVersion(ctx)
	if err != nil {
		return err
	}
	if _, err := c.vault.NewKeyVersion(ctx, tenant); err != nil {
		return err
	}
	if err := c.resealAll(ctx); err != nil {
		return err
	}
	if err := c.anchor(ctx); err != nil {
		return err
	}
	if c.settings.mutant == breakKeyVersion {
		return c.vault.DestroyKeyVersion(ctx, tenant, needed, c.holders(false)...)
	}
	err = c.vault.DestroyKeyVersion(ctx, tenant, needed, c.holders(true)...)
	refused, ok := errors.AsType[*jobs.InUseError](err)
	if err := expectThat(ok, "the destruction of a key version that a snapshot needs refused", "%v", err); err != nil {
		return err
	}
	c.out.say("keys changed again; destroying the key version of the snapshot was refused: %s", refused.Where)
	return nil
}

// record is what a database holds of something, opened.
type record struct {
	owner  string // whose it is
	values map[string]string
}

// heldRecord is what the tour remembers of a record, for the comparison after
// the disaster: whose it was, and a digest of its values.
type heldRecord struct {
	owner  string
	shared bool // the note about who is forgotten and another one
	digest [sha256.Size]byte
}

func (r record) held(c *crm) heldRecord {
	text, err := json.Marshal(r.values) // keys in order
	if err != nil {
		panic(err) // strings always have a JSON
	}
	return heldRecord{owner: r.owner, shared: c.note != "" && r.values["text"] == c.note, digest: sha256.Sum256(text)}
}

// eachRecord opens everything about everybody.
func (c *crm) eachRecord(ctx context.Context, yield func(key string, r record) error) error {
	err := c.eachContact(ctx, func(id string, values map[string]string) error { return yield(id, record{id, values}) })
	if err != nil {
		return err
	}
	for _, texts := range []struct {
		table         *encryption.SealedTable
		column, owner string
	}{{c.deals, "subject", "person"}, {c.activities, "body", "key_owner"}} {
		if err := c.eachText(ctx, texts.table, texts.column, texts.owner, yield); err != nil {
			return err
		}
	}
	files, err := c.attachmentFiles(ctx, "")
	if err != nil {
		return err
	}
	for _, f := range files {
		name, content, err := c.readStream(ctx, f)
		if err != nil {
			return err
		}
		if err := yield("attachment/"+f.id, record{f.person, map[string]string{"name": name, "content": string(content)}}); err != nil {
			return err
		}
	}
	return nil
}

// eachText opens the free texts of a table.
func (c *crm) eachText(ctx context.Context, table *encryption.SealedTable, column, owner string, yield func(string, record) error) error {
	for page, err := range pages(ctx, c.live.db, table.Name(), owner, []string{column}) {
		if err != nil {
			return err
		}
		var owners []string
		for _, t := range page {
			owners = append(owners, t.owner)
		}
		reader, err := table.Reader(ctx, tenant, owners...)
		if err != nil {
			return err
		}
		for _, t := range page {
			value, err := reader.Row(t.owner, t.id).Text(ctx, column, t.cells[0])
			if err != nil {
				return err
			}
			if err := yield(table.Name()+"/"+t.id, record{t.owner, map[string]string{"text": value}}); err != nil {
				return err
			}
		}
	}
	return nil
}

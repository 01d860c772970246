package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/localstore"
	"github.com/crmguard/crmguard/backup/sqlitesource"
)

// disaster deletes the live folder and comes back from the snapshot that was
// taken before the erasure. The boot gate stays closed until the blind index
// is rebuilt, the audit trail caught up and the erasure ledger replayed.
func disaster(ctx context.Context, c *crm) error {
	if err := c.live.db.Close(); err != nil {
		return err
	}
	c.live = nil
	if err := os.RemoveAll(c.path("live")); err != nil {
		return err
	}
	if c.settings.mutant == breakLedger {
		if err := os.RemoveAll(c.path("ledger")); err != nil {
			return err
		}
	}
	c.out.say("live/ is deleted: database, attachments, all of it")

	began := time.Now()
	store, err := localstore.Open(c.path("backup", "b"))
	if err != nil {
		return err
	}
	repo, err := backup.Open(ctx, store, c.repositoryConfig())
	if err != nil {
		return err
	}
	staging := c.path("staging")
	restored, err := repo.Restore(ctx, c.snapshot, staging, c.restoreSteps()...)
	if err != nil {
		return err
	}
	if err := c.moveIn(ctx, staging); err != nil {
		return err
	}
	recovery := time.Since(began)
	if len(c.byEmail) == 0 {
		c.partNotShown("disaster", "index", "no e-mail address in the file: there was no blind index to rebuild")
	}
	c.figures["recovery_ms"] = int(recovery.Milliseconds())
	c.out.say("back in service after %s: %d files, %s; boot gate open", duration(recovery), restored.Files, size(restored.Bytes))
	if err := c.compareWithSnapshot(ctx); err != nil {
		return err
	}
	return c.dataLossWindow(ctx, restored.Manifest)
}

// restoreSteps are run in the staging folder, in this order, before anybody
// may read it.
func (c *crm) restoreSteps() []backup.Step {
	steps := []backup.Step{
		sqlitesource.VerifyRows("sqlite", c.vault.ManifestTagger()),
		{Name: "keys stand where the snapshot needs them", Meets: backup.NeedKeys, Run: c.keysCover},
		{Name: "open staging", Run: c.openStaging},
		{Name: "rebuild blind indexes", Meets: backup.NeedIndexes, Run: func(ctx context.Context, _ string) error {
			return c.contacts.RebuildIndexes(c.live.db, tenant)(ctx)
		}},
		{Name: "gate after indexes", Run: c.gateStaysClosed("after the indexes were rebuilt")},
		{Name: "refuse an older log", Run: c.refusesOlderLog},
		{Name: "catch up the audit trail", Meets: backup.NeedTrail, Run: func(ctx context.Context, _ string) error { return c.live.trail.CatchUp(ctx) }},
		{Name: "gate after audit", Run: c.gateStaysClosed("after the audit trail caught up")},
		{Name: "replay the erasure ledger", Meets: backup.NeedLedger, Run: c.replay},
		{Name: "verify row seals", Run: c.verifyRestoredSeals},
		{Name: "boot gate", Run: func(ctx context.Context, _ string) error { return c.bootGate(ctx) }},
	}
	if c.settings.mutant == breakReplay { // a step that says it did its work; without any, Restore refuses
		i := slices.IndexFunc(steps, func(s backup.Step) bool { return s.Meets == backup.NeedLedger })
		steps[i].Run = func(context.Context, string) error { return nil }
	}
	return steps
}

// keysCover proves that the keys at hand are no older than the snapshot.
func (c *crm) keysCover(ctx context.Context, dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, ".crmguard", "manifest.json"))
	if err != nil {
		return err
	}
	m, err := backup.DecodeManifest(ctx, data, c.vault.ManifestTagger())
	if err != nil {
		return err
	}
	return c.vault.KeyCopy(c.path("keycopy"))(ctx, []byte(m.KeyPosition))
}

// openStaging opens the restored database. Its rows equal what the manifest
// says; the gate refuses it all the same.
func (c *crm) openStaging(ctx context.Context, dir string) error {
	db, err := openDatabase(filepath.Join(dir, "db", "crm.db"))
	if err != nil {
		return err
	}
	if c.live, err = c.serve(ctx, dir, db); err != nil {
		return errors.Join(err, db.Close())
	}
	c.out.say("staged: every row equals the manifest's digest; boot gate closed: %s", c.whyClosed(ctx))
	return c.gateStaysClosed("right after the restore")(ctx, dir)
}

// gateStaysClosed wants the boot gate to refuse.
func (c *crm) gateStaysClosed(when string) func(context.Context, string) error {
	return func(ctx context.Context, _ string) error {
		return expectThat(c.bootGate(ctx) != nil, "the boot gate closed "+when, "open")
	}
}

// bootGate is what a server of this CRM asks before it serves: are all
// erasures carried out here, is the audit trail level, is the index whole.
func (c *crm) bootGate(ctx context.Context) error {
	if err := c.live.desk.Ready(ctx); err != nil {
		return err
	}
	status, err := c.live.trail.Progress(ctx)
	if err != nil {
		return err
	}
	if status.Published > status.Size {
		return audit.ErrBehind
	}
	var missing int
	if err := c.live.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM contacts WHERE email IS NOT NULL AND email_index IS NULL`).Scan(&missing); err != nil {
		return err
	}
	if missing > 0 {
		return fmt.Errorf("%d contacts are not in the blind index: rebuild it", missing)
	}
	return nil
}

func (c *crm) whyClosed(ctx context.Context) string {
	if err := c.bootGate(ctx); err != nil {
		return err.Error()
	}
	return "not at all"
}

// refusesOlderLog shows the restored database an older published log, valid in
// itself: only the checkpoint kept elsewhere tells that it is not the newest.
func (c *crm) refusesOlderLog(ctx context.Context, _ string) error {
	dir, err := os.MkdirTemp("", "crm-older-log-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := cutLog(ctx, c, &crimeScene{log: dir}); err != nil {
		return err
	}
	trail, err := c.openTrail(ctx, c.live.db, dir)
	if err != nil {
		return err
	}
	err = trail.CatchUp(ctx)
	return expectThat(errors.Is(err, auditlog.ErrRolledBack), "an older log refused against the kept checkpoint", "%v", err)
}

// replay erases again whoever was erased after the snapshot.
func (c *crm) replay(ctx context.Context, _ string) error {
	replayed, err := c.live.desk.Replay(ctx)
	if err != nil {
		return err
	}
	c.out.say("ledger replayed: %s known, %s found in the restored data and erased again", count(replayed.Entries, "erasure"), count(replayed.Erased, "person"))
	return expect("persons erased again", 1, replayed.Erased)
}

func (c *crm) verifyRestoredSeals(ctx context.Context, _ string) error {
	swept, err := c.sweep(ctx, c.live.db, nil)
	if err != nil {
		return err
	}
	c.roots = swept.Roots
	return expectThat(swept.OK(), "every restored row as it was sealed", "%v", swept.Counts)
}

// moveIn puts the opened staging folder where the CRM lives.
func (c *crm) moveIn(ctx context.Context, staging string) error {
	if err := backup.Opened(staging); err != nil {
		return err
	}
	if err := c.live.db.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.path("live"), 0o700); err != nil {
		return err
	}
	for from, to := range map[string]string{filepath.Join("db", "crm.db"): "crm.db", "attachments": "attachments"} {
		if err := os.Rename(filepath.Join(staging, from), c.path("live", to)); err != nil {
			return err
		}
	}
	if err := settle(c.path("live")); err != nil {
		return err
	}
	if err := os.RemoveAll(staging); err != nil {
		return err
	}
	db, err := openDatabase(c.path("live", "crm.db"))
	if err != nil {
		return err
	}
	if c.live, err = c.serve(ctx, c.path("live"), db); err != nil {
		return err
	}
	if err := c.bootGate(ctx); err != nil {
		return err
	}
	return c.anchor(ctx)
}

// compareWithSnapshot wants everyone but the erased person exactly as they
// were when the snapshot was taken, and the erased person gone.
func (c *crm) compareWithSnapshot(ctx context.Context) error {
	wanted, shared := 0, 0
	for _, was := range c.held {
		switch {
		case was.shared:
			shared++
		case was.owner != c.gone.id:
			wanted++
		}
	}
	equal := 0
	err := c.eachRecord(ctx, func(key string, r record) error {
		if r.owner == c.gone.id {
			return expectThat(false, "nothing of the erased person after the replay", "one of their records")
		}
		was, known := c.held[key]
		if known && !was.shared && was == r.held(c) {
			equal++
		}
		if p := c.byID[key]; p != nil {
			for _, name := range sealedFields() {
				delete(p.values, name)
			}
			maps.Copy(p.values, r.values)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.figures["equal"] = equal
	c.out.say("%s records of everyone else equal what was held at snapshot time, %d differ; the erased person is gone", thousands(equal), wanted-equal)
	return expect("restored records that differ", 0, wanted-equal)
}

// dataLossWindow lists what was done after the snapshot: the audit trail knows
// although the database forgot.
func (c *crm) dataLossWindow(ctx context.Context, m *backup.Manifest) error {
	size, err := checkpointSize([]byte(m.AuditCheckpoint))
	if err != nil {
		return err
	}
	lost := 0
	var first, last time.Time
	for entry, err := range auditlog.Entries(ctx, os.DirFS(c.path("audit", "log"))) {
		if err != nil {
			return err
		}
		leaf, err := auditlog.ParseLeaf(entry.Leaf)
		if err != nil {
			return err
		}
		if entry.Index < size || leaf.Kind != auditlog.KindEvent || leaf.Action != "contact.update" {
			continue
		}
		if first.IsZero() {
			first = leaf.At
		}
		last = leaf.At
		lost++
	}
	c.figures["lost_changes"] = lost
	c.out.say("measured data loss: %d changes of contacts, made in %s after the snapshot; the audit trail names each", lost, duration(last.Sub(first)))
	return expect("changes made after the snapshot", c.changes, lost)
}

// checkpointSize reads the size line of a checkpoint (C2SP tlog-checkpoint).
func checkpointSize(checkpoint []byte) (int64, error) {
	lines := bytes.Split(checkpoint, []byte("\n"))
	if len(lines) < 3 {
		return 0, errors.New("the manifest names no checkpoint")
	}
	var size int64
	_, err := fmt.Sscan(string(lines[1]), &size)
	return size, err
}

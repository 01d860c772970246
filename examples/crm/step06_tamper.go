package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/integrity"
)

// tamper attacks copies of the database and of the published log in nine ways,
// and checks each time that the attack is found, and by which means. First the
// untouched originals must come out clean: a check that always cries proves
// nothing.
func tamper(ctx context.Context, c *crm) error {
	if err := c.plantMutant(ctx); err != nil {
		return err
	}
	if err := c.cleanBaseline(ctx); err != nil {
		return err
	}
	c.out.say("untouched: every row seal, every root, every entry of the log in order")
	caught := 0
	for _, attack := range attacks() {
		found, err := c.try(ctx, attack)
		if err != nil {
			return fmt.Errorf("%s: %w", attack.name, err)
		}
		if !found {
			return expectThat(false, attack.name+" found by "+attack.by, "no or another finding")
		}
		caught++
		c.out.say("  %s: found by %s", attack.name, attack.by)
	}
	c.figures["attacks"], c.figures["caught"] = len(attacks()), caught
	return expect("attacks found", len(attacks()), caught)
}

// cleanBaseline checks the originals with the very checks that must find the
// attacks.
func (c *crm) cleanBaseline(ctx context.Context) error {
	swept, err := c.sweep(ctx, c.live.db, c.roots)
	if err != nil {
		return err
	}
	if err := expectThat(swept.OK(), "every row as sealed and anchored", "%v", swept.Counts); err != nil {
		return err
	}
	report, err := auditlog.VerifyLog(ctx, os.DirFS(c.path("audit", "log")), c.trust(ctx))
	if err != nil {
		return err
	}
	if err := expect("verdict on the published log", auditlog.OK, report.Verdict); err != nil {
		return err
	}
	kept, err := c.keptCheckpoint(ctx)
	if err != nil {
		return err
	}
	stored, err := c.live.trail.VerifyStore(ctx, kept)
	if err != nil {
		return err
	}
	return expect("verdict on the audit tables", auditlog.OK, stored.Verdict)
}

// crimeScene is a copy of database and published log.
type crimeScene struct {
	db  *sql.DB
	log string // folder
}

// attack is one way to tamper, and the check that must find it.
type attack struct {
	name  string
	by    string
	plant func(ctx context.Context, c *crm, s *crimeScene) error
	found func(ctx context.Context, c *crm, s *crimeScene) (bool, error)
}

func attacks() []attack {
	return []attack{
		{"a contact changed behind the application's back", "its seal", changeARow, sealBroken},
		{"an old row put back with its old seal", "the anchored roots, and only by them", oldRowBack, onlyRootsDiffer},
		{"a contact deleted", "the anchored roots, and only by them", deleteARow, onlyRootsDiffer},
		{"an entry changed in the published log", "the tree", logAttack(changeEntry), logIs(auditlog.Tampered, auditlog.Tampered)},
		{"an entry dropped from it", "the tree", logAttack(dropEntry), logIs(auditlog.Tampered, auditlog.Tampered)},
		{"two entries reordered in it", "the tree", logAttack(swapEntries), logIs(auditlog.Tampered, auditlog.Tampered)},
		{"an event altered in the database", "comparison with the published log", alterEvent, storeTampered},
		{"the newest entries cut off", "the kept checkpoint, and only by it", cutLog, logIs(auditlog.Unanchored, auditlog.RolledBack)},
		{"log, database and checkpoint rewritten with the real key", "the kept checkpoint, and only by it", rewriteEverything, logIs(auditlog.Unanchored, auditlog.Forked)},
	}
}

// try plants an attack in fresh copies and asks its check.
func (c *crm) try(ctx context.Context, a attack) (bool, error) {
	dir, err := os.MkdirTemp("", "crm-tamper-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if _, err := c.live.db.ExecContext(ctx, `VACUUM INTO ?`, filepath.Join(dir, "crm.db")); err != nil {
		return false, err
	}
	scene := &crimeScene{log: filepath.Join(dir, "log")}
	if err := os.CopyFS(scene.log, os.DirFS(c.path("audit", "log"))); err != nil {
		return false, err
	}
	if scene.db, err = openDatabase(filepath.Join(dir, "crm.db")); err != nil {
		return false, err
	}
	defer scene.db.Close()
	if err := a.plant(ctx, c, scene); err != nil {
		return false, err
	}
	return a.found(ctx, c, scene)
}

// plantMutant does to the originals what an attack does to copies, when the
// run was started with -break: the baseline must notice.
func (c *crm) plantMutant(ctx context.Context) error {
	original := &crimeScene{db: c.live.db, log: c.path("audit", "log")}
	switch c.settings.mutant {
	case breakRow:
		return changeARow(ctx, c, original)
	case breakOldRow:
		return oldRowBack(ctx, c, original)
	case breakLogDrop:
		return editEntries(original.log, dropEntry)
	case breakLogReorder:
		return editEntries(original.log, swapEntries)
	case breakLogCut:
		return cutLog(ctx, c, original)
	}
	return nil
}

// changeARow gives a contact the sealed city of another one.
func changeARow(ctx context.Context, c *crm, s *crimeScene) error {
	_, err := s.db.ExecContext(ctx, `UPDATE contacts SET region = CASE region WHEN 'west' THEN 'east' ELSE 'west' END WHERE id = ?`, c.people[1].id)
	return err
}

func deleteARow(ctx context.Context, c *crm, s *crimeScene) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM contacts WHERE id = ?`, c.people[1].id)
	return err
}

// oldRowBack puts the first version of a contact back, seal and all.
func oldRowBack(ctx context.Context, c *crm, s *crimeScene) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `UPDATE contacts SET version = ? WHERE id = ?`, c.oldRow.version-1, c.oldRow.id); err != nil {
		return err
	}
	if err := c.oldRow.store(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func sealBroken(ctx context.Context, c *crm, s *crimeScene) (bool, error) {
	swept, err := c.sweep(ctx, s.db, nil)
	return swept.Counts[integrity.Tampered] == 1, err
}

// onlyRootsDiffer wants every seal to hold, and the roots to differ.
func onlyRootsDiffer(ctx context.Context, c *crm, s *crimeScene) (bool, error) {
	seals, err := c.sweep(ctx, s.db, nil)
	if err != nil {
		return false, err
	}
	roots, err := c.sweep(ctx, s.db, c.roots)
	return seals.OK() && roots.Counts[integrity.BucketChanged] == 1, err
}

func logAttack(edit func([][]byte) [][]byte) func(context.Context, *crm, *crimeScene) error {
	return func(_ context.Context, _ *crm, s *crimeScene) error { return editEntries(s.log, edit) }
}

func changeEntry(entries [][]byte) [][]byte {
	entries[1][len(entries[1])/2] ^= 1
	return entries
}

func dropEntry(entries [][]byte) [][]byte { return slices.Delete(entries, 1, 2) }

func swapEntries(entries [][]byte) [][]byte {
	entries[1], entries[2] = entries[2], entries[1]
	return entries
}

// editEntries rewrites the first bundle of entries of a published log: a
// 2-byte length and the entry, one after the other (C2SP tlog-tiles).
func editEntries(log string, edit func([][]byte) [][]byte) error {
	bundles, err := filepath.Glob(filepath.Join(log, "tile", "entries", "000*"))
	if err != nil || len(bundles) == 0 {
		return errors.Join(err, errors.New("the log has no entries"))
	}
	for _, bundle := range bundles {
		if info, err := os.Stat(bundle); err != nil || info.IsDir() { // 000.p: the first bundle is not full yet
			if bundle, err = fullest(bundle); err != nil {
				return err
			}
		}
		data, err := os.ReadFile(bundle)
		if err != nil {
			return err
		}
		var entries [][]byte
		for len(data) >= 2 {
			n := int(binary.BigEndian.Uint16(data))
			entries, data = append(entries, slices.Clone(data[2:2+n])), data[2+n:]
		}
		var out []byte
		for _, entry := range edit(entries) {
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(entry))), entry...)
		}
		if err := overwrite(bundle, out); err != nil {
			return err
		}
	}
	return nil
}

// fullest is the partial bundle with the most entries: their number is its
// name, and 100 comes after 99.
func fullest(dir string) (string, error) {
	partial, err := os.ReadDir(dir)
	most := -1
	for _, p := range partial {
		if n, err := strconv.Atoi(p.Name()); err == nil && n > most {
			most = n
		}
	}
	if most < 0 {
		return "", errors.Join(err, errors.New("the log has an empty bundle"))
	}
	return filepath.Join(dir, strconv.Itoa(most)), nil
}

// overwrite replaces a file that may be read-only.
func overwrite(path string, data []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// logIs wants one verdict from the log alone, and another one once the kept
// checkpoint is held against it.
func logIs(alone, against auditlog.Verdict) func(context.Context, *crm, *crimeScene) (bool, error) {
	return func(ctx context.Context, c *crm, s *crimeScene) (bool, error) {
		byItself, err := auditlog.VerifyLog(ctx, os.DirFS(s.log), auditlog.Trust{Key: c.logKey})
		if err != nil {
			return false, err
		}
		withKept, err := auditlog.VerifyLog(ctx, os.DirFS(s.log), c.trust(ctx))
		return byItself.Verdict == alone && withKept.Verdict == against, err
	}
}

// alterEvent lets another user have done it.
func alterEvent(ctx context.Context, _ *crm, s *crimeScene) error {
	const actor = `'"actor":"u-sales-1"'`
	done, err := s.db.ExecContext(ctx, `UPDATE crmguard_audit_entries SET leaf = CAST(REPLACE(CAST(leaf AS TEXT), `+actor+`, '"actor":"u-sales-2"') AS BLOB)
		WHERE idx = (SELECT MAX(idx) FROM crmguard_audit_entries WHERE INSTR(CAST(leaf AS TEXT), `+actor+`) > 0)`)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("%d events altered: %w", n, err)
	}
	return nil
}

func storeTampered(ctx context.Context, c *crm, s *crimeScene) (bool, error) {
	trail, err := c.openTrail(ctx, s.db, s.log)
	if err != nil {
		return false, err
	}
	kept, err := c.keptCheckpoint(ctx)
	if err != nil {
		return false, err
	}
	report, err := trail.VerifyStore(ctx, kept)
	return report.Verdict == auditlog.Tampered && report.Log.Verdict == auditlog.OK, err
}

// cutLog puts an older state of the published log back, which is valid in
// itself.
func cutLog(_ context.Context, c *crm, s *crimeScene) error {
	if err := os.RemoveAll(s.log); err != nil {
		return err
	}
	for name, data := range c.olderLog {
		path := filepath.Join(s.log, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// rewriteEverything is the attack of whoever owns the host: with the real
// signing key a whole new history is written, of the same length, in which
// somebody else did it all.
func rewriteEverything(ctx context.Context, c *crm, s *crimeScene) error {
	var size int
	if err := s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM crmguard_audit_entries`).Scan(&size); err != nil {
		return err
	}
	for _, table := range []string{"log", "events", "entries", "found", "openings", "persons", "surrogates", "heads", "tiles", "state"} {
		if _, err := s.db.ExecContext(ctx, `DELETE FROM crmguard_audit_`+table); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.log); err != nil {
		return err
	}
	store, err := sqltrail.Open(ctx, s.db)
	if err != nil {
		return err
	}
	sink, err := c.sink(s.log)
	if err != nil {
		return err
	}
	trail, err := audit.Open(ctx, store, audit.Config{
		Name: logName, Tenant: tenant, Key: c.signKey, Sink: sink, Keys: c.vault.AuditKeys(), Now: c.clock.now,
	})
	if err != nil {
		return err
	}
	if err := trail.Prepare(ctx, tenant); err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for range size {
		if _, err := trail.Record(ctx, tx, audit.Event{Tenant: tenant, Actor: "u-nobody", Action: "contact.update"}); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	_, err = trail.RunOnce(ctx)
	return err
}

// readTree reads a folder into memory.
func readTree(dir string) (map[string][]byte, error) {
	out := map[string][]byte{}
	fsys := os.DirFS(dir)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[name], err = fs.ReadFile(fsys, name)
		return err
	})
	return out, err
}

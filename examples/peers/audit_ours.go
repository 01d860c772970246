package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/encryption"
)

// All that the contests call of package audit, and all that they know of its
// tables, stands in this file; how tables are written in bulk, in audit_bulk.go.

const logName = "peers.crm.example/audit"

// An ourLog is a trail, and what is needed to write its tables in bulk as it would
// write them one by one.
type ourLog struct {
	db    *sql.DB
	trail *audit.Trail
	keys  audit.Keys
	sign  note.Signer
	key   string // what verifiers are given
	dir   string // the published folder
}

// openLog opens a trail over db that publishes into the folder log below dir.
func openLog(ctx context.Context, vault *encryption.Vault, db *sql.DB, dir string) (*ourLog, error) {
	if err := sqltrail.Install(ctx, db); err != nil {
		return nil, err
	}
	store, err := sqltrail.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	secret, verifier, err := audit.GenerateKey(logName, 0)
	if err != nil {
		return nil, err
	}
	l := &ourLog{db: db, keys: vault.AuditKeys(), key: verifier, dir: filepath.Join(dir, "log")}
	if l.sign, err = note.NewSigner(secret); err != nil {
		return nil, err
	}
	sink, err := tilesink.Open(l.dir)
	if err != nil {
		return nil, err
	}
	l.trail, err = audit.Open(ctx, store, audit.Config{
		Name: logName, Tenant: tenant, Key: secret, Sink: sink, Keys: l.keys,
		Fields: map[string][]string{"deal": {"stage"}},
	})
	return l, err
}

const dealAction = "deal.update"

// dealEvent is the event of every contest: about one person, with one field.
func dealEvent(deal string) audit.Event {
	return audit.Event{
		Tenant: tenant, Actor: actorID(7), Action: dealAction, Object: audit.Ref("deal", deal), Persons: []string{person},
		Changes: []audit.Change{{Path: "stage", Who: person, Old: "lead", New: "won"}},
	}
}

// prepare is what comes before BEGIN.
func (l *ourLog) prepare(ctx context.Context) error { return l.trail.Prepare(ctx, tenant, person) }

// record is what a sale pays for.
func (l *ourLog) record(ctx context.Context, tx *sql.Tx, deal string) error {
	_, err := l.trail.Record(ctx, tx, dealEvent(deal))
	return err
}

// An idleTx is a transaction that does nothing.
type idleTx struct{}

func (idleTx) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return driver.RowsAffected(1), nil
}

// Commit is what a transaction is told by; nobody calls it.
func (idleTx) Commit() error { return nil }

// recordAllocs is how often one Record allocates beside the database: the
// transaction does nothing. It is a whole number, as testing.AllocsPerRun has it,
// since the mean counts what the process allocates by itself, too.
func (l *ourLog) recordAllocs(ctx context.Context) (float64, error) {
	const runs = 1000
	if err := l.prepare(ctx); err != nil {
		return 0, err
	}
	event := dealEvent(dealID(0))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var before, after runtime.MemStats
	for i := range 2 * runs {
		if i == runs {
			runtime.ReadMemStats(&before)
		}
		if _, err := l.trail.Record(ctx, idleTx{}, event); err != nil {
			return 0, err
		}
	}
	runtime.ReadMemStats(&after)
	return float64((after.Mallocs - before.Mallocs) / runs), nil
}

// file gives all that waits its place, signs, and goes on until all of it is found
// by questions: one pass files the indexes of some thousands only. size is that of
// the signed log.
func (l *ourLog) file(ctx context.Context) (size int64, err error) {
	for behind := int64(1); behind > 0; {
		r, err := l.trail.RunOnce(ctx)
		if err == nil && len(r.Refused) > 0 {
			err = fmt.Errorf("%d events were refused: %s", len(r.Refused), r.Refused[0].What)
		}
		if err == nil {
			behind, err = one[int64](ctx, l.db, `SELECT size - found FROM crmguard_audit_state`)
		}
		if err != nil {
			return 0, err
		}
		size = r.Published
	}
	return size, nil
}

// size is how many entries the log has.
func (l *ourLog) size(ctx context.Context) (int64, error) {
	return one[int64](ctx, l.db, `SELECT COALESCE(MAX(size), 0) FROM crmguard_audit_state`)
}

// signed waits until the published checkpoint covers entries. What is done behind
// that ends in all, and may end before.
func (l *ourLog) signed(entries int64, all chan error) error {
	for ended := false; ; {
		data, err := os.ReadFile(filepath.Join(l.dir, "checkpoint"))
		if err == nil {
			var tree tlog.Tree
			if tree, err = checkpointOf(data, l.key); err == nil && tree.N >= entries {
				return nil
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if ended {
			return fmt.Errorf("the checkpoint does not cover %d entries", entries)
		}
		select {
		case err := <-all:
			all <- err // for who waits for the rest
			ended = true
		case <-time.After(time.Millisecond):
		}
	}
}

// waiting is how many events have no place yet.
func (l *ourLog) waiting(ctx context.Context) (int, error) {
	return one[int](ctx, l.db, `SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`)
}

// verify reads the published log; every leaf is parsed.
func verify(ctx context.Context, dir, key string) (entries int64, root [32]byte, err error) {
	r, err := auditlog.VerifyLog(ctx, os.DirFS(dir), auditlog.Trust{Key: key})
	return sound(r, err)
}

// verifyHashes reads no more of the entries than it takes to be sure of the root.
func verifyHashes(ctx context.Context, dir, key string) (entries int64, root [32]byte, err error) {
	r, err := auditlog.VerifyHashes(ctx, os.DirFS(dir), auditlog.Trust{Key: key})
	return sound(r, err)
}

func sound(r auditlog.Report, err error) (entries int64, root [32]byte, _ error) {
	if err == nil && r.Verdict != auditlog.OK && r.Verdict != auditlog.Unanchored {
		err = fmt.Errorf("the log is %s: %v", r.Verdict, r.Faults)
	}
	return r.Verified, r.Root, err
}

// A screen is one page that somebody looks at: the newest events of a record or of
// an actor up to a time.
type screen struct {
	deal, actor string // one of them
	at          time.Time
}

// ask answers a question, with the values opened.
func (l *ourLog) ask(ctx context.Context, q screen) (entries int, err error) {
	filter := audit.Filter{Tenant: tenant, Actor: q.actor, To: q.at.Add(time.Microsecond)}
	if q.deal != "" {
		filter.Object = audit.Ref("deal", q.deal)
	}
	found, err := l.trail.Find(ctx, filter, audit.Page{Size: pageSize})
	if err != nil {
		return 0, err
	}
	for _, e := range found.Entries {
		if len(e.Changes) != 1 || e.Changes[0].Verdict != audit.OpeningOK {
			return 0, fmt.Errorf("entry %d does not open", e.Index)
		}
	}
	if found.Behind > 0 || found.Damaged > 0 {
		return 0, fmt.Errorf("%d entries were not looked at, %d are damaged", found.Behind, found.Damaged)
	}
	return len(found.Entries), nil
}

// recordedBytes is how many bytes of columns the recorded events have, eight for
// the number of a row in it.
const recordedBytes = `SELECT COALESCE(SUM(OCTET_LENGTH(id) + 8 + OCTET_LENGTH(retry) + OCTET_LENGTH(body)), 0) FROM crmguard_audit_events`

// recordedEvents leaves out what the trail records by itself, which nobody retries.
const recordedEvents = `SELECT COUNT(*) FROM crmguard_audit_events WHERE OCTET_LENGTH(retry) = 32`

// tableBytes is what PostgreSQL has on its disk for the trail, with indexes.
const tableBytes = `SELECT SUM(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'crmguard_audit_%'`

// vacuum brings the tables into the state that a calm hour leaves.
const vacuum = `VACUUM (ANALYZE) crmguard_audit_events, crmguard_audit_entries, crmguard_audit_found, crmguard_audit_openings, crmguard_audit_persons`

// deadRows leaves rows that waited and are gone, as an open transaction sees them:
// those of a queue that others have filed meanwhile.
var deadRows = []string{
	`INSERT INTO crmguard_audit_events (id, log, retry, body) SELECT int8send(i), 2, '', '' FROM generate_series(1, %d) AS i`,
	`DELETE FROM crmguard_audit_events WHERE log = 2`,
}

// firstLeaf is the first entry of the published folder that is an event.
func (l *ourLog) firstLeaf(ctx context.Context) ([]byte, auditlog.Leaf, error) {
	for e, err := range auditlog.Entries(ctx, os.DirFS(l.dir)) {
		if err != nil {
			return nil, auditlog.Leaf{}, err
		}
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		if err != nil || leaf.Kind == auditlog.KindEvent {
			return e.Leaf, leaf, err
		}
	}
	return nil, auditlog.Leaf{}, errors.New("no event was published")
}

func actorID(n int) string { return fmt.Sprintf("u-%05d", n) }

func dealID(n int) string { return fmt.Sprintf("deal-%06d", n) }

// leafTime is how a leaf spells a time.
func leafTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
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
// tables, stands in this file.

const logName = "peers.crm.example/audit"

// An ourLog is a trail, and what is needed to write its tables in bulk as it would
// write them one by one.
type ourLog struct {
	db    *sql.DB
	trail *audit.Trail
	seal  audit.Sealer
	tag   audit.Tagger
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
	sealer := vault.PersonSealer("audit")
	l := &ourLog{db: db, seal: sealer, tag: vault.Tagger("log"), key: verifier, dir: filepath.Join(dir, "log")}
	if l.sign, err = note.NewSigner(secret); err != nil {
		return nil, err
	}
	sink, err := tilesink.Open(l.dir)
	if err != nil {
		return nil, err
	}
	l.trail, err = audit.Open(ctx, store, audit.Config{
		Name: logName, Tenant: tenant, Sign: l.sign, Key: verifier, Sink: sink,
		Seal: sealer, Tag: l.tag, Prepare: sealer.Ensure,
		Fields: map[string][]string{"deal": {"stage"}},
	})
	return l, err
}

// dealEvent is the event of every contest: about one person, with one field.
func dealEvent(deal string) audit.Event {
	return audit.Event{
		Tenant: tenant, Actor: actorID(7), Action: "deal.update", Object: audit.Ref("deal", deal), Persons: []string{person},
		Changes: []audit.Change{{Path: "stage", Who: person, Old: "lead", New: "won"}},
	}
}

// prepare is what comes before BEGIN.
func (l *ourLog) prepare(ctx context.Context) error { return l.trail.Prepare(ctx, tenant, person) }

// record is what a sale pays for.
func (l *ourLog) record(ctx context.Context, tx *sql.Tx, deal string) error {
	return l.trail.Record(ctx, tx, dealEvent(deal))
}

// recordAllocs is how often one Record allocates. What the database's driver
// allocates is in it, since a transaction that does nothing cannot answer the
// questions that Record asks.
func (l *ourLog) recordAllocs(ctx context.Context) (float64, error) {
	const runs = 100
	var allocs float64
	err := errors.Join(l.prepare(ctx), within(ctx, l.db, func(tx *sql.Tx) error {
		var before, after runtime.MemStats
		for i := range 2 * runs {
			if i == runs {
				runtime.ReadMemStats(&before)
			}
			if err := l.record(ctx, tx, dealID(i)); err != nil {
				return err
			}
		}
		runtime.ReadMemStats(&after)
		allocs = float64(after.Mallocs-before.Mallocs) / runs
		return nil
	}))
	return allocs, err
}

// file gives all that waits its place and signs; size is that of the signed log.
func (l *ourLog) file(ctx context.Context) (size int64, err error) {
	r, err := l.trail.RunOnce(ctx)
	if err == nil && len(r.Refused) > 0 {
		err = fmt.Errorf("%d events were refused: %s", len(r.Refused), r.Refused[0].What)
	}
	return r.Published, err
}

// waiting is how many events have no place yet.
func (l *ourLog) waiting(ctx context.Context) (int, error) {
	return one[int](ctx, l.db, `SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`)
}

// verify reads the published log; every leaf is parsed.
func verify(ctx context.Context, dir, key string) (entries int64, root [32]byte, err error) {
	return judged(auditlog.VerifyLog(ctx, os.DirFS(dir), auditlog.Trust{Key: key}))
}

// verifyHashes is the same with as little as it takes to be sure of the root.
func verifyHashes(ctx context.Context, dir, key string) (entries int64, root [32]byte, err error) {
	return judged(auditlog.VerifyHashes(ctx, os.DirFS(dir), auditlog.Trust{Key: key}))
}

func judged(r auditlog.Report, err error) (int64, [32]byte, error) {
	if err == nil && r.Verdict != auditlog.OK && r.Verdict != auditlog.Unanchored {
		err = fmt.Errorf("the log is %s: %v", r.Verdict, r.Faults)
	}
	return r.Verified, r.Root, err
}

// A screen is one page that somebody looks at: the newest events of a record or of
// an actor up to an entry.
type screen struct {
	deal, actor string // one of them
	entry       int64
	at          time.Time // when it was recorded
}

// ask answers a question, with the values opened.
func (l *ourLog) ask(ctx context.Context, q screen) (entries int, err error) {
	if q.actor != "" {
		return l.askActor(ctx, q)
	}
	for e, err := range l.trail.History(ctx, tenant, audit.Ref("deal", q.deal), audit.Page{Size: pageSize, Before: q.entry + 2}) { // cursors begin at 1, and are not of the page
		if err != nil {
			return 0, err
		}
		if len(e.Changes) != 1 || e.Changes[0].Verdict != audit.OpeningOK {
			return 0, fmt.Errorf("entry %d does not open", e.Index)
		}
		entries++
	}
	return entries, nil
}

// askActor reads the whole published log: there is no other way yet.
func (l *ourLog) askActor(ctx context.Context, q screen) (entries int, err error) {
	for e, err := range auditlog.Entries(ctx, os.DirFS(l.dir)) {
		if err != nil {
			return 0, err
		}
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		if err != nil {
			return 0, err
		}
		if leaf.At.After(q.at) {
			break
		}
		if leaf.Actor == q.actor {
			entries++
		}
	}
	return min(entries, pageSize), nil
}

// recordedBytes is how many bytes of columns one recorded event adds; made after
// another one, since the first one about a person makes a surrogate.
const recordedBytes = `SELECT
	(SELECT COALESCE(SUM(OCTET_LENGTH(id) + OCTET_LENGTH(tenant) + OCTET_LENGTH(kind) + OCTET_LENGTH(object_kind) + OCTET_LENGTH(object_id) + 8 + OCTET_LENGTH(leaf) + OCTET_LENGTH(tag) + OCTET_LENGTH(retry)), 0) FROM crmguard_audit_events) +
	(SELECT COALESCE(SUM(OCTET_LENGTH(event) + OCTET_LENGTH(owner) + OCTET_LENGTH(tenant) + OCTET_LENGTH(sealed)), 0) FROM crmguard_audit_openings) +
	(SELECT COALESCE(SUM(OCTET_LENGTH(tenant) + OCTET_LENGTH(surrogate) + OCTET_LENGTH(event)), 0) FROM crmguard_audit_persons)`

const recordedEvents = `SELECT COUNT(*) FROM crmguard_audit_events WHERE kind = 'event'`

// tableBytes is what PostgreSQL has on its disk for the trail, with indexes.
const tableBytes = `SELECT SUM(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'crmguard_audit_%'`

// vacuum brings the tables into the state that a calm hour leaves.
const vacuum = `VACUUM (ANALYZE) crmguard_audit_events, crmguard_audit_openings, crmguard_audit_persons`

// deadRows leaves rows that waited and are gone, as an open transaction sees them:
// those of a queue that others have filed meanwhile.
var deadRows = []string{
	`INSERT INTO crmguard_audit_events (id, tenant, kind, object_kind, object_id, recorded, leaf, tag) SELECT 'gone-' || i, 'gone', 'event', '', '', 0, '', '' FROM generate_series(1, %d) AS i`,
	`DELETE FROM crmguard_audit_events WHERE tenant = 'gone'`,
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

// From here on tables are written in bulk, by the formats document alone.

// name writes surrogates of persons.
func (l *ourLog) name(ctx context.Context, persons, surrogates []string) error {
	var rows [][]any
	for i, who := range persons {
		rows = append(rows, []any{tenant, who, surrogates[i]})
	}
	return copyRows(ctx, l.db, "crmguard_audit_surrogates", []string{"tenant", "person", "surrogate"}, rows)
}

// queue writes what Record writes. The tag of a retry is a tag, of no event.
func (l *ourLog) queue(ctx context.Context, events []pressed) error {
	return l.write(ctx, events, func(_ int, e pressed) ([]any, error) {
		tag, err := l.tag.Tag(ctx, tenant, append(lps("crmguard/audit/queue/v1", tenant), e.leaf...))
		if err != nil {
			return nil, err
		}
		retry, err := l.tag.Tag(ctx, tenant, []byte(e.id))
		return []any{tag, retry, nil, nil}, err
	})
}

// filed writes events that have their places a day ago, the first one at first.
func (l *ourLog) filed(ctx context.Context, events []pressed, first int64) error {
	return l.write(ctx, events, func(i int, e pressed) ([]any, error) {
		return []any{[]byte{}, nil, first + int64(i), e.at.UnixMicro()}, nil
	})
}

func (l *ourLog) write(ctx context.Context, events []pressed, more func(i int, e pressed) ([]any, error)) error {
	rows, persons, openings := make([][]any, len(events)), make([][]any, len(events)), make([][]any, len(events))
	for i, e := range events {
		rest, err := more(i, e)
		if err != nil {
			return err
		}
		rows[i] = append([]any{e.id, tenant, auditlog.KindEvent, "deal", e.deal, e.at.UnixMicro(), e.leaf}, rest...)
		persons[i] = []any{tenant, e.surrogate, e.id}
		openings[i] = []any{e.id, e.surrogate, tenant, e.sealed}
	}
	return errors.Join(
		copyRows(ctx, l.db, "crmguard_audit_events", []string{"id", "tenant", "kind", "object_kind", "object_id", "recorded", "leaf", "tag", "retry", "idx", "sequenced"}, rows),
		copyRows(ctx, l.db, "crmguard_audit_persons", []string{"tenant", "surrogate", "event"}, persons),
		copyRows(ctx, l.db, "crmguard_audit_openings", []string{"event", "owner", "tenant", "sealed"}, openings),
	)
}

// grown writes the tree of a log whose entries and folder are there.
func (l *ourLog) grown(ctx context.Context, tree tlog.Tree, tiles []tileData) error {
	var rows [][]any
	for _, t := range tiles {
		rows = append(rows, []any{int64(t.tile.L), t.tile.N, t.data})
	}
	if err := copyRows(ctx, l.db, "crmguard_audit_tiles", []string{"level", "n", "data"}, rows); err != nil {
		return err
	}
	data := append(lps("crmguard/audit/state/v1", l.trail.Origin()), make([]byte, 0, 64)...)
	data = binary.BigEndian.AppendUint64(data, uint64(tree.N))
	data = append(data, tree.Hash[:]...)
	for _, n := range []int64{tree.N, 0, 0} { // published, and no beat yet
		data = binary.BigEndian.AppendUint64(data, uint64(n))
	}
	tag, err := l.tag.Tag(ctx, tenant, data)
	if err != nil {
		return err
	}
	_, err = l.db.ExecContext(ctx, `UPDATE crmguard_audit_state SET size = $1, root = $2, published = $1, tag = $3 WHERE id = 1`, tree.N, tree.Hash[:], tag)
	return err
}

// opening commits to both values of the one field, and seals what opens them.
func (l *ourLog) opening(ctx context.Context, id [16]byte, who string) (before, after string, sealed []byte, err error) {
	seed := randomBytes(32)
	commit := func(side byte, value string) string {
		mac := hmac.New(sha256.New, seed)
		mac.Write(append(lps("crmguard/audit/salt/v1", "stage"), side))
		data := mac.Sum(lps("crmguard/audit/commit/v1"))
		data = append(data, lps(string(id[:]), "stage")...)
		data = append(data, side, 2) // text
		sum := sha256.Sum256(appendLP(data, value))
		return base64url(sum[:])
	}
	plain := fmt.Appendf(nil, `{"fields":[["stage",0,2,%q],["stage",1,2,%q]],"seed":%q,"v":1}`, base64url([]byte("lead")), base64url([]byte("won")), base64url(seed))
	plain = append(plain, bytes.Repeat([]byte{' '}, (256-len(plain)%256)%256)...)
	sealed, err = l.seal.Seal(ctx, tenant, who, plain, lps("crmguard/opening/v1", string(id[:])))
	return commit(0, "lead"), commit(1, "won"), sealed, err
}

// lps is each of them behind its length.
func lps(parts ...string) (out []byte) {
	for _, part := range parts {
		out = appendLP(out, part)
	}
	return out
}

func base64url(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func actorID(n int) string { return fmt.Sprintf("u-%05d", n) }

func dealID(n int) string { return fmt.Sprintf("deal-%06d", n) }

// leafTime is how a leaf spells a time.
func leafTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

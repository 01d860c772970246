package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// The tables of a trail are written in bulk by the formats document: what Record
// and the sequencer would have written one by one.

// A namedPerson is a person as a log knows them.
type namedPerson struct {
	surrogate string // as in a leaf
	owner     [16]byte
	content   [32]byte // what the openings are sealed under
}

// name lets the trail draw the surrogates of persons, and opens their heads.
func (l *ourLog) name(ctx context.Context, persons []string) ([]namedPerson, error) {
	if err := l.trail.Prepare(ctx, tenant, persons...); err != nil {
		return nil, err
	}
	var out []namedPerson
	for _, person := range persons {
		var surrogate, sealed []byte
		if err := l.db.QueryRowContext(ctx, `SELECT surrogate, head FROM crmguard_audit_surrogates WHERE tenant = $1 AND person = $2`, tenant, person).Scan(&surrogate, &sealed); err != nil {
			return nil, err
		}
		if len(surrogate) != 16 {
			return nil, fmt.Errorf("a surrogate of %d bytes", len(surrogate))
		}
		n := namedPerson{surrogate: "s:" + base64url(surrogate), owner: [16]byte(surrogate)}
		plain, err := l.keys.Open(ctx, tenant, person, sealed, auditlog.HeadData(logName, n.owner))
		if err != nil {
			return nil, err
		}
		head, err := auditlog.ParseHead(plain)
		if err != nil {
			return nil, err
		}
		n.content = head.Content
		out = append(out, n)
	}
	return out, nil
}

// queue writes what Record writes. The tag of a retry is random, of no event.
func (l *ourLog) queue(ctx context.Context, events []pressed) error {
	ids, keys, err := l.keys.MACKeys(ctx, tenant, lps("crmguard/audit/queue-key/v2", logName))
	if err != nil {
		return err
	}
	rows := make([][]any, len(events))
	for i, e := range events {
		openings, err := auditlog.AppendFrames(nil, []auditlog.Frame{{Owner: e.owner, Body: e.sealed}})
		if err != nil {
			return err
		}
		digest := sha256.Sum256(openings)
		mac := hmac.New(sha256.New, keys[0])
		mac.Write(lps("crmguard/audit/queue/v2", logName, tenant, string(digest[:])))
		mac.Write(e.leaf)
		tag := mac.Sum(binary.BigEndian.AppendUint32([]byte{1}, ids[0]))
		body := append(append([]byte{1}, tag...), lps(string(e.leaf))...)
		rows[i] = []any{e.id[:], 1, randomBytes(32), append(body, openings...)}
	}
	return copyRows(ctx, l.db, "crmguard_audit_events", []string{"id", "log", "retry", "body"}, rows)
}

// filed writes events that got their places a day ago, the first one at first.
func (l *ourLog) filed(ctx context.Context, events []pressed, first int64) error {
	stubs, entries, found, persons, openings := make([][]any, len(events)), make([][]any, len(events)), make([][]any, len(events)), make([][]any, len(events)), make([][]any, len(events))
	for i, e := range events {
		idx, at := first+int64(i), e.at.UnixMicro()
		stubs[i] = []any{e.id[:], 1, []byte{}, nil, idx}
		entries[i] = []any{idx, e.id[:], e.leaf, at, at}
		found[i] = []any{
			idx, at, findKey("tenant", ""), findKey("actor", e.actor),
			findKey("object", string(lps("deal", e.deal))), findKey("action", dealAction), nil,
		}
		persons[i] = []any{idx, int64(binary.BigEndian.Uint64(e.owner[:])), at}
		openings[i] = []any{idx, e.owner[:], e.sealed}
	}
	stub := []string{"id", "log", "retry", "body", "idx"}
	if _, ok := l.db.Driver().(*stdlib.Driver); ok { // what has its place names no transaction
		stub = append(stub, "tx")
		for i := range stubs {
			stubs[i] = append(stubs[i], nil)
		}
	}
	return errors.Join(
		copyRows(ctx, l.db, "crmguard_audit_events", stub, stubs),
		copyRows(ctx, l.db, "crmguard_audit_entries", []string{"idx", "id", "leaf", "at", "filed"}, entries),
		copyRows(ctx, l.db, "crmguard_audit_found", []string{"idx", "at", "tenant_k", "actor_k", "object_k", "action_k", "outcome_k"}, found),
		copyRows(ctx, l.db, "crmguard_audit_persons", []string{"idx", "k", "at"}, persons),
		copyRows(ctx, l.db, "crmguard_audit_openings", []string{"idx", "owner", "sealed"}, openings),
	)
}

// findKey is how a value stands in the tables that questions ask.
func findKey(column, value string) int64 {
	sum := sha256.Sum256(lps("crmguard/audit/find/v1", column, tenant, value))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// grown writes the tree of a log whose entries and folder are there, and its head.
func (l *ourLog) grown(ctx context.Context, tree tlog.Tree, tiles []tileData, signed []byte) error {
	var rows [][]any
	for _, t := range tiles {
		rows = append(rows, []any{int64(t.tile.L), t.tile.N, t.data})
	}
	if err := copyRows(ctx, l.db, "crmguard_audit_tiles", []string{"level", "n", "data"}, rows); err != nil {
		return err
	}
	at := time.Now().UnixMicro()
	data := l.treeData("crmguard/audit/head/v1", tree)
	data = appendLP(binary.BigEndian.AppendUint64(data, uint64(at)), string(signed))
	tag, err := l.keys.Tag(ctx, tenant, data)
	if err != nil {
		return err
	}
	if err := copyRows(ctx, l.db, "crmguard_audit_heads", []string{"size", "root", "at", "note", "tag"}, [][]any{{tree.N, tree.Hash[:], at, signed, tag}}); err != nil {
		return err
	}
	return l.putState(ctx, tree)
}

// putState says that all is published, found and swept. There is no beat and no
// mirror, and nothing was pruned.
func (l *ourLog) putState(ctx context.Context, tree tlog.Tree) error {
	var drained int64 // of SQLite alone
	if _, ok := l.db.Driver().(*stdlib.Driver); !ok {
		var err error
		if drained, err = one[int64](ctx, l.db, `SELECT MAX(seq) FROM crmguard_audit_events`); err != nil {
			return err
		}
	}
	data := l.treeData("crmguard/audit/state/v2", tree)
	for _, n := range []int64{tree.N, 0, 0, tree.N, 0, 0, drained, 0, tree.N} {
		data = binary.BigEndian.AppendUint64(data, uint64(n))
	}
	tag, err := l.keys.Tag(ctx, tenant, data)
	if err != nil {
		return err
	}
	_, err = l.db.ExecContext(ctx, `UPDATE crmguard_audit_state SET size = $1, root = $2, published = $1, found = $1, swept = $1, drained = $3, tag = $4 WHERE id = 1`, tree.N, tree.Hash[:], drained, tag)
	return err
}

func (l *ourLog) treeData(label string, tree tlog.Tree) []byte {
	data := binary.BigEndian.AppendUint64(lps(label, l.trail.Origin()), uint64(tree.N))
	return append(data, tree.Hash[:]...)
}

// opening commits to both values of the one field, and seals what opens them.
func opening(id [16]byte, who *namedPerson) (before, after string, sealed []byte, err error) {
	const text = 2
	seed := randomBytes(32)
	plain := append(seed[:32:32], 0, 2) // the fields of both sides
	commit := func(side byte, value string) string {
		mac := hmac.New(sha256.New, seed)
		mac.Write(append(lps("crmguard/audit/salt/v1", "stage"), side))
		data := mac.Sum(lps("crmguard/audit/commit/v1"))
		field := appendLP(append(lps("stage"), side, text), value)
		plain = append(plain, field...)
		sum := sha256.Sum256(append(append(data, lps(string(id[:]))...), field...))
		return base64url(sum[:])
	}
	before, after = commit(0, "lead"), commit(1, "won")
	plain = append(plain, make([]byte, (256-len(plain)%256)%256)...)
	sealed, err = auditlog.SealBody(nil, &who.content, id, who.owner, plain)
	return before, after, sealed, err
}

// lps is each of them behind its length.
func lps(parts ...string) (out []byte) {
	for _, part := range parts {
		out = appendLP(out, part)
	}
	return out
}

func base64url(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/merkle"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// CatchUp brings a database that was restored from a backup level with the
// published log, under the same origin: the missing entries are read from the
// tiles, each proved against the signed root, and a recover event names them.
// Their openings are lost, for the log never held them; events that were
// queued in the backup and published later keep theirs.
//
// Before anything is written the published log is compared with the kept
// checkpoint (Config.Kept) and with what the database has: auditlog.ErrRolledBack,
// auditlog.ErrForked and ErrLogLost mean that the folder is not the log that was kept.
// A database that is level or ahead is left alone. It can be interrupted and
// repeated.
//
// Where the keys of the tags were changed (Config.Keys, Tag or Tenant), call it
// once, with everything published: it tags the state row anew, if that says what
// the published log says.
func (t *Trail) CatchUp(ctx context.Context) error {
	if err := t.ready(); err != nil {
		return err
	}
	kept, _, err := t.kept(ctx) // first: it is never ahead of what is published
	if err != nil {
		return err
	}
	_, head, found, err := t.checkpoint(ctx)
	if err != nil {
		return err
	}
	read := merkle.Files(t.config.Sink.ReadFile)
	reader := merkle.Source(read.Hashes).Reader(ctx, head)
	if err := anchored(reader, head, kept); err != nil {
		return err
	}
	s, err := t.stored(ctx, t.db)
	if err != nil {
		return err
	}
	if err := t.genuine(ctx, s); err != nil {
		if !errors.Is(err, auditlog.ErrTampered) {
			return err
		}
		if s, err = t.tagAnew(ctx, s, head, reader, err); err != nil {
			return err
		}
	}
	if !found || head.N <= s.N {
		t.memory.restored()
		_, err := t.look(ctx, false)
		return err
	}
	if err := t.behind(reader, s, head); err != nil {
		return err
	}
	t.memory.restored()
	if _, err := t.config.Tag.Tag(ctx, t.config.Tenant, queueData(t.config.Tenant, nil)); err != nil {
		return fmt.Errorf("audit: catch up: tag: %w", err)
	}
	from := s.N
	for s.N < head.N {
		next := min(head.N, s.N+batch)
		if err := t.readBack(ctx, read, reader, head.N, s.N, next, s.N == from); err != nil {
			return fmt.Errorf("audit: catch up: %w", err)
		}
		if s, err = t.state(ctx, t.db); err != nil {
			return err
		}
	}
	t.observe(ctx, "audit.caught_up", float64(head.N-from))
	_, err = t.look(ctx, false)
	return err
}

// behind says whether a database can catch up: it is the beginning of the
// published log, which is not an older one than this process has seen.
func (t *Trail) behind(reader tlog.HashReader, s state, head tlog.Tree) error {
	shown := t.memory.published()
	if shown.N > head.N {
		return fmt.Errorf("%w: published %d entries, and %d before", auditlog.ErrRolledBack, head.N, shown.N)
	}
	for _, older := range []tlog.Tree{s.Tree, shown} {
		same, err := extends(reader, older)
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("%w: the database's %d entries are not the first of the published log", auditlog.ErrForked, older.N)
		}
	}
	return nil
}

// tagAnew gives the state row a tag of the keys of today, if it says nothing but
// what the published log says: then the signature vouches for it. Of entries that
// were never published nobody does.
func (t *Trail) tagAnew(ctx context.Context, s state, head tlog.Tree, reader tlog.HashReader, why error) (state, error) {
	if head.N == 0 || s.N > head.N || t.memory.published().N > head.N {
		return s, why
	}
	same, err := extends(reader, s.Tree)
	if err != nil {
		return s, err
	}
	if !same {
		return s, why
	}
	anew := state{Tree: s.Tree, published: s.N} // when the newest beat was is not known: one is due
	if s.N == 0 {
		anew.Tree = noEntries()
	}
	if anew, err = t.tagState(ctx, anew); err != nil {
		return s, err
	}
	err = t.exclusive(ctx, func(tx Tx) error {
		now, err := t.stored(ctx, tx)
		if err != nil {
			return err
		}
		if !now.same(s) {
			return why // by another process meanwhile: look again
		}
		return t.putState(ctx, tx, anew)
	})
	return anew, err
}

// readBack takes the published entries from up to to into the database, in one
// transaction.
func (t *Trail) readBack(ctx context.Context, read merkle.Files, reader tlog.HashReader, size, from, to int64, first bool) error {
	leaves, err := proven(ctx, read, reader, from, to, size)
	if err != nil {
		return err
	}
	var (
		recovery *auditlog.Leaf
		told     queued
	)
	if first {
		if recovery, err = t.ownEvent(auditlog.KindRecover, "audit.recover", from, size); err != nil {
			return err
		}
		if told, err = t.tagged(ctx, recovery); err != nil {
			return err
		}
	}
	older := func() tlog.Tree { return tlog.Tree{} } // by the operator's word
	return t.advance(ctx, older, func(s state) (state, func(tx Tx) error, error) {
		if s.N != from {
			return s, nil, nil // another process is catching up too
		}
		g, err := merkle.Grow(ctx, t.rows(t.db), s.Tree)
		if err != nil {
			return s, nil, err
		}
		next := s
		parsed := make([]auditlog.Leaf, len(leaves))
		for i, raw := range leaves {
			if parsed[i], err = auditlog.ParseLeaf(raw); err != nil {
				return s, nil, err
			}
			if err := g.Append(tlog.RecordHash(raw)); err != nil {
				return s, nil, err
			}
			if parsed[i].Kind == auditlog.KindBeat {
				next.beat, next.beatSize = parsed[i].At.UnixMicro(), g.Size
			}
		}
		tiles, tree, err := g.Tiles()
		next.Tree, next.published = tree, to
		return next, func(tx Tx) error {
			if err := t.adoptAll(ctx, tx, from, leaves, parsed); err != nil {
				return err
			}
			if err := t.save(ctx, tx, tiles); err != nil || !first {
				return err
			}
			_, err := t.put(ctx, tx, recovery, told, nil)
			return err
		}, err
	})
}

func (t *Trail) adoptAll(ctx context.Context, tx Tx, from int64, leaves [][]byte, parsed []auditlog.Leaf) error {
	var beyond int64
	if _, err := t.one(ctx, tx, []any{&beyond}, `SELECT COUNT(*) FROM crmguard_audit_events WHERE idx >= ?`, from); err != nil {
		return err
	}
	if beyond > 0 {
		return fmt.Errorf("%w: %d rows have an index beyond the log", auditlog.ErrTampered, beyond)
	}
	for i, raw := range leaves {
		if err := t.adopt(ctx, tx, from+int64(i), raw, &parsed[i]); err != nil {
			return err
		}
	}
	return nil
}

// ownEvent is an event of the trail's own, about the entries from up to to.
func (t *Trail) ownEvent(kind, action string, from, to int64) (*auditlog.Leaf, error) {
	id, err := NewID()
	if err != nil {
		return nil, err
	}
	return &auditlog.Leaf{
		ID: id, Kind: kind, At: t.now(), Tenant: t.config.Tenant, Actor: itself, Action: action,
		Outcome: OutcomeOK, Object: recovered(from, to),
	}, nil
}

// proven reads published entries and proves each against the signed root.
func proven(ctx context.Context, read merkle.Files, reader tlog.HashReader, from, to, size int64) ([][]byte, error) {
	indexes := make([]int64, 0, to-from)
	for i := from; i < to; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, i))
	}
	hashes, err := reader.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for e, err := range auditlog.EntriesOf(ctx, read, from, to, size) {
		if err != nil {
			return nil, err
		}
		if tlog.RecordHash(e.Leaf) != hashes[e.Index-from] {
			return nil, fmt.Errorf("%w: published entry %d", auditlog.ErrTampered, e.Index)
		}
		out = append(out, e.Leaf)
	}
	return out, nil
}

// adopt gives a published entry its row: the queued one of the backup, if it
// was queued then, or a new one.
func (t *Trail) adopt(ctx context.Context, tx Tx, index int64, raw []byte, leaf *auditlog.Leaf) error {
	now := t.now().UnixMicro()
	n, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET idx = ?, sequenced = ?, tag = ? WHERE id = ? AND idx IS NULL AND leaf = ?`, index, now, noTag, leaf.ID, raw)
	if err != nil {
		return err
	}
	if n == 0 {
		err := t.add(ctx, tx, sqldb.Insert{
			Table:   eventsTable,
			Columns: []string{"id", "tenant", "kind", "object_kind", "object_id", "recorded", "leaf", "tag", "idx", "sequenced"},
			Key:     []string{"id"},
		}, []any{leaf.ID, leaf.Tenant, leaf.Kind, leaf.Object.Kind, leaf.Object.ID, leaf.At.UnixMicro(), raw, noTag, index, now})
		if err != nil {
			return err
		}
		var there sql.NullInt64
		found, err := t.one(ctx, tx, []any{&there}, `SELECT idx FROM crmguard_audit_events WHERE id = ?`, leaf.ID)
		if err != nil {
			return err
		}
		if !found || !there.Valid || there.Int64 != index {
			return fmt.Errorf("%w: the database holds event %s with another content", auditlog.ErrTampered, leaf.ID)
		}
	}
	if leaf.Kind == auditlog.KindBeat {
		return nil
	}
	return t.index(ctx, tx, leaf)
}

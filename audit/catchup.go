package audit

import (
	"context"
	"database/sql"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// CatchUp brings a database that was restored from a backup level with the
// published log, under the same origin: the missing entries are read from the
// tiles, each proved against the signed root, and a recover event names them.
// Their openings are lost, for the log never held them; events that were
// queued in the backup and published later keep theirs.
//
// Before anything is written the published log is compared with the kept
// checkpoint (Config.Kept) and with what the database has: ErrRolledBack,
// ErrForked and ErrLogLost mean that the folder is not the log that was kept.
// A database that is level or ahead is left alone. It can be interrupted and
// repeated.
func (t *Trail) CatchUp(ctx context.Context) error {
	if err := t.ready(); err != nil {
		return err
	}
	_, head, found, err := t.checkpoint(ctx)
	if err != nil {
		return err
	}
	read := readFunc(t.config.Sink.ReadFile)
	if err := t.compareKept(ctx, read, head); err != nil {
		return err
	}
	s, err := t.state(ctx, t.db)
	if err != nil {
		return err
	}
	if !found || head.N <= s.N {
		return t.guard(ctx, s, head)
	}
	reader := tileSource(read.hashes).reader(ctx, head)
	root, err := tlog.TreeHash(s.N, reader)
	if err != nil {
		return err
	}
	if root != s.Hash {
		return fmt.Errorf("%w: the database's %d entries are not the first of the published log", ErrForked, s.N)
	}
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
	return t.guard(ctx, s, head)
}

// anchoredOnce compares the published log with the kept checkpoint before this
// process signs for the first time: a database and a folder that went back
// together agree with each other.
func (t *Trail) anchoredOnce(ctx context.Context, head tlog.Tree) error {
	if t.anchored.Load() {
		return nil
	}
	if err := t.compareKept(ctx, readFunc(t.config.Sink.ReadFile), head); err != nil {
		return err
	}
	t.anchored.Store(true)
	return nil
}

// compareKept compares the published log with the checkpoint kept elsewhere.
func (t *Trail) compareKept(ctx context.Context, read readFunc, head tlog.Tree) error {
	if t.config.Kept == nil {
		return nil
	}
	signed, err := t.config.Kept(ctx)
	if err != nil {
		return fmt.Errorf("audit: kept checkpoint: %w", err)
	}
	if signed == nil {
		return nil
	}
	kept, err := openCheckpoint(t.key, signed)
	if err != nil {
		return fmt.Errorf("audit: kept checkpoint: %w", err)
	}
	if kept.N > head.N {
		return fmt.Errorf("%w: kept %d entries, published %d", ErrRolledBack, kept.N, head.N)
	}
	if kept.N == 0 {
		return nil
	}
	root, err := tlog.TreeHash(kept.N, tileSource(read.hashes).reader(ctx, head))
	if err != nil {
		return err
	}
	if root != kept.Hash {
		return fmt.Errorf("%w: the published log is not the one whose %d entries were kept", ErrForked, kept.N)
	}
	return nil
}

// readBack takes the published entries from up to to into the database, in one
// transaction.
func (t *Trail) readBack(ctx context.Context, read readFunc, reader tlog.HashReader, size, from, to int64, first bool) error {
	leaves, err := proven(ctx, read, reader, from, to, size)
	if err != nil {
		return err
	}
	var (
		recovery *Leaf
		told     queued
	)
	if first {
		if recovery, err = t.ownEvent(KindRecover, "audit.recover", from, size); err != nil {
			return err
		}
		if told, err = t.tagged(ctx, recovery); err != nil {
			return err
		}
	}
	return t.locked(ctx, func(tx Tx, s state) error {
		if s.N != from {
			return nil // another process is catching up too
		}
		var beyond int64
		if _, err := t.one(ctx, tx, []any{&beyond}, `SELECT COUNT(*) FROM crmguard_audit_events WHERE idx >= ?`, s.N); err != nil {
			return err
		}
		if beyond > 0 {
			return fmt.Errorf("%w: %d rows have an index beyond the log", ErrTampered, beyond)
		}
		g, err := grow(ctx, t.rows(tx), s)
		if err != nil {
			return err
		}
		for i, raw := range leaves {
			if err := t.adopt(ctx, tx, from+int64(i), raw); err != nil {
				return err
			}
			if err := g.append(tlog.RecordHash(raw)); err != nil {
				return err
			}
		}
		if err := t.save(ctx, tx, g); err != nil {
			return err
		}
		if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_state SET published = ? WHERE id = 1`, to); err != nil || !first {
			return err
		}
		_, err = t.put(ctx, tx, recovery, told, nil)
		return err
	})
}

// ownEvent is an event of the trail's own, about the entries from up to to.
func (t *Trail) ownEvent(kind, action string, from, to int64) (*Leaf, error) {
	id, err := NewID()
	if err != nil {
		return nil, err
	}
	return &Leaf{
		ID: id, Kind: kind, At: t.now(), Tenant: t.config.Tenant, Actor: itself, Action: action,
		Outcome: OutcomeOK, Object: recovered(from, to),
	}, nil
}

// proven reads published entries and proves each against the signed root.
func proven(ctx context.Context, read readFunc, reader tlog.HashReader, from, to, size int64) ([][]byte, error) {
	indexes := make([]int64, 0, to-from)
	for i := from; i < to; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, i))
	}
	hashes, err := reader.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for e, err := range entries(ctx, read, from, to, size) {
		if err != nil {
			return nil, err
		}
		if tlog.RecordHash(e.Leaf) != hashes[e.Index-from] {
			return nil, fmt.Errorf("%w: published entry %d", ErrTampered, e.Index)
		}
		out = append(out, e.Leaf)
	}
	return out, nil
}

// adopt gives a published entry its row: the queued one of the backup, if it
// was queued then, or a new one.
func (t *Trail) adopt(ctx context.Context, tx Tx, index int64, raw []byte) error {
	leaf, err := ParseLeaf(raw)
	if err != nil {
		return err
	}
	now := t.now().UnixMicro()
	n, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET idx = ?, sequenced = ? WHERE id = ? AND idx IS NULL AND leaf = ?`, index, now, leaf.ID, raw)
	if err != nil {
		return err
	}
	if n == 0 {
		err := t.add(ctx, tx, sqldb.Insert{
			Table:   eventsTable,
			Columns: []string{"id", "tenant", "kind", "object_kind", "object_id", "recorded", "leaf", "tag", "idx", "sequenced"},
			Key:     []string{"id"},
		}, []any{leaf.ID, leaf.Tenant, leaf.Kind, leaf.Object.Kind, leaf.Object.ID, leaf.At.UnixMicro(), raw, []byte{}, index, now})
		if err != nil {
			return err
		}
		var there sql.NullInt64
		found, err := t.one(ctx, tx, []any{&there}, `SELECT idx FROM crmguard_audit_events WHERE id = ?`, leaf.ID)
		if err != nil {
			return err
		}
		if !found || !there.Valid || there.Int64 != index {
			return fmt.Errorf("%w: the database holds event %s with another content", ErrTampered, leaf.ID)
		}
	}
	if leaf.Kind == KindBeat {
		_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_state SET beat = ?, beat_size = ? WHERE id = 1`, leaf.At.UnixMicro(), index+1)
		return err
	}
	return t.index(ctx, tx, &leaf)
}

package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// The database keeps what was signed: it is published from there, too, and each
// head says when the log had which size. They are thinned with time; each bears a
// tag, as the state row does.

var headsOf = sqldb.Insert{Table: "crmguard_audit_heads", Columns: []string{"size", "root", "at", "note", "tag"}, Key: []string{"size"}}

// headData is what the tag of a head is over.
func headData(origin string, tree tlog.Tree, at int64, note []byte) []byte {
	out := frame.Join("crmguard/audit/head/v1", origin)
	out = binary.BigEndian.AppendUint64(out, uint64(tree.N))
	out = append(out, tree.Hash[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(at))
	return frame.Append(out, note)
}

// keepHead writes a signed checkpoint into the database.
func (t *Trail) keepHead(ctx context.Context, tree tlog.Tree, signed []byte) error {
	at := t.now().UnixMicro()
	tag, err := t.config.Keys.Tag(ctx, t.config.Tenant, headData(t.origin, tree, at, signed))
	if err != nil {
		return fmt.Errorf("%w: %w", errTags, err)
	}
	return t.within(ctx, func(tx HandoverTx) error {
		return t.add(ctx, tx, headsOf, []any{tree.N, tree.Hash[:], at, signed, tag})
	})
}

// headTree is the tree of a signed head. The key that signed it may be known no more,
// as after [Trail.RevokeKey]: then the tag, which is over all of it, vouches alone.
func (t *Trail) headTree(signed []byte) (tlog.Tree, error) {
	tree, err := c2sp.OpenCheckpoint(signed, t.key.Verifiers()...)
	var unknown *note.UnverifiedNoteError
	if !errors.As(err, &unknown) {
		return tree, err
	}
	origin, tree, err := c2sp.ParseCheckpoint(unknown.Note.Text)
	if err == nil && origin != t.origin {
		err = ErrOrigin
	}
	return tree, err
}

const (
	headsKept = 1000 // of the newest, all
	hourly    = 31 * 24 * time.Hour
)

// thinHeads keeps the newest thousand heads, one an hour of the last month, and one
// a day for ever. It looks at a few hundred behind those a process has not seen.
func (t *Trail) thinHeads(ctx context.Context) error {
	now := t.now()
	if last := t.thinned.Load(); last != 0 && away(now, time.UnixMicro(last)) < time.Hour {
		return nil
	}
	var edge int64
	found, err := t.one(ctx, t.db, []any{&edge}, `SELECT size FROM crmguard_audit_heads ORDER BY size DESC LIMIT 1 OFFSET ?`, headsKept)
	if err != nil {
		return err
	}
	for cursor := int64(-1); found; {
		var sizes, drop []any
		var last, lastAt int64
		err := t.query(ctx, t.db, func(rows answer) error {
			var size, at int64
			err := rows.Scan(&size, &at)
			if len(sizes) > 0 && sameSlot(lastAt, at, now) {
				drop = append(drop, last)
			}
			sizes, last, lastAt = append(sizes, size), size, at
			return err
		}, `SELECT size, at FROM crmguard_audit_heads WHERE size > ? AND size <= ? ORDER BY size LIMIT ?`, cursor, edge, sweepRows)
		if err != nil {
			return err
		}
		if len(drop) > 0 {
			if err := t.within(ctx, func(tx HandoverTx) error {
				_, err := t.exec(ctx, tx, `DELETE FROM crmguard_audit_heads WHERE size IN (`+sqldb.Marks(len(drop))+`)`, drop...)
				return err
			}); err != nil {
				return err
			}
		}
		if len(sizes) < sweepRows {
			break
		}
		cursor = last - 1 // the last one once more, beside its successor
	}
	t.thinned.Store(now.UnixMicro())
	return nil
}

// sameSlot says whether of two heads the earlier one may go: another one stands for
// its hour, or where it is old for its day.
func sameSlot(a, b int64, now time.Time) bool {
	slot := time.Hour
	if now.Sub(time.UnixMicro(b)) > hourly {
		slot = 24 * time.Hour
	}
	return time.UnixMicro(a).Truncate(slot).Equal(time.UnixMicro(b).Truncate(slot))
}

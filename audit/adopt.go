package audit

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/merkle"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// refusedRetry is why a waiting row is set aside by [Trail.CatchUp]: its event
// stands in the published log in other bytes, because the client repeated it after
// the restore, with other salts.
const refusedRetry = "retry of a published event"

// adopted is a published entry on its way back into the database.
type adopted struct {
	checked
	at, filed int64
}

// readBack takes the published entries from up to to into the database, in one
// transaction; where sales hold ids of them, those before the first.
func (t *Trail) readBack(ctx context.Context, read merkle.Files, reader tlog.HashReader, size, from, to int64, first bool, keys *passKeys, sum *recovering) error {
	leaves, err := proven(ctx, read, reader, from, to, size)
	if err != nil {
		return err
	}
	if keys.asides == nil {
		if keys.asides, err = t.asideKeys(ctx); err != nil {
			return err
		}
	}
	page, err := t.published(ctx, leaves, keys)
	if err != nil {
		return err
	}
	openings, err := t.mirroredOf(ctx, from, page)
	if err != nil {
		return err
	}
	var recovery *queuedRow
	if first {
		leaf, err := t.ownLeaf(ctx, auditlog.KindRecover, t.config.Tenant, "audit.recover")
		if err != nil {
			return err
		}
		leaf.Object = auditlog.Object(recovered(from, size))
		if recovery, err = t.own(ctx, leaf); err != nil {
			return err
		}
	}
	var got *recovering
	short, done := t.bounded(ctx)
	defer done()
	err = t.advance(short, olderOne, func(s state) (state, func(tx HandoverTx) error, error) {
		if s.N != from {
			return s, nil, nil // another process is catching up too
		}
		g, err := merkle.Grow(ctx, t.rows(t.db), s.Tree)
		if err != nil {
			return s, nil, err
		}
		next := s
		for i := range page {
			if err := g.Append(page[i].hash); err != nil {
				return s, nil, err
			}
			if page[i].leaf.Kind == auditlog.KindBeat {
				next.beat, next.beatSize = page[i].leaf.At.UnixMicro(), g.Size
			}
		}
		tiles, tree, err := g.Tiles()
		next.Tree, next.published, next.drained = tree, to, 0
		return next, func(tx HandoverTx) error {
			got = newRecovering() // of an attempt that the database ended
			got.rules = sum.rules
			if err := t.adoptAll(short, tx, from, page, openings, keys, got); err != nil {
				return err
			}
			if err := t.save(short, tx, tiles); err != nil || recovery == nil {
				return err
			}
			return t.putRow(short, tx, recovery)
		}, err
	})
	if err == nil && got != nil {
		sum.add(got, page)
	}
	if !sqldb.Locked(err) && (err == nil || short.Err() == nil || ctx.Err() != nil) {
		return err
	}
	at, asked := t.heldAt(ctx, page)
	if asked != nil || len(at) == 0 {
		return cmp.Or(asked, err)
	}
	if before := from + int64(at[0]); before > from {
		if err := t.readBack(ctx, read, reader, size, from, before, first, keys, sum); err != nil {
			return err
		}
	}
	return heldError(page, at)
}

// published are proven leaves as rows.
func (t *Trail) published(ctx context.Context, leaves [][]byte, keys *passKeys) ([]adopted, error) {
	out := make([]adopted, len(leaves))
	for i, raw := range leaves {
		leaf, err := auditlog.ParseLeaf(raw)
		if err != nil {
			return nil, err
		}
		a := &out[i]
		a.leaf, a.raw, a.hash = leaf, raw, tlog.RecordHash(raw)
		if a.id, err = auditlog.ParseID(leaf.ID); err != nil {
			return nil, err
		}
		if a.persons, err = surrogatesOf(leaf.Persons); err != nil {
			return nil, err
		}
		if len(a.persons) > 0 { // without keys its rows get no tags, and the log goes on for all other tenants
			if err := keys.fetch(ctx, t, leaf.Tenant); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// adoptAll writes published entries, and what the database still knows about them.
func (t *Trail) adoptAll(ctx context.Context, tx HandoverTx, from int64, page []adopted, mirrored [][]any, keys *passKeys, got *recovering) error {
	beyond, err := t.any(ctx, tx, `SELECT 1 FROM crmguard_audit_entries WHERE idx >= ?`, from)
	if err == nil && beyond {
		err = fmt.Errorf("%w: rows have an index beyond the log", auditlog.ErrTampered)
	}
	if err != nil {
		return err
	}
	if err := t.timesBack(ctx, tx, from, page); err != nil {
		return err
	}
	now := t.now().UnixMicro()
	entries := make([][]any, len(page))
	rows := make([]checked, len(page))
	for i := range page {
		entries[i] = []any{from + int64(i), page[i].id[:], page[i].raw, page[i].at, page[i].filed}
		rows[i] = page[i].checked
	}
	if err := t.insertNew(ctx, tx, entriesOf, entries); err != nil {
		return err
	}
	if _, err := t.told(ctx, tx, rows, keys, nil); err != nil { // of what waited in the backup
		return err
	}
	drop, err := t.became(ctx, tx, rows, keys)
	if err != nil {
		return err
	}
	for at := 0; at < len(page); at += rowsAStatement {
		end := min(at+rowsAStatement, len(page))
		n, err := t.adopt(ctx, tx, from+int64(at), page[at:end], drop, keys, now, got)
		if err != nil {
			return err
		}
		got.Aside += n
	}
	mirrored = slices.DeleteFunc(mirrored, func(o []any) bool { // of somebody who was erased in the backup, or gone with retention
		idx := o[0].(int64)
		leaf := &page[idx-from].leaf
		return drop.drops(leaf.Tenant, [16]byte(o[1].([]byte))) || got.ruled(idx, leaf)
	})
	if err := t.add(ctx, tx, openingsOf, mirrored...); err != nil { // those of the backup's own rows stay
		return err
	}
	if err := t.markFrom(ctx, tx, page, keys); err != nil {
		return err
	}
	return t.tally(ctx, tx, from, page, drop, got)
}

// stubRow is a row of events under an id that is published.
type stubRow struct {
	seq  int64
	idx  *int64
	body []byte
}

// adopt gives published entries their stubs: the row that waited in the backup,
// with its openings if it says the same, or a new one. It says how many rows it set
// aside.
func (t *Trail) adopt(ctx context.Context, tx HandoverTx, first int64, page []adopted, drop *dropping, keys *passKeys, now int64, got *recovering) (int, error) {
	there := make(map[[16]byte]stubRow)
	ids := make([]any, len(page))
	for i := range page {
		ids[i] = page[i].id[:]
	}
	if err := t.notPatient(ctx, tx); err != nil {
		return 0, err
	}
	err := t.query(ctx, tx, func(found answer) error {
		var r stubRow
		var id []byte
		err := found.Scan(&r.seq, &id, &r.idx, &r.body)
		there[[16]byte(append(id, make([]byte, 16)...))] = r
		return err
	}, `SELECT seq, id, idx, `+upTo(mostBody, "body")+` FROM crmguard_audit_events WHERE id IN (`+sqldb.Marks(len(ids))+`)`+t.lockedNow(), ids...)
	if err != nil {
		return 0, err
	}
	var fresh, openings, asides [][]any
	columns := []string{"id", "log", "retry", "body", "idx"}
	if t.db.Kind == sqldb.Postgres {
		columns = append(columns, "tx")
	}
	for i := range page {
		a, idx := &page[i], first+int64(i)
		r, found := there[a.id]
		if !found {
			row := []any{a.id[:], logRow, []byte{}, nil, idx}
			fresh = append(fresh, append(row, make([]any, len(columns)-len(row))...))
			continue
		}
		if r.idx != nil && *r.idx >= 0 {
			return 0, fmt.Errorf("%w: the database holds event %s at another place", auditlog.ErrTampered, a.leaf.ID)
		}
		frames, same := sameEvent(r.body, a.raw)
		switch {
		case r.idx != nil: // it was set aside when the backup was made
			if frames, same, err = t.adoptAside(ctx, tx, a, keys); err != nil {
				return 0, err
			}
		case !same:
			asides = append(asides, []any{a.id[:], append([]byte{}, r.body...), refusedRetry, now})
		}
		for _, f := range frames {
			if !drop.drops(a.leaf.Tenant, f.Owner) && !got.ruled(idx, &a.leaf) {
				openings = append(openings, []any{idx, f.Owner[:], f.Body})
			}
		}
		retry := ""
		if !same { // who repeats it must not hear that it is recorded
			retry = ", retry = " + t.noRetry()
		}
		if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET idx = ?, `+t.emptied()+retry+` WHERE seq = ?`, idx, r.seq); err != nil {
			return 0, err
		}
	}
	if err := t.insertNew(ctx, tx, sqldb.Insert{Table: eventsTable, Columns: columns}, fresh); err != nil {
		return 0, err
	}
	if err := t.insertNew(ctx, tx, openingsOf, openings); err != nil {
		return 0, err
	}
	for i := range asides {
		a := asides[i]
		asides[i] = append(a, asideTag(keys.asides, a[0].([]byte), a[1].([]byte), refusedRetry, now)) //nolint:forcetypeassert // as they were made above
	}
	return len(asides), t.insertNew(ctx, tx, asideOf, asides)
}

// adoptAside takes what a row that the sequencer had set aside holds, where it is the
// published entry: it came back since, and got its place.
func (t *Trail) adoptAside(ctx context.Context, tx HandoverTx, a *adopted, keys *passKeys) (frames []auditlog.Frame, same bool, err error) {
	rows, err := t.asides(ctx, tx, 0, "id = ? AND LENGTH(body) > 0", a.id[:])
	for i := range rows {
		r := &rows[i]
		if same || r.check(keys.asides) != tagRight {
			continue
		}
		if frames, same = sameEvent(r.body, a.raw); !same {
			continue
		}
		if _, err := t.exec(ctx, tx, `DELETE FROM crmguard_audit_aside WHERE n = ?`, r.n); err != nil {
			return nil, false, err
		}
	}
	return frames, same, err
}

// sameEvent says whether a waiting row is the published entry, and what it holds
// besides.
func sameEvent(body, raw []byte) ([]auditlog.Frame, bool) {
	b, err := auditlog.ParseRowBody(body)
	if err != nil || !bytes.Equal(b.Leaf, raw) {
		return nil, false
	}
	frames, err := auditlog.ParseFrames(b.Sealed)
	return frames, err == nil
}

// markFrom does for the surrogates what the published entries say was done: erased
// ones are marked, and the next pass deletes what the backup has brought back;
// merged ones are told whom they were merged into.
func (t *Trail) markFrom(ctx context.Context, tx HandoverTx, page []adopted, keys *passKeys) error {
	for i := range page {
		a := &page[i]
		of := keys.by[a.leaf.Tenant].surrogates
		switch a.leaf.Kind {
		case auditlog.KindErase:
			for _, s := range a.persons {
				if err := t.putMark(ctx, tx, surrogateID{a.leaf.Tenant, s}, surrogateErasing, of); err != nil {
					return err
				}
			}
		case auditlog.KindMerge:
			into, err := surrogateBytes(a.leaf.Object.ID)
			if err != nil {
				return err
			}
			for _, s := range a.persons {
				if s == into {
					continue
				}
				if err := t.putMerged(ctx, tx, surrogateID{a.leaf.Tenant, s}, into, of); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

package audit

import (
	"context"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Where the keys of the tags were changed, what the old ones vouched for is tagged
// anew, and only what the signed log says itself: which surrogates were erased and
// merged, and which heads are of its tree. A mark that somebody set by hand gets
// no tag by it.

// tagRest tags the rows of surrogates and of heads anew whose tags are not those of
// the keys of today.
func (t *Trail) tagRest(ctx context.Context, head tlog.Tree, reader tlog.HashReader) error {
	ev := newEvidence()
	for e, err := range auditlog.EntriesOf(ctx, t.config.Sink.ReadFile, 0, head.N, head.N) {
		if err != nil {
			return err
		}
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		if err != nil {
			return err
		}
		ev.add(e.Index, &leaf)
	}
	if err := t.tagPeople(ctx, ev); err != nil {
		return err
	}
	return t.tagHeads(ctx, head, reader)
}

func (t *Trail) tagPeople(ctx context.Context, ev *evidence) error {
	keys := newPassKeys()
	defer keys.wipe()
	for last := int64(0); ; {
		page, err := t.peopleAfter(ctx, t.db, last, "", rowsAStatement)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			p := &page[i]
			last = p.n
			if err := keys.fetch(ctx, t, p.tenant); err != nil {
				return err
			}
			of := keys.by[p.tenant].surrogates
			if len(of) == 0 { // its rows are looked at by the next CatchUp
				continue
			}
			if p.short || p.check(of) == tagRight {
				continue
			}
			state, into := told(ev, p)
			if err := t.within(ctx, func(tx HandoverTx) error {
				_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET state = ?, into_surrogate = ?, tag = ? WHERE n = ?`,
					int64(state), into, surrogateTag(&of[0], p.tenant, p.surrogate, state, into), p.n)
				return err
			}); err != nil {
				return err
			}
		}
	}
}

// told is what the log says became of a surrogate.
func told(ev *evidence, p *personRow) (state byte, into []byte) {
	key := [2]string{p.tenant, ownerText(p.surrogate)}
	if _, erased := ev.erased[key]; erased {
		return surrogateErasing, nil // the next pass looks whether anything is left
	}
	if s, err := surrogateBytes(ev.merged[key]); err == nil {
		into = s[:]
	}
	if p.state == surrogateUnmapped && len(ev.lost) > 0 {
		return surrogateUnmapped, into
	}
	return surrogateLive, into
}

func (t *Trail) tagHeads(ctx context.Context, head tlog.Tree, reader tlog.HashReader) error {
	for last := int64(-1); ; {
		page, err := t.headRows(ctx, t.db, last)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			h := &page[i]
			last = h.tree.N
			if t.headTagged(ctx, h) {
				continue
			}
			if tree, err := c2sp.OpenCheckpoint(h.note, t.key.Verifiers()...); h.short || err != nil || tree != h.tree || tree.N > head.N {
				continue // VerifyStore says so
			}
			same, err := extends(reader, h.tree)
			if err != nil {
				return err
			}
			if !same {
				continue
			}
			tag, err := t.config.Keys.Tag(ctx, t.config.Tenant, headData(t.origin, h.tree, h.at, h.note))
			if err != nil {
				return err
			}
			if err := t.within(ctx, func(tx HandoverTx) error {
				_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_heads SET tag = ? WHERE size = ?`, tag, h.tree.N)
				return err
			}); err != nil {
				return err
			}
		}
	}
}

// headRow is a signed head as the database has it.
type headRow struct {
	tree      tlog.Tree
	at        int64
	note, tag []byte
	short     bool // the root has not its 32 bytes
}

func (t *Trail) headRows(ctx context.Context, q sqldb.Querier, after int64) (page []headRow, err error) {
	size := 0
	err = t.query(ctx, q, func(rows answer) error {
		var r headRow
		var root []byte
		err := rows.Scan(&r.tree.N, &root, &r.at, &r.note, &r.tag)
		if r.short = len(root) != tlog.HashSize; !r.short {
			r.tree.Hash = tlog.Hash(root)
		}
		if page, size = append(page, r), size+len(r.note)+len(r.tag); err == nil && size > queueBytes {
			err = errEnough
		}
		return err
	}, `SELECT size, `+upTo(tlog.HashSize, "root")+`, at, `+upTo(mostNote, "note")+`, `+upTo(mostSmall, "tag")+` FROM crmguard_audit_heads WHERE size > ? ORDER BY size LIMIT ?`, after, batch)
	return page, enough(err)
}

func (t *Trail) headTagged(ctx context.Context, h *headRow) bool {
	return t.config.Keys.Verify(ctx, t.config.Tenant, headData(t.origin, h.tree, h.at, h.note), h.tag) == nil
}

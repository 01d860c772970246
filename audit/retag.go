package audit

import (
	"context"
	"fmt"

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
func (t *Trail) tagRest(ctx context.Context, head tlog.Tree, reader tlog.HashReader, pruned int64) error {
	ev := newEvidence()
	for e, err := range auditlog.EntriesOf(ctx, t.config.Sink.ReadFile, pruned, head.N, head.N) {
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
	if err := t.tagAsides(ctx); err != nil {
		return err
	}
	return t.tagHeads(ctx, head, reader)
}

// setRight tags rows of surrogates anew where there is one without a true tag: of a
// tenant whose keys did not answer in the last restore, or changed by hand.
func (t *Trail) setRight(ctx context.Context, head tlog.Tree, reader tlog.HashReader, pruned int64) error {
	keys := newPassKeys()
	defer keys.wipe()
	for range 2 { // a row that had the name of another one is nobody's then
		wrong, err := t.wrongPeople(ctx, keys)
		if err != nil || !wrong {
			return err
		}
		if err := t.tagRest(ctx, head, reader, pruned); err != nil {
			return err
		}
	}
	return nil
}

// wrongPeople says whether the tag of a row of a surrogate is not right.
func (t *Trail) wrongPeople(ctx context.Context, keys *passKeys) (bool, error) {
	for last := int64(0); ; {
		page, err := t.peopleAfter(ctx, t.db, last, "", rowsAStatement)
		if err != nil || len(page) == 0 {
			return false, err
		}
		for i := range page {
			p := &page[i]
			last = p.n
			if err := keys.fetch(ctx, t, p.tenant); err != nil {
				return false, err
			}
			if of := keys.by[p.tenant].surrogates; len(of) > 0 && !p.short && p.check(of) != tagRight {
				return true, nil
			}
		}
	}
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
			if err := t.tagPerson(ctx, ev, p, &of[0]); err != nil {
				return err
			}
		}
	}
}

// tagPerson tags a row anew. Whose it is its head says: where it does not open for
// whom the row names the row is nobody's, until somebody is named for whom it does.
func (t *Trail) tagPerson(ctx context.Context, ev *evidence, p *personRow, key *macKey) error {
	state, into := told(ev, p)
	var person *string
	if state == surrogateLive {
		person = p.person
		if p.surrogate == [16]byte{} { // what is about nobody is known by its surrogate
			person = new(string)
		}
		theirs := false
		if person != nil {
			if err := t.config.Keys.Prepare(ctx, p.tenant); err != nil { // keys that do not answer say nothing
				return fmt.Errorf("audit: catch up: %w", err)
			}
			var err error
			if theirs, err = t.opens(ctx, p, *person); err != nil {
				return err
			}
		}
		if !theirs && p.surrogate != [16]byte{} {
			state, person = surrogateUnmapped, nil
		}
	}
	whose := ""
	if person != nil {
		whose = *person
	}
	return t.within(ctx, func(tx HandoverTx) error {
		if person != nil { // another row may have the name
			if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET person = NULL, state = CASE WHEN state = 0 THEN 2 ELSE state END, tag = `+t.noRetry()+` WHERE tenant = ? AND person = ? AND n <> ?`, p.tenant, whose, p.n); err != nil {
				return err
			}
		}
		_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET person = ?, state = ?, into_surrogate = ?, tag = ? WHERE n = ? AND tag = ?`,
			person, int64(state), into, surrogateTag(key, p.tenant, p.surrogate, state, into, whose), p.n, p.tag)
		return err
	})
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
			right, err := t.headTagged(ctx, h)
			if err != nil {
				return err
			}
			if right {
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

func (t *Trail) headTagged(ctx context.Context, h *headRow) (bool, error) {
	return t.tagged(ctx, headData(t.origin, h.tree, h.at, h.note), h.tag)
}

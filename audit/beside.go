package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// A head that does not open, by a damage of the row or because the key is not the one
// that sealed it, stops nobody: where the mirror has one that opens it comes from
// there, and otherwise the person gets another surrogate, beside the one of before,
// which is merged into it. The old head stays; Status and VerifyStore tell of it.

// surrogateBeside is the state of a row whose head does not open, and that another
// row of the person stands beside.
const surrogateBeside = 4

// ticketBeside gets the ticket of a person whose head does not open, which cause says.
func (t *Trail) ticketBeside(ctx context.Context, tenant, person string, cause error) (*held, error) {
	if errors.Is(cause, ErrKeys) {
		return nil, cause // that says nothing of the head
	}
	keys, err := t.macKeys(ctx, tenant, surrogateKeyLabel)
	if err != nil {
		return nil, err
	}
	defer wipe(keys)
	p, err := t.personRow(ctx, tenant, person)
	if err != nil {
		return nil, err
	}
	if p.check(keys) != tagRight {
		return nil, exchanged(&p)
	}
	opens, err := t.opens(ctx, &p, person) // another process may have mended it since it was read
	if err == nil && !opens {
		err = t.mend(ctx, &p, person, cause, keys)
	}
	if err != nil && !errors.Is(err, errMoved) { // by another process meanwhile, which is as well
		return nil, err
	}
	rows := make(map[string]surrogateRow, 1)
	if err := t.readSurrogates(ctx, tenant, []string{person}, rows); err != nil {
		return nil, err
	}
	return t.ticketOf(ctx, tenant, rows[person])
}

// mend gives a row a head that opens, of the mirror or anew.
func (t *Trail) mend(ctx context.Context, p *personRow, person string, cause error, keys []macKey) error {
	fresh, sealed, err := t.drawHead(ctx, p.tenant, person)
	if err == nil {
		_, err = t.openHead(ctx, p.tenant, person, fresh, sealed)
	}
	if err != nil {
		return cause // the keys do not answer: that says nothing of the head
	}
	head := t.mirroredHead(ctx, p, person)
	if head == nil {
		err := t.beside(ctx, p, fresh, sealed, keys)
		t.observe(ctx, "audit.head.beside", 1)
		return err
	}
	err = t.exclusive(ctx, func(tx HandoverTx) error {
		if err := t.stillDamaged(ctx, tx, p); err != nil {
			return err
		}
		_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET head = ? WHERE n = ?`, head, p.n)
		return err
	})
	t.observe(ctx, "audit.head.mended", 1)
	return err
}

// drawHead draws a surrogate and a content key, and seals them.
func (t *Trail) drawHead(ctx context.Context, tenant, person string) (surrogate [16]byte, sealed []byte, err error) {
	h := auditlog.Head{Person: person}
	defer clear(h.Content[:])
	if err := t.random(h.Content[:]); err != nil {
		return surrogate, nil, err
	}
	if person != "" {
		if err := t.random(h.Surrogate[:]); err != nil {
			return surrogate, nil, err
		}
	}
	sealed, err = t.sealHead(ctx, tenant, &h)
	return h.Surrogate, sealed, err
}

// mirroredHead is the head that the mirror has of a row, if it opens.
func (t *Trail) mirroredHead(ctx context.Context, p *personRow, person string) []byte {
	if t.config.Mirror == nil {
		return nil
	}
	rest, err := t.mirrorParts(ctx, mirroredPeople, mirrorName(mirroredPeople, p.n/mirrorBlock))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.observe(ctx, "audit.mirror.failed", 1)
		}
		return nil
	}
	lines, _ := mirrorLines(mirroredPeople, rest) // a damaged rest says nothing
	for i := range lines {
		l := &lines[i]
		if l.tenant != p.tenant || l.surrogate != p.surrogate || bytes.Equal(l.sealed, p.head) {
			continue
		}
		other := personRow{surrogateMark: surrogateMark{surrogateID: p.surrogateID}, head: l.sealed}
		if opens, err := t.opens(ctx, &other, person); err == nil && opens {
			return l.sealed
		}
	}
	return nil
}

// beside gives a person a new surrogate, and has the one of before, and all who were
// merged into it, be merged into the new one. What is about nobody has no other
// surrogate: it gets another head, and the one of before is kept in a row of its own.
func (t *Trail) beside(ctx context.Context, p *personRow, fresh [16]byte, sealed []byte, keys []macKey) error {
	if p.whose() == "" {
		var kept [16]byte
		if err := t.random(kept[:]); err != nil {
			return err
		}
		return t.exclusive(ctx, func(tx HandoverTx) error {
			if err := t.stillDamaged(ctx, tx, p); err != nil {
				return err
			}
			if len(p.head) > 0 {
				if err := t.add(ctx, tx, surrogatesNew, []any{p.tenant, kept[:], surrogateKey(kept), nil, p.head, nil, int64(surrogateBeside), surrogateTag(&keys[0], p.tenant, kept, surrogateBeside, nil, "")}); err != nil {
					return err
				}
			}
			_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET head = ? WHERE n = ?`, sealed, p.n)
			return err
		})
	}
	members, err := t.mergedWith(ctx, p.tenant, p.surrogate)
	if err != nil {
		return err
	}
	into, moved := fresh, []personRow{*p}
	for i := range members {
		if members[i].check(keys) == tagRight { // what says so by hand is nobody who was merged
			moved = append(moved, members[i])
		}
	}
	if len(p.into) == len(into) { // somebody else stands for the person, who has no members then
		into = [16]byte(p.into)
		moved = append(moved, personRow{surrogateMark: surrogateMark{surrogateID: surrogateID{p.tenant, fresh}}})
	}
	var rows []*queuedRow
	for part := range slices.Chunk(moved, auditlog.MaxPersons-1) {
		row, err := t.mergeEvent(ctx, p.tenant, part, into)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	return t.exclusive(ctx, func(tx HandoverTx) error {
		n, err := t.mergedNumber(ctx, tx, p.tenant, p.surrogate)
		if err == nil && n != len(members) {
			err = errMoved
		}
		if err = cmp.Or(err, t.stillDamaged(ctx, tx, p)); err != nil {
			return err
		}
		if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET person = NULL, state = ?, into_surrogate = ?, tag = ? WHERE n = ?`,
			int64(surrogateBeside), into[:], surrogateTag(&keys[0], p.tenant, p.surrogate, surrogateBeside, into[:], ""), p.n); err != nil {
			return err
		}
		if into == fresh {
			if err := t.putAllMerged(ctx, tx, p.tenant, moved[1:], fresh, keys); err != nil {
				return err
			}
		}
		if err := t.add(ctx, tx, surrogatesNew, []any{p.tenant, fresh[:], surrogateKey(fresh), p.whose(), sealed, p.into, int64(surrogateLive), surrogateTag(&keys[0], p.tenant, fresh, surrogateLive, p.into, p.whose())}); err != nil {
			return err
		}
		for _, row := range rows {
			if err := t.putRow(ctx, tx, row); err != nil {
				return err
			}
		}
		return nil
	})
}

// stillDamaged is errMoved where a row is not any more what it was when it was read, its
// head included, which the tag says nothing of: another process has mended it.
func (t *Trail) stillDamaged(ctx context.Context, tx HandoverTx, p *personRow) error {
	var head []byte
	there, err := t.one(ctx, tx, []any{&head}, `SELECT `+upTo(mostSmall, "head")+` FROM crmguard_audit_surrogates WHERE n = ? AND person = ? AND state = 0 AND tag = ?`, p.n, p.whose(), p.tag)
	if err == nil && (!there || !bytes.Equal(head, p.head)) {
		err = errMoved
	}
	return err
}

// surrogatesNew are new rows of surrogates.
var surrogatesNew = sqldb.Insert{
	Table: surrogatesTable, Columns: []string{"tenant", "surrogate", "k", "person", "head", "into_surrogate", "state", "tag"},
}

package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Merge records that two persons turned out to be one: what was recorded about from,
// and about all who were merged into from before, is found under into from now on,
// too, and erased with it. Where one of them was merged into somebody else before,
// that person stands for them: all of them are one. The log names the surrogates.
// Nothing is sealed anew: from keeps its head. Calling it again changes nothing, and
// the other way round is an error: the one who stays stays. At most ten thousand
// persons become one, which is [ErrTooLarge] otherwise. What the key store should know
// of it (an alias) is the application's to tell.
func (t *Trail) Merge(ctx context.Context, tenant, from, into string) error {
	if err := t.ready(); err != nil {
		return err
	}
	tenant = cmp.Or(tenant, t.caller(ctx).Tenant)
	if err := cmp.Or(ids.Check("tenant", tenant), ids.CheckGiven("from", from), ids.CheckGiven("into", into)); err != nil {
		return invalid("merge: %w", err)
	}
	if from == into {
		return invalid("merge: a person into itself")
	}
	if err := t.level(ctx); err != nil { // what CatchUp brings back may say otherwise
		return fmt.Errorf("audit: merge: %w", err)
	}
	if err := t.Prepare(ctx, tenant, from, into); err != nil {
		return fmt.Errorf("audit: merge: %w", err)
	}
	keys, err := t.macKeys(ctx, tenant, surrogateKeyLabel)
	if err != nil {
		return fmt.Errorf("audit: merge: %w", err)
	}
	defer wipe(keys)
	for range plans {
		err := t.merge(ctx, tenant, from, into, keys)
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

// mergedMost is how many persons become one: a question about them names all.
const mergedMost = 10_000

func (t *Trail) merge(ctx context.Context, tenant, from, into string, keys []macKey) error {
	first, err := t.personRow(ctx, tenant, from)
	if err != nil {
		return err
	}
	a, err := t.survivor(ctx, tenant, from, keys)
	if err != nil {
		return err
	}
	b, err := t.survivor(ctx, tenant, into, keys)
	if err != nil {
		return err
	}
	if a.surrogate == b.surrogate {
		if first.into == nil {
			return invalid("merge: into was merged into from before, and from is who stays")
		}
		return nil
	}
	members, err := t.mergedWith(ctx, tenant, a.surrogate)
	if err != nil {
		return err
	}
	there, err := t.mergedNumber(ctx, t.db, tenant, b.surrogate)
	if err != nil {
		return err
	}
	moved := []personRow{*a}
	for i := range members {
		if members[i].check(keys) == tagRight { // what says so by hand is nobody who was merged
			moved = append(moved, members[i])
		}
	}
	if n := len(moved) + there + 1; n > mergedMost {
		return fmt.Errorf("%w: merge: %d persons would be one, and %d at most", ErrTooLarge, n, mergedMost)
	}
	var rows []*queuedRow
	for part := range slices.Chunk(moved, auditlog.MaxPersons-1) {
		row, err := t.mergeEvent(ctx, tenant, part, b.surrogate, from, into)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	return t.exclusive(ctx, func(tx HandoverTx) error {
		for _, p := range []*personRow{a, b} {
			same, err := t.any(ctx, tx, `SELECT 1 FROM crmguard_audit_surrogates WHERE n = ? AND surrogate = ? AND person = ? AND into_surrogate IS NULL AND state = 0`, p.n, p.surrogate[:], *p.person)
			if err == nil && !same {
				err = errMoved
			}
			if err != nil {
				return err
			}
		}
		for s, want := range map[[16]byte]int{a.surrogate: len(members), b.surrogate: there} {
			if n, err := t.mergedNumber(ctx, tx, tenant, s); err != nil || n != want {
				return cmp.Or(err, errMoved)
			}
		}
		if err := t.putAllMerged(ctx, tx, tenant, moved, b.surrogate, keys); err != nil {
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

// mergeEvent is the event that names some of those who are into from now on.
func (t *Trail) mergeEvent(ctx context.Context, tenant string, part []personRow, into [16]byte, about ...string) (*queuedRow, error) {
	for i := range part {
		if who := part[i].person; who != nil {
			about = append(about, *who)
		}
	}
	leaf, err := t.ownLeaf(ctx, auditlog.KindMerge, tenant, "audit.merge", about...)
	if err != nil {
		return nil, err
	}
	leaf.Persons = []string{surrogateText(into)}
	for i := range part {
		leaf.Persons = append(leaf.Persons, surrogateText(part[i].surrogate))
	}
	slices.Sort(leaf.Persons)
	leaf.Object = auditlog.Object{Kind: "person", ID: surrogateText(into), Person: true}
	return t.own(ctx, leaf)
}

// survivor is who stands for a person. Whom somebody was merged into is believed by
// the tag of the row; nobody whom others are merged into is merged into another one,
// and what says otherwise was put back by hand.
func (t *Trail) survivor(ctx context.Context, tenant, person string, keys []macKey) (*personRow, error) {
	p, err := t.personRow(ctx, tenant, person)
	for step := 0; err == nil; step++ {
		switch {
		case p.check(keys) != tagRight || step > 1 || len(p.into)%16 != 0:
			return nil, fmt.Errorf("%w: merge: the row of a person says otherwise than the log: VerifyStore tells which", auditlog.ErrTampered)
		case p.into == nil && p.person == nil: // a restore has lost who that is
			return nil, invalid("merge: whoever one of them was merged into is not known since a restore: Prepare that person first")
		case p.into == nil:
			return &p, nil
		}
		var rows []personRow
		if rows, err = t.peopleAfter(ctx, t.db, 0, "tenant = ? AND surrogate = ?", 1, tenant, p.into); err == nil && len(rows) == 0 {
			err = errMoved
		}
		if err == nil {
			p = rows[0]
		}
	}
	return nil, err
}

// mergedWith are those who were merged into a surrogate.
func (t *Trail) mergedWith(ctx context.Context, tenant string, into [16]byte) (out []personRow, err error) {
	for after := int64(0); ; {
		page, err := t.peopleAfter(ctx, t.db, after, "tenant = ? AND into_surrogate = ?", rowsAStatement, tenant, into[:])
		if err != nil || len(page) == 0 {
			return out, err
		}
		after = page[len(page)-1].n
		out = append(out, page...)
	}
}

func (t *Trail) mergedNumber(ctx context.Context, q sqldb.Querier, tenant string, into [16]byte) (n int, err error) {
	_, err = t.one(ctx, q, []any{&n}, `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE tenant = ? AND into_surrogate = ?`, tenant, into[:])
	return n, err
}

// mergedOf writes what is said of whom a surrogate was merged into.
var mergedOf = sqldb.Insert{
	Table: surrogatesTable, Columns: []string{"tenant", "surrogate", "k", "state", "into_surrogate", "tag"}, Key: []string{"tenant", "surrogate"}, Replace: true, Once: []string{"k"},
}

// putAllMerged tells surrogates whom they were merged into, in few statements. It is
// called under the lock under which persons are erased.
func (t *Trail) putAllMerged(ctx context.Context, tx HandoverTx, tenant string, moved []personRow, into [16]byte, keys []macKey) error {
	var rows [][]any
	for i := range moved {
		p := &moved[i]
		if p.state != surrogateLive { // a person who is named meanwhile takes it back, under no lock
			if err := t.putMerged(ctx, tx, p.surrogateID, into, keys); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []any{tenant, p.surrogate[:], surrogateK(p.surrogate), int64(p.state), into[:], surrogateTag(&keys[0], tenant, p.surrogate, p.state, into[:], p.whose())})
	}
	return t.add(ctx, tx, mergedOf, rows...)
}

// personRow is the row of a person who has one.
func (t *Trail) personRow(ctx context.Context, tenant, person string) (out personRow, err error) {
	rows, err := t.peopleAfter(ctx, t.db, 0, "tenant = ? AND person = ?", 1, tenant, person)
	if err == nil && len(rows) == 0 {
		err = errMoved // erased in between
	}
	if err != nil {
		return out, err
	}
	return rows[0], nil
}

// putMerged tells a surrogate whom it was merged into, unless it was erased since.
func (t *Trail) putMerged(ctx context.Context, tx HandoverTx, s surrogateID, into [16]byte, keys []macKey) error {
	lock := ` FOR UPDATE`
	if t.db.Kind == sqldb.SQLite {
		lock = ""
	}
	var p *personRow
	if err := t.query(ctx, tx, func(rows answer) error {
		row, err := scanPerson(rows)
		p = &row
		return err
	}, `SELECT `+strings.Join(personColumns(), ", ")+` FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate = ?`+lock, s.tenant, s.surrogate[:]); err != nil {
		return err
	}
	if p == nil || p.state == surrogateErased || p.state == surrogateErasing {
		return nil
	}
	tag := []byte{} // of a row that nobody vouches for, as it was: CatchUp looks at it
	if len(keys) > 0 && p.check(keys) == tagRight {
		tag = surrogateTag(&keys[0], s.tenant, s.surrogate, p.state, into[:], p.whose())
	}
	_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET into_surrogate = ?, tag = ? WHERE n = ?`, into[:], tag, p.n)
	return err
}

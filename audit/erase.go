package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Erase deletes what is recorded about a person: the head of the surrogate, and
// with it whose it is and the key of all that was sealed about the person, then
// the sealed values themselves, those in rows that wait, and the tags by which
// retries are compared. It is recorded in the same transaction as the first step
// as an event of kind erase that names the surrogate, and who called as Config.From
// says (nobody, where that is the person). Leaves, hashes and proofs stay as they
// are. Calling it again finds nothing and records nothing, or goes on where a process
// was stopped. Tenant "" is the one of Config.From.
//
// What a sale commits later, with tickets from before, is reached, too: the
// sequencer drops it. Where a sale holds a row that it has recorded before, the
// erasure waits a few seconds, and says [ErrWaiting] then: everything else is
// done, call it again. So it does for a mirror (Config.Mirror) that does not answer.
// On a database that was restored and has not caught up it is [ErrBehind], and
// nothing is done: CatchUp would bring back what the database does not have yet. So
// is it [Trail.Left].
//
// Call it last, when the person's rows are gone: whatever is recorded about the
// person afterwards is about a new surrogate, with all its values, and erased by no
// call from before. That the row was deleted is such an event, also where a capture
// records it. [Trail.Left] counts it, and [Trail.Status] says so where this process
// has erased the person.
//
// Backups from before it become unreadable once the person's key is destroyed,
// which is not done here; where no person has a key ([KeysFrom]) they stay
// readable.
func (t *Trail) Erase(ctx context.Context, tenant, person string) error {
	if err := t.ready(); err != nil {
		return err
	}
	tenant = cmp.Or(tenant, t.caller(ctx).Tenant)
	if err := cmp.Or(ids.Check("tenant", tenant), ids.CheckGiven("person", person)); err != nil {
		return invalid("erase: %w", err)
	}
	if err := t.level(ctx); err != nil {
		return fmt.Errorf("audit: erase: %w", err)
	}
	keys, err := t.macKeys(ctx, tenant, surrogateKeyLabel) // fetched here, not inside the transaction
	if err != nil {
		return fmt.Errorf("audit: erase: %w", err)
	}
	defer wipe(keys)
	t.tickets.forget(tenant, person)
	marked, err := t.mark(ctx, tenant, person, keys)
	if err != nil {
		return fmt.Errorf("audit: erase: %w", err)
	}
	if err := t.erased.remember(tenant, person, marked, t.random); err != nil {
		return fmt.Errorf("audit: erase: %w", err)
	}
	t.tickets.forgetMarked(tenant, marked) // of those too who were merged into the person
	open, err := t.erasing(ctx, tenant)    // these, and what others left behind
	if err != nil {
		return fmt.Errorf("audit: erase: %w", err)
	}
	for _, s := range open {
		if err := t.eraseRest(ctx, s, keys, erasePatience); err != nil {
			return fmt.Errorf("audit: erase: %w", err)
		}
	}
	if err := t.fileCapturedAbout(ctx, tenant, person); err != nil {
		return fmt.Errorf("audit: erase: %w", err)
	}
	if len(marked) == 0 && len(open) == 0 {
		return nil
	}
	return t.eraseReadBack(ctx, marked)
}

// Eraser returns [Trail.Erase] as a func, for a Func of package privacy.
func (t *Trail) Eraser() func(ctx context.Context, tenant, person string) error { return t.Erase }

// mark takes the person and the head from the surrogates of a person, under the
// lock under which filing asks for them: from its commit on nothing about the
// person opens any more, and nothing new is filed.
func (t *Trail) mark(ctx context.Context, tenant, person string, keys []macKey) (marked []surrogateID, err error) {
	found, err := t.surrogatesOfPerson(ctx, tenant, person) // gives a person without a row what a restore has lost
	if err != nil {
		return nil, err
	}
	rest, err := t.unmappedOf(ctx, tenant, person) // opened here, not inside the transaction
	if err == nil && len(found) == 0 {
		rest, err = t.hiddenOf(ctx, tenant, person)
	}
	if err != nil {
		return nil, err
	}
	for range plans {
		said, err := t.rowsFor(ctx, t.db, tenant, person)
		if err != nil {
			return nil, err
		}
		all, err := t.believe(ctx, person, said, keys)
		if err != nil {
			return nil, err
		}
		for _, p := range rest {
			if !slices.Contains(all, p.surrogateID) { // the person took it meanwhile
				all = append(all, p.surrogateID)
			}
		}
		if len(all) == 0 {
			return nil, nil
		}
		rows, err := t.eraseEvents(ctx, tenant, all, person)
		if err != nil {
			return nil, err
		}
		err = t.exclusive(ctx, func(tx HandoverTx) error {
			now, err := t.rowsFor(ctx, tx, tenant, person)
			if err == nil && !sameRows(now, said) {
				err = errMoved
			}
			if err != nil {
				return err
			}
			if err := t.putMarks(ctx, tx, all, surrogateErasing, keys); err != nil {
				return err
			}
			for _, row := range rows {
				if err := t.putRow(ctx, tx, row); err != nil {
					return err
				}
			}
			return nil
		})
		if !errors.Is(err, errMoved) {
			return all, err
		}
	}
	return nil, errMoved
}

// eraseEvents are the events that name surrogates, as many in each as a leaf can.
func (t *Trail) eraseEvents(ctx context.Context, tenant string, all []surrogateID, person string) (rows []*queuedRow, err error) {
	for part := range slices.Chunk(all, auditlog.MaxPersons) {
		leaf, err := t.ownLeaf(ctx, auditlog.KindErase, tenant, "audit.erase", person)
		if err != nil {
			return nil, err
		}
		for _, s := range part {
			leaf.Persons = append(leaf.Persons, surrogateText(s.surrogate))
		}
		slices.Sort(leaf.Persons)
		row, err := t.own(ctx, leaf)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// tombstonesOf makes tombstones of rows of surrogates.
var tombstonesOf = sqldb.Insert{
	Table: surrogatesTable, Columns: []string{"tenant", "surrogate", "k", "person", "head", "into_surrogate", "state", "tag"}, Key: []string{"tenant", "surrogate"}, Replace: true, Once: []string{"k"},
}

// putMarks makes tombstones of rows that are there, in few statements.
func (t *Trail) putMarks(ctx context.Context, tx HandoverTx, all []surrogateID, state byte, keys []macKey) error {
	rows := make([][]any, len(all))
	for i, s := range all {
		rows[i] = []any{s.tenant, s.surrogate[:], surrogateK(s.surrogate), nil, nil, nil, int64(state), surrogateTag(&keys[0], s.tenant, s.surrogate, state, nil, "")}
	}
	return t.add(ctx, tx, tombstonesOf, rows...)
}

// putMark makes a tombstone of the row of a surrogate.
func (t *Trail) putMark(ctx context.Context, tx HandoverTx, s surrogateID, state byte, keys []macKey) error {
	_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET person = NULL, head = NULL, into_surrogate = NULL, state = ?, tag = ? WHERE tenant = ? AND surrogate = ?`,
		int64(state), tagIfKnown(keys, s.tenant, s.surrogate, state), s.tenant, s.surrogate[:])
	return err
}

// erasing are the surrogates of a tenant, "" for all, whose erasure has begun and
// not ended.
func (t *Trail) erasing(ctx context.Context, tenant string) (out []surrogateID, err error) {
	err = t.query(ctx, t.db, func(rows answer) error {
		var raw []byte
		var s surrogateID
		err := rows.Scan(&s.tenant, &raw)
		copy(s.surrogate[:], raw)
		if tenant == "" || tenant == s.tenant {
			out = append(out, s)
		}
		return err
	}, `SELECT tenant, `+upTo(mostID, "surrogate")+` FROM crmguard_audit_surrogates WHERE state >= 2 AND state = 3 ORDER BY tenant, surrogate`) // surrogateErasing, in the words of its index
	return out, err
}

// eraseRest deletes all that was sealed about a surrogate, few rows at a time: a
// person of a hundred thousand events must hold up no sale.
func (t *Trail) eraseRest(ctx context.Context, s surrogateID, keys []macKey, patience time.Duration) error {
	waits := t.fileWith(ctx, s, patience)
	if waits != nil && !errors.Is(waits, ErrWaiting) {
		return waits
	}
	end := time.Now().Add(patience)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		asides, err := t.dropAsides(ctx, s)
		if err != nil {
			return err
		}
		held, err := t.dropOpenings(ctx, s)
		if err != nil {
			return err
		}
		if held += asides; held == 0 {
			break
		}
		if !time.Now().Before(end) { // all else is done, but for the last step
			return cmp.Or(t.eraseMirrored(ctx, s, patience), fmt.Errorf("%w: %d rows whose events a sale repeats, which has not ended", ErrWaiting, held))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	if err := t.eraseMirrored(ctx, s, patience); err != nil {
		return err
	}
	if waits != nil { // all else is done, but for the last step
		return waits
	}
	err := t.exclusive(ctx, func(tx HandoverTx) error { return t.putMark(ctx, tx, s, surrogateErased, keys) })
	if err == nil {
		t.erased.ended(s)
	}
	return err
}

// dropOpenings deletes the openings of a surrogate, and the retry tags of the
// events that name it: first where the index of persons has not come to yet, then
// by the index, and then what the index does not name, which somebody has damaged. It
// says how many retry tags a sale holds.
func (t *Trail) dropOpenings(ctx context.Context, s surrogateID) (held int, err error) {
	from, err := t.unfoundFrom(ctx)
	if err != nil {
		return 0, err
	}
	drop := func(idx []any) error {
		n, err := t.dropOpeningsAt(ctx, s, idx)
		held += n
		return err
	}
	for {
		rows, err := t.entryRows(ctx, t.db, from, math.MaxInt64, rowsAStatement)
		if err != nil {
			return held, err
		}
		if len(rows) == 0 {
			break
		}
		from = rows[len(rows)-1].idx + 1
		var idx []any
		for i := range rows {
			leaf, err := auditlog.ParseLeaf(rows[i].leaf)
			if err != nil || slices.Contains(leaf.Persons, surrogateText(s.surrogate)) {
				idx = append(idx, rows[i].idx)
			}
		}
		if err := drop(idx); err != nil {
			return held, err
		}
	}
	for _, by := range []struct {
		query string
		arg   any
	}{
		{`SELECT idx FROM crmguard_audit_persons WHERE k = ? AND idx > ? ORDER BY idx LIMIT ?`, surrogateK(s.surrogate)},
		{`SELECT idx FROM crmguard_audit_openings WHERE owner = ? AND idx > ? ORDER BY idx LIMIT ?`, s.surrogate[:]},
	} {
		for after := int64(-1); ; {
			var idx []any
			err := t.query(ctx, t.db, func(rows answer) error {
				var n int64
				err := rows.Scan(&n)
				idx, after = append(idx, n), n
				return err
			}, by.query, by.arg, after, rowsAStatement)
			if err != nil {
				return held, err
			}
			if len(idx) == 0 {
				break
			}
			if err := drop(idx); err != nil {
				return held, err
			}
		}
	}
	return held, nil
}

// unfoundFrom is from where on the index of persons may lack entries, whatever the
// state row says.
func (t *Trail) unfoundFrom(ctx context.Context) (from int64, err error) {
	_, err = t.one(ctx, t.db, []any{&from}, `SELECT COALESCE((SELECT MAX(idx) + 1 FROM crmguard_audit_found), 0)`)
	return from, err
}

// dropOpeningsAt deletes what is sealed about a surrogate in some entries.
func (t *Trail) dropOpeningsAt(ctx context.Context, s surrogateID, idx []any) (held int, err error) {
	if len(idx) == 0 {
		return 0, nil
	}
	marks := sqldb.Marks(len(idx))
	var events []any // apart, because MariaDB reads the whole table where they come from a subquery
	if err := t.query(ctx, t.db, func(rows answer) error {
		var id []byte
		err := rows.Scan(&id)
		events = append(events, id)
		return err
	}, `SELECT id FROM crmguard_audit_entries WHERE idx IN (`+marks+`)`, idx...); err != nil {
		return 0, err
	}
	err = t.within(ctx, func(tx HandoverTx) error {
		held = 0 // of an attempt that the database ended
		if _, err := t.exec(ctx, tx, `DELETE FROM crmguard_audit_openings WHERE owner = ? AND idx IN (`+marks+`)`, append([]any{s.surrogate[:]}, idx...)...); err != nil || len(events) == 0 {
			return err
		}
		left, err := t.forgetRetries(ctx, tx, events)
		held = len(left)
		return err
	})
	return held, err
}

// dropAsides takes the openings of a surrogate out of what was set aside, and says how
// many retry tags a sale holds. What waits for its key keeps them for a day: without
// them it is no row of that key. Then no process is to be expected any more that knows
// it, and an erasure ends.
func (t *Trail) dropAsides(ctx context.Context, s surrogateID) (held int, err error) {
	keys, err := t.asideKeys(ctx)
	if err != nil {
		return 0, err
	}
	defer wipe(keys)
	for after := int64(0); ; {
		rows, err := t.asides(ctx, t.db, after, ofTheRefused+" OR "+ofTheLate+" AND at <= ?", append(slices.Concat(whysLate[:], whysLate[:]), t.lateBefore())...)
		if err != nil || len(rows) == 0 {
			return held, err
		}
		after = rows[len(rows)-1].n
		for _, a := range rows {
			body, changed := withoutOwner(a.body, s.surrogate)
			if !changed {
				continue
			}
			tag := a.tag
			if a.check(keys) == tagRight {
				tag = asideTag(keys, a.id, body, a.why, a.at)
			}
			if err := t.within(ctx, func(tx HandoverTx) error {
				left, err := t.forgetRetries(ctx, tx, []any{a.id})
				if err != nil || len(left) > 0 {
					held += len(left) // its body stays until then
					return err
				}
				_, err = t.exec(ctx, tx, `UPDATE crmguard_audit_aside SET body = ?, tag = ? WHERE n = ?`, body, tag, a.n)
				return err
			}); err != nil {
				return held, err
			}
		}
	}
}

// erasePatience is how long an erasure waits for rows that a sale holds.
const erasePatience = 5 * time.Second

// fileWith files what waits until no row does any more that waited when it was
// called and holds an opening of a surrogate: filing drops it. What comes later is
// dropped when it is filed.
func (t *Trail) fileWith(ctx context.Context, s surrogateID, patience time.Duration) error {
	var last int64
	if _, err := t.one(ctx, t.db, []any{&last}, `SELECT COALESCE(MAX(seq), 0) FROM crmguard_audit_events`); err != nil {
		return err
	}
	end := time.Now().Add(patience)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		n, err := t.unfiledWith(ctx, s, last, patience > 0)
		if err != nil || n == 0 {
			return err
		}
		var r Result
		if _, err := t.comeBack(ctx, &r); err != nil {
			return err
		}
		v, err := t.look(ctx, false)
		if err != nil {
			return err
		}
		if err := t.drain(ctx, v.state, v.head, &r); err != nil && !errors.Is(err, ErrHead) {
			return err
		}
		if n, err = t.unfiledWith(ctx, s, last, patience > 0); err != nil || n == 0 {
			return err
		}
		if !time.Now().Before(end) {
			return fmt.Errorf("%w: %d rows hold sealed values of the person: of an open sale, or set aside until the key of their tag is known, which they wait for a day (audit.refused)", ErrWaiting, n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// unfiledWith counts the rows up to the row last that are still to be filed and hold
// an opening of a surrogate. A pass, which comes again, does not look at all that wait
// for a key where those are many.
func (t *Trail) unfiledWith(ctx context.Context, s surrogateID, last int64, all bool) (int, error) {
	n, err := t.waitingWith(ctx, s, last)
	if err != nil {
		return n, err
	}
	most := refusedAPass
	if all {
		most = math.MaxInt
	}
	late, err := t.lateWith(ctx, t.db, s, most)
	return n + late, err
}

// resume goes on with erasures that were stopped half way. One that fails, or a tenant
// whose keys do not answer, keeps none of the others from its end.
func (t *Trail) resume(ctx context.Context) error {
	open, first := t.erasing(ctx, "")
	without := make(map[string]bool) // tenants whose keys do not answer
	for _, s := range open {
		if without[s.tenant] {
			continue
		}
		keys, err := t.macKeys(ctx, s.tenant, surrogateKeyLabel)
		if without[s.tenant] = err != nil; err == nil {
			err = t.eraseRest(ctx, s, keys, 0)
			wipe(keys)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errMirror): // and all that follow need it, too
			t.observe(ctx, "audit.mirror.failed", 1)
			return first
		case err != nil && !errors.Is(err, ErrWaiting):
			first = cmp.Or(first, err)
		}
	}
	return first
}

var errLeft = errors.New("audit: erase: rows of the person are still there")

// eraseReadBack looks whether anything is left of surrogates.
func (t *Trail) eraseReadBack(ctx context.Context, marked []surrogateID) error {
	for _, s := range marked {
		n, err := t.leftOf(ctx, s)
		if err != nil {
			return err
		}
		if n != 0 {
			return errLeft
		}
	}
	return nil
}

package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Left counts what is stored about a person outside of the log: the head of the
// surrogate, sealed values, those in rows that wait or were set aside, and captured
// rows that wait under the person's id (Config.Captured). It is 0 for
// a person who was erased, and for one who was never recorded: for a Func of
// package privacy, which asks when an erasure is done.
//
// An erasure that has begun and not ended counts as one, and so does each sealed value
// that it has not reached: what is left in rows that a sale holds, or in a mirror that
// does not answer, cannot be counted by itself. The database does not say any more
// whose erasure that is: it counts for everybody of the tenant, but for those of whom
// this process knows that it is another one's. [Trail.Erase] ends it.
func (t *Trail) Left(ctx context.Context, tenant, person string) (int, error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	tenant = cmp.Or(tenant, t.caller(ctx).Tenant)
	if err := cmp.Or(ids.Check("tenant", tenant), ids.CheckGiven("person", person)); err != nil {
		return 0, invalid("left: %w", err)
	}
	if err := t.level(ctx); err != nil {
		return 0, fmt.Errorf("audit: left: %w", err)
	}
	surrogates, err := t.surrogatesOfPerson(ctx, tenant, person)
	if err != nil {
		return 0, err
	}
	total, err := t.capturedAbout(ctx, tenant, person)
	if err != nil {
		return 0, err
	}
	for _, s := range surrogates {
		n, err := t.leftOf(ctx, s)
		if err != nil {
			return 0, err
		}
		total += n
	}
	n, err := t.leftErasing(ctx, tenant, person)
	return total + n, err
}

// leftErasing counts the erasures of a tenant that have not ended and may be of a
// person, and the openings that they have not deleted.
func (t *Trail) leftErasing(ctx context.Context, tenant, person string) (n int, err error) {
	before := t.erased.openOf(tenant)
	open, err := t.erasing(ctx, tenant)
	if err != nil {
		return 0, err
	}
	open = t.erased.maybe(tenant, person, open, before)
	n = len(open)
	for part := range slices.Chunk(open, rowsAStatement) {
		args := make([]any, len(part))
		for i := range part {
			args[i] = part[i].surrogate[:]
		}
		var openings int
		if _, err := t.one(ctx, t.db, []any{&openings}, `SELECT COUNT(*) FROM crmguard_audit_openings WHERE owner IN (`+sqldb.Marks(len(args))+`)`, args...); err != nil {
			return 0, err
		}
		n += openings
	}
	return n, nil
}

// leftOf counts what is stored about a surrogate.
func (t *Trail) leftOf(ctx context.Context, s surrogateID) (int, error) {
	var heads, openings int
	if _, err := t.one(ctx, t.db, []any{&heads}, `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate = ? AND (head IS NOT NULL OR person IS NOT NULL)`, s.tenant, s.surrogate[:]); err != nil {
		return 0, err
	}
	if _, err := t.one(ctx, t.db, []any{&openings}, `SELECT COUNT(*) FROM crmguard_audit_openings WHERE owner = ?`, s.surrogate[:]); err != nil {
		return 0, err
	}
	n := heads + openings
	waiting, err := t.waitingWith(ctx, s, 1<<62)
	if err != nil {
		return 0, err
	}
	n += waiting
	for after := int64(0); ; {
		rows, err := t.asides(ctx, t.db, after, ofAll)
		if err != nil {
			return 0, err
		}
		if len(rows) == 0 {
			break
		}
		for _, a := range rows {
			after = a.n
			if _, holds := withoutOwner(a.body, s.surrogate); holds {
				n++
			}
		}
	}
	return n, nil
}

// waitingWith counts the rows that wait, up to the row last, and hold an opening of
// a surrogate.
func (t *Trail) waitingWith(ctx context.Context, s surrogateID, last int64) (n int, err error) {
	for after := firstSeq; ; {
		rows, more, err := t.queued(ctx, after, batch)
		if err != nil {
			return 0, err
		}
		for _, w := range rows {
			if after = w.seq; after > last {
				return n, nil
			}
			if _, holds := withoutOwner(w.body, s.surrogate); holds {
				n++
			}
		}
		if !more {
			return n, nil
		}
	}
}

// withoutOwner is the body of a waiting row without the opening of one owner, and
// whether it had one.
func withoutOwner(body []byte, owner [16]byte) ([]byte, bool) {
	b, err := auditlog.ParseRowBody(body)
	if err != nil {
		return body, false
	}
	frames, err := auditlog.ParseFrames(b.Sealed)
	if err != nil {
		return body, false
	}
	kept := make([]auditlog.Frame, 0, len(frames))
	for _, f := range frames {
		if f.Owner != owner {
			kept = append(kept, f)
		}
	}
	if len(kept) == len(frames) {
		return body, false
	}
	sealed, err := auditlog.AppendFrames(nil, kept)
	if err != nil {
		return body, false
	}
	out, err := auditlog.AppendRowBody(nil, auditlog.RowBody{Tag: b.Tag, Leaf: b.Leaf, Sealed: sealed})
	if err != nil {
		return body, false
	}
	return out, true
}

package audit

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// A row that no key of this process can judge may be one of another process that
// has the key already. It is set aside as a forged one is, so that a million of them
// make no work for ever, and in a class of its own, of which each pass looks at a few
// again, in turn: those come back by themselves as soon as they can be judged.

// whysLate are the reasons of that class.
var whysLate = [2]any{refusedNoKey, refusedVersion}

// ofTheLate is the condition of the class, and isn't that of all others.
const (
	ofTheLate    = "why IN (?, ?) AND LENGTH(body) > 0"
	ofTheRefused = "why NOT IN (?, ?) AND LENGTH(body) > 0"
)

// A pass looks again at as many rows of the class as an answer of the queue holds,
// of not more tenants than these: the keys of each may be a call of a service.
const tenantsAgain = 16

// comeBack puts rows back into the queue that can be judged by now, and says how
// many. Which of them are good the queue says.
func (t *Trail) comeBack(ctx context.Context, r *Result) (n int, err error) {
	keys := newPassKeys()
	defer keys.wipe()
	for i, why := range whysLate {
		back, err := t.comeBackOf(ctx, why, &t.again[i], keys, r)
		if n += back; err != nil {
			return n, fmt.Errorf("audit: readmit: %w", err)
		}
	}
	return n, nil
}

func (t *Trail) comeBackOf(ctx context.Context, why any, last *atomic.Int64, keys *passKeys, r *Result) (n int, err error) {
	rows, err := t.asides(ctx, t.db, last.Load(), "why = ? AND LENGTH(body) > 0", why) // of one reason: a range of one index
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		last.Store(0) // from the first on, the next time
		return 0, nil
	}
	size := 0
	for i := range rows {
		size += len(rows[i].body)
	}
	whole := len(rows) < rowsAStatement && size <= queueBytes // there are no more
	tenants := make(map[string]bool)
	looked := make([]waiting, 0, len(rows))
	for i := range rows {
		if tenants[tenantOf(rows[i].body)] = true; len(tenants) > tenantsAgain {
			break
		}
		looked = append(looked, waiting{seq: rows[i].n, id: rows[i].id, body: rows[i].body})
	}
	_, refused, err := t.verify(ctx, looked, keys)
	if err != nil {
		return 0, err
	}
	still := make(map[int64]bool)
	for i := range refused {
		if f := &refused[i]; !f.definite {
			still[f.seq] = true
			t.refused(ctx, f, r)
		}
	}
	back := make([]asideRow, 0, len(looked))
	for i := range looked {
		if !still[looked[i].seq] {
			back = append(back, rows[i])
		}
	}
	if n, err = t.readmit(ctx, back); err != nil {
		return n, err
	}
	last.Store(looked[len(looked)-1].seq)
	if len(looked) == len(rows) && whole {
		last.Store(0)
	}
	return n, nil
}

// tenantOf is whom a row says it is of.
func tenantOf(body []byte) string {
	b, err := auditlog.ParseRowBody(body)
	if err != nil {
		return ""
	}
	leaf, err := auditlog.ParseLeaf(b.Leaf)
	if err != nil {
		return ""
	}
	return leaf.Tenant
}

// refused tells of a row that may not enter.
func (t *Trail) refused(ctx context.Context, f *refusal, r *Result) {
	r.Refused = append(r.Refused, Refused{Event: eventName(f.id), What: f.why})
	t.observe(ctx, "audit.refused.row", 1, slog.String("why", f.why))
}

// lateWith counts the rows of the class that hold an opening of a surrogate: an
// erasure waits for them, as for those in the queue. It looks at most of them, and
// then takes the rest for such.
func (t *Trail) lateWith(ctx context.Context, q sqldb.Querier, s surrogateID, most int) (n int, err error) {
	for after, seen := int64(0), 0; ; {
		rows, err := t.asides(ctx, q, after, ofTheLate, whysLate[:]...)
		if err != nil || len(rows) == 0 {
			return n, err
		}
		after = rows[len(rows)-1].n
		for _, a := range rows {
			if _, holds := withoutOwner(a.body, s.surrogate); holds {
				n++
			}
		}
		if seen += len(rows); seen >= most {
			return n + 1, nil
		}
	}
}

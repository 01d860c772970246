package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Who was erased and is recorded again has a new surrogate, and all that is said
// about them from then on stays: mostly it is the deletion of their row, which came
// behind the erasure. The database cannot know them again, because it has forgotten
// them; the process that erased them can, by a digest under a key that ends with it.

// erasedMost is how many persons that were erased a process knows again.
const erasedMost = 16384

// erasedPeople are the persons whom this process has erased. Its zero value is ready.
type erasedPeople struct {
	mu    sync.Mutex
	key   []byte
	known map[[32]byte]bool
	order [][32]byte // of known, the oldest first
	again map[surrogateID]time.Time
	open  map[surrogateID][32]byte // whose erasures are that have not ended, as known
}

// digest is what a person is known by. The lock is held.
func (e *erasedPeople) digest(tenant, person string) (out [32]byte) {
	sum := hmac.New(sha256.New, e.key)
	sum.Write(frame.Join(tenant, person))
	return [32]byte(sum.Sum(out[:0]))
}

// remember takes a person in, and which surrogates of theirs are being erased.
func (e *erasedPeople) remember(tenant, person string, marked []surrogateID, random func([]byte) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.key == nil {
		key := make([]byte, 32)
		if err := random(key); err != nil {
			return err
		}
		e.key, e.known, e.again = key, make(map[[32]byte]bool), make(map[surrogateID]time.Time)
		e.open = make(map[surrogateID][32]byte)
	}
	one := e.digest(tenant, person)
	for _, s := range marked {
		if len(e.open) < erasedMost {
			e.open[s] = one
		}
	}
	if e.known[one] {
		return nil
	}
	if len(e.order) >= erasedMost {
		delete(e.known, e.order[0])
		e.order = slices.Delete(e.order, 0, 1)
	}
	e.known[one], e.order = true, append(e.order, one)
	return nil
}

// openOf are the erasures of a tenant that this process knows to be open, and whose.
func (e *erasedPeople) openOf(tenant string) map[surrogateID][32]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[surrogateID][32]byte)
	for s, whose := range e.open {
		if s.tenant == tenant {
			out[s] = whose
		}
	}
	return out
}

// ended forgets an erasure that is done.
func (e *erasedPeople) ended(s surrogateID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.open, s)
}

// maybe are those of the open erasures of a tenant that are a person's, or nobody
// knows whose. Those known before these were read that are none of them were ended by
// another process, and are forgotten: not one that has begun since.
func (e *erasedPeople) maybe(tenant, person string, open []surrogateID, before map[surrogateID][32]byte) (out []surrogateID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	is := make(map[surrogateID]bool, len(open))
	one := e.digest(tenant, person)
	for _, s := range open {
		is[s] = true
		whose, known := e.open[s]
		if !known {
			whose, known = before[s] // it ended meanwhile
		}
		if !known || whose == one {
			out = append(out, s)
		}
	}
	for s := range before {
		if !is[s] {
			delete(e.open, s)
		}
	}
	return out
}

// seen compares the rows of persons who are prepared, and answers how many of them
// were erased before.
func (e *erasedPeople) seen(tenant string, rows map[string]surrogateRow, now time.Time) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.known) == 0 {
		return 0
	}
	for person, row := range rows {
		id := surrogateID{tenant: tenant, surrogate: row.surrogate}
		if _, told := e.again[id]; told || person == "" || !e.known[e.digest(tenant, person)] || len(e.again) >= erasedMost {
			continue
		}
		e.again[id] = now
		n++
	}
	return n
}

// list is whose rows were made again, by tenant.
func (e *erasedPeople) list() (out map[string][][16]byte, since time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out = make(map[string][][16]byte)
	for id, at := range e.again {
		if since.IsZero() || at.Before(since) {
			since = at
		}
		out[id.tenant] = append(out[id.tenant], id.surrogate)
	}
	return out, since
}

// keep drops those of a list whose new surrogate was erased, too.
func (e *erasedPeople) keep(tenant string, listed [][16]byte, live map[[16]byte]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range listed {
		if !live[s] {
			delete(e.again, surrogateID{tenant: tenant, surrogate: s})
		}
	}
}

// recordedAgain counts those of them who still are in the database: another process
// may have erased them meanwhile.
func (t *Trail) recordedAgain(ctx context.Context) (n int, since time.Time, err error) {
	all, since := t.erased.list()
	for tenant, surrogates := range all {
		for part := range slices.Chunk(surrogates, 500) {
			args := []any{tenant}
			for i := range part {
				args = append(args, part[i][:])
			}
			live := make(map[[16]byte]bool, len(part))
			err := t.query(ctx, t.db, func(rows answer) error {
				var raw []byte
				err := rows.Scan(&raw)
				if len(raw) == 16 {
					live[[16]byte(raw)] = true
				}
				return err
			}, `SELECT surrogate FROM crmguard_audit_surrogates WHERE tenant = ? AND person IS NOT NULL AND surrogate IN (`+sqldb.Marks(len(part))+`)`, args...)
			if err != nil {
				return 0, since, err
			}
			t.erased.keep(tenant, part, live)
			n += len(live)
		}
	}
	return n, since, nil
}

package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/frame"
)

// A restore brings back surrogates, from the mirror, of whom nobody can say whose
// they are: the head opens under the person's key, and names the person, and that
// is tried when the person is named again, before anything new is drawn. Where the
// person has another surrogate by then, recorded before the database had caught up,
// both are the person's.

// unmapped says whether a tenant has such surrogates.
func (t *Trail) unmapped(ctx context.Context, tenant string) (bool, error) {
	return t.any(ctx, t.db, `SELECT 1 FROM crmguard_audit_surrogates WHERE state >= 2 AND state = 2 AND tenant = ? AND head IS NOT NULL`, tenant)
}

// unmappedOf are those of a person. Rows that somebody put there by hand cost nothing
// but a look at their tag.
func (t *Trail) unmappedOf(ctx context.Context, tenant, person string) (out []personRow, err error) {
	if has, err := t.unmapped(ctx, tenant); err != nil || !has {
		return nil, err
	}
	return t.openedBy(ctx, tenant, person, "state >= 2 AND state = 2 AND tenant = ? AND head IS NOT NULL", func(p *personRow, right bool) bool { return right })
}

// hiddenOf are the rows of a person that nobody vouches for: somebody has changed
// whose they are. It reads all rows of the tenant, and is for erasures that find
// nobody otherwise.
func (t *Trail) hiddenOf(ctx context.Context, tenant, person string) ([]personRow, error) {
	return t.openedBy(ctx, tenant, person, "tenant = ? AND head IS NOT NULL", func(p *personRow, right bool) bool { return !right })
}

// openedBy are the rows of a condition whose heads open for a person, of those that
// are to be tried: right says whether the tag of one is.
func (t *Trail) openedBy(ctx context.Context, tenant, person, where string, try func(p *personRow, right bool) bool) (out []personRow, err error) {
	keys, err := t.macKeys(ctx, tenant, surrogateKeyLabel)
	if err != nil {
		return nil, err
	}
	defer wipe(keys)
	for last := int64(0); ; {
		page, err := t.peopleAfter(ctx, t.db, last, where, rowsAStatement, tenant)
		if err != nil || len(page) == 0 {
			return out, err
		}
		for i := range page {
			p := &page[i]
			if last = p.n; !try(p, p.check(keys) == tagRight) {
				continue
			}
			theirs, err := t.opens(ctx, p, person)
			if err != nil {
				return nil, err
			}
			if theirs { // otherwise another person's, or one's who has no key any more
				out = append(out, *p)
			}
		}
	}
}

// opens says whether the head of a row opens for a person, and asks nobody a second
// time for a while whether one does that did not.
func (t *Trail) opens(ctx context.Context, p *personRow, person string) (bool, error) {
	if p.short || len(p.head) == 0 {
		return false, nil
	}
	data := frame.Append(frame.Append(nil, p.tenant), person)
	data = frame.Append(frame.Append(data, p.surrogate[:]), p.head)
	try, now := attempt(sha256.Sum256(data)), t.now()
	if t.vain.has(try, now) {
		return false, nil
	}
	head, err := t.openHead(ctx, p.tenant, person, p.surrogate, p.head)
	clear(head.Content[:])
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if errors.Is(err, ErrKeys) { // and nobody knows
		return false, err
	}
	if err != nil {
		t.vain.add(try, now)
	}
	return err == nil, nil
}

// attempt is a head and for whom it was tried.
type attempt [sha256.Size]byte

// vain remembers which heads did not open for whom: after a restore each person who
// is named would otherwise have the heads of all whom nobody has named yet tried
// again, in each question. Keys that come back are asked again.
type vain struct {
	mu         sync.Mutex
	young, old map[attempt]struct{}
	since      time.Time
}

const (
	vainMost   = 1 << 16 // of each generation: some megabytes
	vainAWhile = 10 * time.Minute
)

func (v *vain) has(a attempt, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.turn(now)
	_, young := v.young[a]
	_, old := v.old[a]
	return young || old
}

func (v *vain) add(a attempt, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.turn(now)
	v.young[a] = struct{}{}
}

// turn forgets the older generation when the younger one is full or old.
func (v *vain) turn(now time.Time) {
	if v.young == nil || len(v.young) >= vainMost || away(now, v.since) >= vainAWhile {
		v.old, v.young, v.since = v.young, make(map[attempt]struct{}), now
	}
}

// reclaimed gives persons who have no row the surrogates that are theirs.
func (t *Trail) reclaimed(ctx context.Context, tenant string, persons ...string) error {
	if has, err := t.unmapped(ctx, tenant); err != nil || !has {
		return err
	}
	for _, person := range persons {
		theirs, err := t.unmappedOf(ctx, tenant, person)
		if err != nil {
			return err
		}
		if len(theirs) > 0 {
			if err := t.claimRow(ctx, &theirs[0], person); err != nil {
				return err
			}
		}
	}
	return nil
}

// claimRow gives the row of a surrogate back to its person.
func (t *Trail) claimRow(ctx context.Context, p *personRow, person string) error {
	keys, err := t.macKeys(ctx, p.tenant, surrogateKeyLabel)
	if err != nil {
		return err
	}
	defer wipe(keys)
	if p.check(keys) != tagRight {
		return nil // somebody made it unknown by hand: VerifyStore says so
	}
	return t.within(ctx, func(tx HandoverTx) error {
		_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET person = ?, state = 0, tag = ? WHERE n = ? AND state = 2 AND tag = ?`,
			person, surrogateTag(&keys[0], p.tenant, p.surrogate, surrogateLive, p.into, person), p.n, p.tag)
		return err
	})
}

// surrogatesOfPerson are all surrogates of a person, those too that a restore
// brought back beside a newer one.
func (t *Trail) surrogatesOfPerson(ctx context.Context, tenant, person string) ([]surrogateID, error) {
	out, err := t.surrogatesFor(ctx, tenant, person)
	if err == nil && len(out) == 0 {
		if err = t.reclaimed(ctx, tenant, person); err == nil {
			out, err = t.surrogatesFor(ctx, tenant, person)
		}
	}
	if err != nil {
		return nil, err
	}
	more, err := t.unmappedOf(ctx, tenant, person)
	for _, p := range more {
		out = append(out, p.surrogateID)
	}
	return out, err
}

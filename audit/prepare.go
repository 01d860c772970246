package audit

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// maxPrepared is how many persons are prepared at once: of more the first would
// be forgotten before the last is there.
const maxPrepared = maxTickets / 2

// prepare gets the tickets of a tenant and of persons, and renews those that end
// soon. The time of a ticket begins before anything is read.
func (t *Trail) prepare(ctx context.Context, tenant string, persons []string) error {
	if err := checkTenant("tenant", tenant); err != nil {
		return err
	}
	for _, person := range persons {
		if err := ids.CheckGiven("a person id", person); err != nil {
			return invalid("prepare: %w", err)
		}
	}
	sorted := slices.Clone(persons)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	if len(sorted) > maxPrepared {
		return fmt.Errorf("%w: prepare: %d persons at once, at most %d", ErrTooLarge, len(sorted), maxPrepared)
	}
	if err := t.config.Keys.Prepare(ctx, tenant, persons...); err != nil { // its errors name positions
		return fmt.Errorf("audit: prepare: %w", err)
	}
	now := t.config.Now()
	t.tickets.sweep(now, t.prepared())
	stale, look := t.tickets.stale(now, tenant, sorted)
	if len(look) > 0 {
		moved, err := t.movedRows(ctx, tenant, look, now)
		if err != nil {
			return fmt.Errorf("audit: prepare: %w", err)
		}
		stale = append(stale, moved...)
		slices.Sort(stale) // the tenant first
	}
	if len(stale) == 0 {
		return nil
	}
	until := grantFrom(now, t.prepared())
	if stale[0] == "" { // the tenant first: it says what there is to find for persons
		if err := t.draw(ctx, tenant, stale[:1], until); err != nil {
			return err
		}
		stale = stale[1:]
	}
	return t.draw(ctx, tenant, stale, until)
}

// movedRows says of whom the database has another row than their ticket was made from.
func (t *Trail) movedRows(ctx context.Context, tenant string, persons []string, now time.Time) ([]string, error) {
	rows := make(map[string]surrogateRow, len(persons))
	if err := t.readSurrogates(ctx, tenant, persons, rows); err != nil {
		return nil, err
	}
	moved := t.tickets.moved(now, tenant, persons, rows)
	if len(moved) > 0 {
		t.observe(ctx, "audit.tickets.moved", float64(len(moved)))
	}
	return moved, nil
}

// prepared is how long a ticket holds.
func (t *Trail) prepared() time.Duration { return cmp.Or(t.config.Prepared, time.Minute) }

// surrogateRow is the row of a person who is known.
type surrogateRow struct {
	surrogate [16]byte
	person    string // "" for the tenant's own data
	head      []byte
}

// draw gets tickets of persons, or that of a tenant.
func (t *Trail) draw(ctx context.Context, tenant string, persons []string, until grant) error {
	rows, err := t.surrogateRows(ctx, tenant, persons)
	if err != nil {
		return fmt.Errorf("audit: prepare: %w", err)
	}
	if n := t.erased.seen(tenant, rows, t.now()); n > 0 {
		t.observe(ctx, "audit.erased.again", float64(n))
	}
	fresh := make([]*held, 0, len(persons))
	for _, person := range persons {
		h, err := t.ticketOf(ctx, tenant, rows[person])
		if err != nil && ctx.Err() == nil {
			h, err = t.ticketBeside(ctx, tenant, person, err)
		}
		if err != nil {
			return fmt.Errorf("audit: prepare: %w", err)
		}
		h.until, h.look = until, grantFrom(until.start, lookAgain)
		fresh = append(fresh, h)
	}
	t.tickets.put(fresh...)
	return nil
}

// ticketOf opens a head.
func (t *Trail) ticketOf(ctx context.Context, tenant string, row surrogateRow) (*held, error) {
	head, err := t.openHead(ctx, tenant, row.person, row.surrogate, row.head)
	if err != nil {
		return nil, err
	}
	h := &held{id: ticketID{tenant, row.person}, head: row.head, ticket: ticket{
		surrogate: row.surrogate, text: surrogateText(row.surrogate), content: head.Content,
	}}
	clear(head.Content[:])
	if row.person != "" {
		return h, nil
	}
	if h.queue, h.retry, err = t.saleKeys(ctx, tenant); err != nil {
		return nil, err
	}
	return h, nil
}

// saleKeys are the keys under which a sale tags its rows.
func (t *Trail) saleKeys(ctx context.Context, tenant string) (queue, retry *macMaker, err error) {
	queues, err := t.macKeys(ctx, tenant, queueKeyLabel)
	if err != nil {
		return nil, nil, err
	}
	retries, err := t.macKeys(ctx, tenant, retryKeyLabel)
	if err != nil {
		return nil, nil, err
	}
	return newMACMaker(queues[0]), newMACMaker(retries[0]), nil
}

// surrogateRows are the rows of persons; those that are not there are made, in a
// transaction of its own. Where two processes make one at the same time, the row
// that is there counts for both.
func (t *Trail) surrogateRows(ctx context.Context, tenant string, persons []string) (map[string]surrogateRow, error) {
	rows := make(map[string]surrogateRow, len(persons))
	if err := t.readSurrogates(ctx, tenant, persons, rows); err != nil {
		return nil, err
	}
	missing := withoutRow(persons, rows)
	if len(missing) == 0 {
		return rows, nil
	}
	if err := t.reclaimed(ctx, tenant, missing...); err != nil {
		return nil, err
	}
	if err := t.makeSurrogates(ctx, tenant, missing); err != nil {
		return nil, err
	}
	if err := t.readSurrogates(ctx, tenant, missing, rows); err != nil {
		return nil, err
	}
	if missing = withoutRow(persons, rows); len(missing) > 0 {
		return nil, fmt.Errorf("%w: surrogates of %d persons vanished as soon as they were made, or other rows have their names: CatchUp sets those right", auditlog.ErrTampered, len(missing))
	}
	return rows, nil
}

func withoutRow(persons []string, rows map[string]surrogateRow) (out []string) {
	for _, person := range persons {
		if _, ok := rows[person]; !ok {
			out = append(out, person)
		}
	}
	return out
}

// readSurrogates reads the rows that are there into out.
func (t *Trail) readSurrogates(ctx context.Context, tenant string, persons []string, out map[string]surrogateRow) error {
	for part := range slices.Chunk(persons, 500) {
		args := make([]any, 0, len(part)+1)
		args = append(args, tenant)
		for _, person := range part {
			args = append(args, person)
		}
		err := t.query(ctx, t.db, func(rows answer) error {
			var r surrogateRow
			var surrogate []byte
			if err := rows.Scan(&surrogate, &r.person, &r.head); err != nil {
				return err
			}
			copy(r.surrogate[:], surrogate) // of another length no head opens
			out[r.person] = r
			return nil
		}, `SELECT `+upTo(mostID, "surrogate")+`, person, `+upTo(mostSmall, "head")+` FROM crmguard_audit_surrogates WHERE tenant = ? AND person IN (`+sqldb.Marks(len(part))+`)`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// makeSurrogates draws surrogates and content keys, and inserts those that nobody
// else inserts meanwhile, in one order, so that two that make the same ones wait
// for each other and for nothing else. The tenant's own data has a surrogate of
// zeros.
func (t *Trail) makeSurrogates(ctx context.Context, tenant string, persons []string) error {
	if len(persons) == 0 {
		return nil
	}
	keys, err := t.macKeys(ctx, tenant, surrogateKeyLabel)
	if err != nil {
		return err
	}
	defer wipe(keys)
	rows := make([][]any, 0, len(persons))
	for _, person := range persons {
		surrogate, sealed, err := t.drawHead(ctx, tenant, person)
		if err != nil {
			return err
		}
		rows = append(rows, []any{
			tenant, surrogate[:], surrogateKey(surrogate), person, sealed, int64(surrogateLive),
			surrogateTag(&keys[0], tenant, surrogate, surrogateLive, nil, person),
		})
	}
	in := sqldb.Insert{
		Table:   "crmguard_audit_surrogates",
		Columns: []string{"tenant", "surrogate", "k", "person", "head", "state", "tag"},
		// By no key: what is about nobody has one surrogate and one person, and meets
		// another process's row by both.
	}
	return t.within(ctx, func(tx HandoverTx) error { return t.add(ctx, tx, in, rows...) })
}

// surrogateKey is what the index of persons knows a surrogate by.
func surrogateKey(surrogate [16]byte) int64 {
	return int64(binary.BigEndian.Uint64(surrogate[:]))
}

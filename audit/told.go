package audit

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/capture"
)

// A change of which an event of the same transaction tells is not filed a second
// time. Event and captured rows are committed together, so whoever sees the one
// sees the other: they are compared while the event gets its place, and what was
// told of goes in that transaction. Afterwards nothing says any more which
// transaction an event was of, and what is captured by then is untold.

// teller is an event that may tell of captured rows.
type teller struct {
	tx     uint64
	event  capture.Event
	person personID // of the object; "" where it is none
	key    string   // the object, as a captured row names it
}

// told deletes the captured rows of which rows tell that are about to get their
// places.
func (t *Trail) told(ctx context.Context, tx HandoverTx, rows []checked, keys *passKeys) error {
	if len(rows) == 0 {
		return nil
	}
	if can, err := t.captures(ctx, tx); err != nil || !can {
		return err
	}
	for part := range slices.Chunk(rows, rowsAStatement) {
		tellers, err := t.tellers(ctx, tx, part, keys)
		if err != nil {
			return err
		}
		if err := t.dropTold(ctx, tx, tellers); err != nil {
			return err
		}
	}
	return nil
}

// tellers are the rows that may tell of something: those whose transaction has
// captured rows.
func (t *Trail) tellers(ctx context.Context, tx HandoverTx, rows []checked, keys *passKeys) ([]teller, error) {
	by := make(map[[16]byte]*checked, len(rows))
	var args []any
	for i := range rows {
		l := &rows[i].leaf
		if l.Kind != auditlog.KindEvent || l.Object.ID == "" || l.Outcome != OutcomeOK && l.Outcome != OutcomePartial {
			continue
		}
		var surrogate any
		if s, err := surrogateBytes(l.Object.ID); err == nil && t.isPersonKind(l.Object.Kind) {
			surrogate = s[:]
		}
		by[rows[i].id] = &rows[i]
		args = append(args, rows[i].id[:], l.Tenant, surrogate)
	}
	if len(by) == 0 {
		return nil, nil
	}
	var out []teller
	err := t.query(ctx, tx, func(found answer) error {
		var id []byte
		var number string
		var mark surrogateMark
		var surrogate []byte
		var state sql.NullInt64
		var isPerson bool
		if err := found.Scan(&id, &number, &isPerson, &surrogate, &state, &mark.into, &mark.person, &mark.tag); err != nil {
			return err
		}
		of, err := strconv.ParseUint(number, 10, 64)
		if err != nil || len(id) != 16 {
			return nil //nolint:nilerr // it tells of nothing: of no transaction
		}
		l := &by[[16]byte(id)].leaf
		mark.tenant = l.Tenant
		mark.fill(surrogate, state.Int64)
		if isPerson && (mark.whose() == "" || mark.check(keys.by[l.Tenant].surrogates) != tagRight) {
			return nil // or of nobody who is known
		}
		one := teller{tx: of, key: l.Object.ID, event: capture.Event{
			Tx: of, Tenant: l.Tenant, Object: capture.Object{Kind: l.Object.Kind, ID: l.Object.ID}, Outcome: l.Outcome, Changes: len(l.Changes),
		}}
		if isPerson {
			one.key, one.person = mark.whose(), personID{l.Tenant, mark.whose()}
		}
		out = append(out, one)
		return nil
	}, `SELECT v.id, e.tx::text, v.surrogate IS NOT NULL, s.surrogate, s.state, s.into_surrogate, s.person, s.tag
		FROM (VALUES `+repeated(`(?::bytea, ?::text, ?::bytea)`, len(by))+`) v (id, tenant, surrogate)
		JOIN crmguard_audit_events e ON e.id = v.id AND e.idx IS NULL
		LEFT JOIN crmguard_audit_surrogates s ON s.tenant = v.tenant AND s.surrogate = v.surrogate
		WHERE EXISTS (SELECT FROM crmguard_audit_captured c WHERE c.tx = e.tx)`, args...)
	return out, err
}

// repeated is one n times, with commas between.
func repeated(one string, n int) string { return strings.TrimSuffix(strings.Repeat(one+", ", n), ", ") }

// dropTold deletes what events told of, a page at a time, however much it is. The
// rule is [capture.Leaf.ToldBy]; the database finds what it could hold for.
func (t *Trail) dropTold(ctx context.Context, tx HandoverTx, tellers []teller) error {
	if len(tellers) == 0 {
		return nil
	}
	byTx := make(map[uint64][]*teller)
	people := make(map[personID][16]byte)
	var args []any
	for i := range tellers {
		e := &tellers[i]
		byTx[e.tx] = append(byTx[e.tx], e)
		if e.person.person != "" {
			surrogate, err := surrogateBytes(e.event.Object.ID)
			if err != nil {
				return err
			}
			people[e.person] = surrogate
		}
		args = append(args, strconv.FormatUint(e.tx, 10), e.event.Tenant, e.event.Object.Kind, e.key)
	}
	filing := capture.Filing{
		Log: t.config.Name, Cluster: "-", Tenant: t.config.Tenant, // the ids of these are not looked at
		Opaque: func(id string) bool { return checkOpaque("id", id) == nil }, Surrogate: t.capturedSurrogate(people),
	}
	candidates := `n IN (SELECT c.n FROM (VALUES ` + repeated(`(?::text, ?::text, ?::text, ?::text)`, len(tellers)) + `) v (tx, tenant, kind, key)
		JOIN crmguard_audit_captured c ON c.tx = CAST(v.tx AS xid8) AND c.tenant = v.tenant AND c.kind = v.kind AND c.key = v.key) AND n > ?`
	total := 0
	for last := firstSeq; ; {
		rows, _, err := t.capturedRows(ctx, tx, candidates, capturedAPass, append(args, last)...)
		if err != nil {
			return err
		}
		var drop []int64
		for i := range rows {
			l, err := filing.Leaf(rows[i])
			if err == nil && slices.ContainsFunc(byTx[l.Tx], func(e *teller) bool { return l.ToldBy(e.event) }) {
				drop = append(drop, rows[i].N)
			}
		}
		there, err := t.takeCaptured(ctx, tx, drop)
		if err != nil {
			return err
		}
		total += len(there)
		if len(rows) < capturedAPass {
			t.observe(ctx, "audit.captured.told", float64(total))
			return nil
		}
		last = rows[len(rows)-1].N
	}
}

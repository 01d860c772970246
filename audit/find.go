package audit

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
)

// Filter is a question to the trail. What is not zero must be so of each event
// that is found.
type Filter struct {
	// Tenant is whose events; "" asks Config.From, and another one than Config.From
	// names is refused.
	Tenant string
	// Actor is who acted.
	Actor string
	// Object is what was acted on: [Ref] or [PersonRef], or [About] for Person.
	Object Object
	// Person is somebody whom the events are about, whatever their object; those
	// who were merged into them ([Trail.Merge]) included.
	Person string
	// Action is one action, the whole of it: what was done, or denied. What a policy
	// only allowed ([Trail.Decisions]) is found by it where Outcome is allowed.
	Action string
	// Outcome is one outcome; "" is all of them, but for Action.
	Outcome string
	// From and To bound [Entry.At], which has microseconds: that of From is within, and
	// of To what is before it.
	From, To time.Time
}

// Page is which part of the answer.
type Page struct {
	Size   int    // most entries; 0 means 50, the most is 1000
	Before string // Found.Next of the page before, or the Cursor of an entry; "" begins at the newest
}

// Found is one page of an answer.
type Found struct {
	// Entries come newest first: those that wait for their place, Index -1, before
	// all others.
	Entries []Entry
	// Next is Page.Before of the next page, "" where there is none. A page may hold
	// fewer entries than were asked for, and go on.
	Next string
	// Pending is how many events wait and were not looked at, at most nine thousand:
	// a question looks at the newest thousand of them, and its first page says this. So
	// are those that only another process can read (of a later version, or under a
	// later key).
	Pending int64
	// Behind is how many entries were not looked at because nothing finds them yet:
	// the sequencer is more than four thousand behind in filing its indexes.
	Behind int64
	// Damaged is how many entries were met that cannot be read: somebody changed
	// them, [Trail.VerifyStore] says which. Of those that wait they are counted on the
	// first page, whatever was asked: what they were nobody knows any more.
	Damaged int64
	// Pruned is how many of the oldest entries went with retention ([Trail.Prune]): what
	// is found are those from this index on, and some that are gone may have been an
	// answer, too.
	Pruned int64
	// Unmapped is, where a person was asked for, how many surrogates the tenant has
	// whose person nobody knows since a restore: the person's may be among them.
	Unmapped int64
}

// Find answers who did what: one page, newest first, in one statement that opens
// the values, too (a question about a person asks first under which surrogates,
// and one that meets events on their way into the log asks whose they are). It
// reads the database, not the published log: [Trail.VerifyStore] says whether they
// agree. Config.Allow is asked once a page.
//
// Pages go on where the page before ended while events are recorded and filed: of
// what was recorded before the first page none is shown twice, and none is
// missing. What came later stands on a new first page. (While pages show events
// that wait, four thousand others at most may be filed between two of them;
// Found.Behind says more.)
//
// What is asked first of person, object, actor, outcome, action and tenant is
// found by an index, in a time that does not grow with the log; the others are
// compared on what that finds.
func (t *Trail) Find(ctx context.Context, f Filter, page Page) (Found, error) {
	if err := t.ready(); err != nil {
		return Found{}, err
	}
	f, err := t.checkFilter(ctx, f)
	if err != nil {
		return Found{}, err
	}
	if page.Size < 0 || page.Size > pageMost {
		return Found{}, invalid("find: Page.Size is %d, allowed are 0 (for 50) to %d", page.Size, pageMost)
	}
	from, err := parsePlace(page.Before)
	if err != nil {
		return Found{}, err
	}
	if err := t.allowed(ctx, "audit.read", f.resource()); err != nil {
		return Found{}, fmt.Errorf("audit: find: %w", err)
	}
	q, err := t.question(ctx, f)
	if err != nil || q.nobody {
		return Found{Unmapped: q.unmapped}, err
	}
	found, err := t.find(ctx, q, from, cmp.Or(page.Size, 50))
	found.Unmapped = q.unmapped
	return found, err
}

const (
	pageMost    = 1000
	pendingMost = 1000  // waiting rows that a question looks at
	countMost   = 10000 // and that it counts
	unfoundMost = 4096  // entries that a question looks at without an index
	rangesMost  = 16    // surrogates of one person that have a range of the index each
	pageBytes   = 64 << 20
)

// checkFilter refuses what cannot be asked, and asks Config.From whose tenant it is.
func (t *Trail) checkFilter(ctx context.Context, f Filter) (Filter, error) {
	mine := t.caller(ctx).Tenant
	if f.Tenant = cmp.Or(f.Tenant, mine); mine != "" && f.Tenant != mine {
		return f, invalid("find: Filter.Tenant is another one than Config.From names: ask in a context of which it names none, or that one")
	}
	if f.Object.Kind == "" && f.Object.Person {
		if f.Object.ID == "" {
			return f, invalid("find: About names nobody: the id is empty")
		}
		if f.Person != "" && f.Person != f.Object.ID {
			return f, invalid("find: Object and Person are about two persons")
		}
		f.Person, f.Object = f.Object.ID, Object{}
	}
	err := ids.Check("tenant", f.Tenant)
	for _, id := range [][2]string{{"Actor", f.Actor}, {"Person", f.Person}, {"Object.ID", f.Object.ID}} {
		if err == nil && id[1] != "" {
			err = ids.CheckGiven(id[0], id[1])
		}
	}
	if err != nil {
		return f, invalid("find: %w", err)
	}
	switch {
	case f.Action != "" && !codes.MatchString(f.Action):
		return f, invalid("find: Action is no code such as contact.update: it is one whole action, and no part of some")
	case f.Object != (Object{}) && (f.Object.Kind == "" || f.Object.ID == ""):
		return f, invalid("find: the object has no kind or no id; About names a person whatever the object")
	case !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To):
		return f, invalid("find: From is not before To")
	}
	switch f.Outcome {
	case "", OutcomeOK, OutcomeAllowed, OutcomeDenied, OutcomeFailed, OutcomePartial:
	default:
		return f, invalid("find: Outcome is none of ok, allowed, denied, failed, partial")
	}
	return f, t.checkKind(f.Object)
}

// resource is what a question is about, for Config.Allow.
func (f *Filter) resource() string {
	switch {
	case f.Person != "":
		return "person/" + f.Person
	case f.Object.Kind != "":
		return f.Object.Kind + "/" + f.Object.ID
	}
	return "audit"
}

// allowed asks Config.Allow, whose error reaches the caller.
func (t *Trail) allowed(ctx context.Context, action, resource string) error {
	if t.config.Allow == nil {
		return nil
	}
	return t.config.Allow(ctx, action, resource)
}

// question is a filter in the words of the log.
type question struct {
	Filter
	objects  []auditlog.Object // any of them: a person has an object for each surrogate
	persons  [][16]byte        // any of them
	from, to int64             // both within, microseconds
	nobody   bool              // no surrogate is the person's
	theirs   []owned           // surrogates that the tables name nobody for
	unmapped int64
}

func (t *Trail) question(ctx context.Context, f Filter) (*question, error) {
	q := &question{Filter: f, from: -1 << 63, to: 1<<63 - 1}
	if !f.From.IsZero() {
		q.from = micros(f.From)
	}
	if !f.To.IsZero() {
		q.to = before(f.To)
	}
	if f.Object.Kind != "" && !f.Object.Person {
		q.objects = []auditlog.Object{{Kind: f.Object.Kind, ID: f.Object.ID}}
	}
	if f.Object.Person {
		of, err := t.surrogatesAsked(ctx, q, f.Object.ID)
		if err != nil {
			return q, err
		}
		for _, s := range of {
			q.objects = append(q.objects, auditlog.Object{Kind: f.Object.Kind, ID: surrogateText(s)})
		}
	}
	var err error
	if f.Person != "" {
		q.persons, err = t.surrogatesAsked(ctx, q, f.Person)
	}
	return q, err
}

// micros is a time as the tables have it, in microseconds: those that no number of
// microseconds can be are the first and the last of all.
func micros(t time.Time) int64 {
	const most = 1<<63/1_000_000 - 1 // seconds
	switch s := t.Unix(); {
	case s > most:
		return 1<<63 - 1
	case s < -most:
		return -1 << 63
	}
	return t.UnixMicro()
}

// before is the last microsecond of which a part is before a time.
func before(t time.Time) int64 {
	end := micros(t)
	if end == -1<<63 || end == 1<<63-1 || t.Nanosecond()%1000 > 0 {
		return end
	}
	return end - 1
}

// surrogatesAsked are those of a person, of those who were merged into them, and
// those that a restore brought back and nobody has claimed.
func (t *Trail) surrogatesAsked(ctx context.Context, q *question, person string) ([][16]byte, error) {
	of, unmapped, back, err := t.surrogatesKnown(ctx, q.Tenant, person)
	if err == nil && back > 0 {
		var more []personRow
		more, err = t.unmappedOf(ctx, q.Tenant, person)
		for i := range more {
			of = append(of, more[i].surrogate)
			q.theirs = append(q.theirs, owned{more[i].surrogate, person})
		}
		t.claimFirst(ctx, len(of) == len(more), more, person)
	}
	slices.SortFunc(of, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
	of = slices.Compact(of)
	q.nobody, q.unmapped = q.nobody || len(of) == 0, unmapped
	return of, err
}

// owned is a surrogate whose head has said whose it is.
type owned struct {
	surrogate [16]byte
	person    string
}

// claimFirst gives somebody who has no row the first of the surrogates that turned
// out to be theirs, so that the next question need not open heads. Who may only read,
// or asks a standby, has the answer all the same.
func (t *Trail) claimFirst(ctx context.Context, without bool, theirs []personRow, person string) {
	if without && len(theirs) > 0 && t.claimRow(ctx, &theirs[0], person) != nil {
		t.observe(ctx, "audit.unmapped.left", 1)
	}
}

// name gives rows that were read the person whom their heads name.
func (q *question) name(people map[[16]byte]*personRow) {
	for i := range q.theirs {
		o := &q.theirs[i]
		if p := people[o.surrogate]; p != nil && p.person == nil && p.state == surrogateUnmapped {
			p.person, p.state = &o.person, surrogateLive
		}
	}
}

// surrogatesKnown asks for them, in one statement, and how many surrogates of the
// tenant are nobody's for good, or until somebody is named whose they are.
func (t *Trail) surrogatesKnown(ctx context.Context, tenant, person string) (of [][16]byte, unmapped, back int64, err error) {
	var said []personRow
	err = t.query(ctx, t.db, func(rows answer) error {
		var p personRow
		var raw []byte
		var gone, left, merged int64
		var state sql.NullInt64
		err := rows.Scan(&gone, &left, &merged, &p.n, &raw, &state, &p.into, &p.tag, &p.person, &p.head)
		unmapped, back = unmapped+gone, back+left
		if state.Valid {
			p.tenant, p.short = tenant, len(raw) != len(p.surrogate)
			p.fill(raw, state.Int64)
			if said = append(said, p); merged == 0 {
				said[0], said[len(said)-1] = said[len(said)-1], said[0] // the person's own first
			}
		}
		return err
	}, `SELECT 0, 0, 0, s.n, `+personMark("s")+` FROM crmguard_audit_surrogates s WHERE s.tenant = ? AND s.person = ?`+
		` UNION ALL SELECT 0, 0, 1, a.n, `+personMark("a")+` FROM crmguard_audit_surrogates s CROSS JOIN crmguard_audit_surrogates a WHERE s.tenant = ? AND s.person = ? AND a.tenant = ? AND a.into_surrogate = s.surrogate`+
		` UNION ALL SELECT COUNT(*) - COUNT(head), COUNT(head), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL FROM crmguard_audit_surrogates WHERE state >= 2 AND state = 2 AND tenant = ? AND person IS NULL`,
		tenant, person, tenant, person, tenant, tenant)
	if err != nil || len(said) == 0 {
		return nil, unmapped, back, err
	}
	keys, err := t.macKeys(ctx, tenant, surrogateKeyLabel)
	if err != nil {
		return nil, unmapped, back, err
	}
	defer wipe(keys)
	believed, err := t.believe(ctx, person, said, keys)
	for _, s := range believed {
		of = append(of, s.surrogate)
	}
	return of, unmapped, back, err
}

// personMark are the columns of a row that say whose it is, and by what.
func personMark(of string) string {
	return upTo(mostID, of+".surrogate") + `, ` + of + `.state, ` + upTo(mostID, of+".into_surrogate") + `, ` + upTo(tagSize, of+".tag") + `, ` + of + `.person, ` + upTo(mostSmall, of+".head")
}

// matches compares with the leaf itself: what the index knows are 64 bits.
func (q *question) matches(l *auditlog.Leaf) bool {
	switch {
	case q.Action != "" && q.Outcome == "" && l.Outcome == OutcomeAllowed:
		return false
	case l.Tenant != q.Tenant, q.Actor != "" && l.Actor != q.Actor, q.Action != "" && l.Action != q.Action, q.Outcome != "" && l.Outcome != q.Outcome:
		return false
	case q.objects != nil && !slices.ContainsFunc(q.objects, func(o auditlog.Object) bool { return o.Kind == l.Object.Kind && o.ID == l.Object.ID }):
		return false
	case q.persons != nil:
		return slices.ContainsFunc(q.persons, func(p [16]byte) bool { return slices.Contains(l.Persons, surrogateText(p)) })
	}
	return true
}

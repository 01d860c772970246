package audit

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Record writes an event into the caller's transaction: it commits with the
// business change, or not at all. A second call with the same id and the same
// event changes nothing; with another event it is a [ConflictError]. It uses
// no connection but tx's; call [Trail.Prepare] before the transaction, and
// Record after the business statements, so that events stand in the order of
// the commits. After an error roll back: SQLite and MariaDB would commit what
// was written of the event, and without the rest it looks tampered with.
func (t *Trail) Record(ctx context.Context, tx Tx, e Event) error {
	if err := t.ready(); err != nil {
		return err
	}
	if err := t.inTransaction(ctx, tx); err != nil {
		return err
	}
	return t.record(ctx, tx, auditlog.KindEvent, e)
}

// Note records an event in a transaction of its own: for what has no business
// change, such as reading, refusing or exporting.
func (t *Trail) Note(ctx context.Context, e Event) error {
	if err := t.Prepare(ctx, e.Tenant, people(e)...); err != nil {
		return err
	}
	return t.within(ctx, func(tx Tx) error { return t.record(ctx, tx, auditlog.KindEvent, e) })
}

// draft is an event on its way into the log.
type draft struct {
	event    Event
	id       [16]byte
	leaf     auditlog.Leaf
	chosen   bool   // the caller gave the id, so it may be a retry
	given    []byte // canonical JSON of the event as given
	values   [][2]frame.Value
	openings map[string]*auditlog.Opening // by person id, "" for nobody
}

func (t *Trail) record(ctx context.Context, tx Tx, kind string, e Event) error {
	d, err := t.draft(ctx, kind, e)
	if err != nil {
		return err
	}
	if retried, err := t.retried(ctx, tx, d); err != nil || retried {
		return err
	}
	surrogates, made, err := t.surrogates(ctx, tx, e.Tenant, people(e))
	if err != nil {
		return err
	}
	inserted, err := t.file(ctx, tx, d, surrogates)
	if !inserted {
		err = cmp.Or(err, t.unmake(ctx, tx, e.Tenant, made))
	}
	return err
}

// file writes the event. What can fail without the database comes before the
// first row of it.
func (t *Trail) file(ctx context.Context, tx Tx, d *draft, surrogates map[string]string) (inserted bool, err error) {
	if err := t.fill(d, surrogates); err != nil {
		return false, err
	}
	openings, err := t.sealOpenings(ctx, d, surrogates)
	if err != nil {
		return false, err
	}
	if inserted, err = t.insert(ctx, tx, d); err != nil || !inserted {
		return inserted, err
	}
	return true, t.insertOpenings(ctx, tx, openings)
}

// people are all persons an event names, sorted and unique.
func people(e Event) []string {
	out := slices.Clone(e.Persons)
	for _, c := range e.Changes {
		if c.Who != "" {
			out = append(out, c.Who)
		}
	}
	if e.Object.Person {
		out = append(out, e.Object.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// draft checks the event and encodes its values; nothing is written yet.
func (t *Trail) draft(ctx context.Context, kind string, e Event) (*draft, error) {
	if err := cmp.Or(e.check(), t.checkKind(e.Object)); err != nil {
		return nil, err
	}
	if n := len(people(e)); n > auditlog.MaxPersons {
		return nil, fmt.Errorf("%w: %d persons", ErrTooLarge, n)
	}
	if e.Outcome == "" {
		e.Outcome = OutcomeOK
	}
	given := e.Changes
	e.Changes = slices.Clone(given)
	slices.SortFunc(e.Changes, func(a, b Change) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Who, b.Who)) })
	d := &draft{event: e, chosen: e.ID != "", values: make([][2]frame.Value, len(e.Changes))}
	for i, c := range e.Changes {
		if i > 0 && e.Changes[i-1].Path == c.Path && e.Changes[i-1].Who == c.Who {
			return nil, invalid("two changes have one Path and one Who")
		}
		for side, v := range []any{c.Old, c.New} {
			encoded, err := toValue(v)
			if err != nil {
				if t.config.StrictValues {
					return nil, t.valueError(e, c, given, err)
				}
				encoded = standInFor(v)
				t.observe(ctx, "audit.standin", 1, slog.String("why", auditlog.WhyStandIn(encoded)))
			}
			d.values[i][side] = encoded
		}
	}
	if d.event.ID == "" {
		id, err := NewID()
		if err != nil {
			return nil, err
		}
		d.event.ID = id
	}
	var err error
	if d.given, err = d.canonical(); err != nil {
		return nil, err
	}
	if d.id, err = parseID(d.event.ID); err != nil {
		return nil, err
	}
	d.leaf = auditlog.Leaf{
		ID: d.event.ID, Kind: kind, At: t.now(), Tenant: e.Tenant, Actor: e.Actor, Action: e.Action, Outcome: e.Outcome,
		Reason: e.Reason, Request: e.Request, Policy: e.Policy, For: e.For, Prior: e.Prior,
	}
	if d.leaf.Request == "" && t.config.From != nil {
		d.leaf.Request = t.config.From(ctx)
		if err := checkRequest("what Config.From returned", d.leaf.Request); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// valueError says which change holds a value that has no encoding.
func (t *Trail) valueError(e Event, c Change, given []Change, err error) error {
	n := slices.IndexFunc(given, func(g Change) bool { return g.Path == c.Path && g.Who == c.Who })
	return &ValueError{Change: n, Path: c.Path, Err: err, declared: t.declared(e.Object.Kind, c.Path)}
}

// fill puts surrogates and commitments into the leaf and values into openings.
func (t *Trail) fill(d *draft, surrogates map[string]string) error {
	for _, s := range surrogates {
		d.leaf.Persons = append(d.leaf.Persons, s)
	}
	slices.Sort(d.leaf.Persons)
	d.leaf.Object = Object{Kind: d.event.Object.Kind, ID: d.event.Object.ID}
	if d.event.Object.Person {
		d.leaf.Object.ID = surrogates[d.event.Object.ID]
	}
	d.openings = make(map[string]*auditlog.Opening)
	for i, c := range d.event.Changes {
		o := d.openings[c.Who]
		if o == nil {
			o = &auditlog.Opening{}
			if err := t.random(o.Seed[:]); err != nil {
				return err
			}
			d.openings[c.Who] = o
		}
		path := c.Path
		if !t.declared(d.event.Object.Kind, path) {
			name := auditlog.Field{Path: path, Side: auditlog.SideName, Value: frame.Value{Type: frame.Text, Data: []byte(path)}}
			o.Fields = append(o.Fields, name)
			path = "c:" + o.Commit(d.id, name)
		}
		before := auditlog.Field{Path: c.Path, Side: auditlog.SideOld, Value: d.values[i][0]}
		after := auditlog.Field{Path: c.Path, Side: auditlog.SideNew, Value: d.values[i][1]}
		o.Fields = append(o.Fields, before, after)
		d.leaf.Changes = append(d.leaf.Changes, auditlog.LeafChange{
			Path: path, Who: surrogates[c.Who], Odd: auditlog.OddSides(before.Value, after.Value),
			Old: o.Commit(d.id, before), New: o.Commit(d.id, after),
		})
	}
	slices.SortFunc(d.leaf.Changes, func(a, b auditlog.LeafChange) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Who, b.Who))
	})
	return d.leaf.Fold()
}

// surrogates returns the surrogate of each person, made on first use, and those
// that it has made. The insert comes first, because it takes SQLite's write
// lock at once; where it locks rows that are there the trail looks first. It
// waits for another transaction that makes the same one.
func (t *Trail) surrogates(ctx context.Context, tx Tx, tenant string, persons []string) (out map[string]string, made []string, err error) {
	out = make(map[string]string, len(persons))
	if t.gapLocks() {
		if err := t.known(ctx, tx, tenant, persons, out, ""); err != nil {
			return nil, nil, err
		}
	}
	var rows [][]any
	drawn := make(map[string]string)
	for _, person := range without(persons, out) {
		fresh := make([]byte, 16)
		if err := t.random(fresh); err != nil {
			return nil, nil, err
		}
		drawn[person] = "s:" + canon.FormatBytes(fresh)
		rows = append(rows, []any{tenant, person, drawn[person]})
	}
	in := sqldb.Insert{Table: "crmguard_audit_surrogates", Columns: []string{"tenant", "person", "surrogate"}, Key: []string{"tenant", "person"}}
	if err := t.add(ctx, tx, in, rows...); err != nil {
		return nil, nil, err
	}
	if err := t.known(ctx, tx, tenant, without(persons, out), out, ""); err != nil {
		return nil, nil, err
	}
	if t.gapLocks() {
		if err := t.known(ctx, tx, tenant, without(persons, out), out, newest); err != nil {
			return nil, nil, err
		}
	}
	if len(out) < len(persons) {
		return nil, nil, fmt.Errorf("audit: record: a surrogate vanished: %w", sql.ErrNoRows)
	}
	for person, surrogate := range drawn {
		if out[person] == surrogate {
			made = append(made, surrogate)
		}
	}
	return out, made, nil
}

// known reads the surrogates that are there into out.
func (t *Trail) known(ctx context.Context, tx Tx, tenant string, persons []string, out map[string]string, lock string) error {
	if len(persons) == 0 {
		return nil
	}
	args := []any{tenant}
	for _, person := range persons {
		args = append(args, person)
	}
	return t.query(ctx, tx, func(rows answer) error {
		var person, surrogate string
		err := rows.Scan(&person, &surrogate)
		out[person] = surrogate
		return err
	}, `SELECT person, surrogate FROM crmguard_audit_surrogates WHERE tenant = ? AND person IN (`+sqldb.Marks(len(persons))+`)`+lock, args...)
}

// without are the persons that have no surrogate yet.
func without(persons []string, have map[string]string) (out []string) {
	for _, person := range persons {
		if have[person] == "" {
			out = append(out, person)
		}
	}
	return out
}

// insert queues the leaf, or compares it with the one that has this id.
func (t *Trail) insert(ctx context.Context, tx Tx, d *draft) (bool, error) {
	retry, err := t.config.Tag.Tag(ctx, d.event.Tenant, retryData(d.event.Tenant, d.given))
	if err != nil {
		return false, fmt.Errorf("audit: record: tag: %w", err)
	}
	inserted, err := t.enqueue(ctx, tx, &d.leaf, retry)
	if err != nil || inserted {
		return inserted, err
	}
	return false, t.same(ctx, tx, d)
}

// enqueue inserts a tagged leaf, unless its id is taken.
func (t *Trail) enqueue(ctx context.Context, tx Tx, leaf *auditlog.Leaf, retry []byte) (bool, error) {
	q, err := t.tagged(ctx, leaf)
	if err != nil {
		return false, err
	}
	return t.put(ctx, tx, leaf, q, retry)
}

// tagged is a leaf as the queue has it. A service may hold the key of the tags:
// the trail's own events are tagged before a transaction that others wait for.
func (t *Trail) tagged(ctx context.Context, leaf *auditlog.Leaf) (queued, error) {
	data, err := encodeLeaf(leaf)
	if err != nil {
		return queued{}, err
	}
	tag, err := t.config.Tag.Tag(ctx, leaf.Tenant, queueData(leaf.Tenant, data))
	if err != nil {
		return queued{}, fmt.Errorf("audit: record: tag: %w", err)
	}
	return queued{leaf: data, tag: tag}, nil
}

func (t *Trail) put(ctx context.Context, tx Tx, leaf *auditlog.Leaf, q queued, retry []byte) (bool, error) {
	var compared any // NULL where nothing is to be compared with a retry
	if retry != nil {
		compared = retry
	}
	err := t.add(ctx, tx, sqldb.Insert{
		Table:   eventsTable,
		Columns: []string{"id", "tenant", "kind", "object_kind", "object_id", "recorded", "leaf", "tag", "retry"},
		Key:     []string{"id"},
	}, []any{leaf.ID, leaf.Tenant, leaf.Kind, leaf.Object.Kind, leaf.Object.ID, leaf.At.UnixMicro(), q.leaf, q.tag, compared})
	if err != nil {
		return false, err
	}
	_, stored, err := t.queuedHere(ctx, tx, leaf.ID)
	if err != nil || !bytes.Equal(stored, q.tag) {
		return false, err
	}
	return true, t.index(ctx, tx, leaf)
}

// queuedHere reads the tag of the event with this id, if there is one, in the
// tables of this log. Transactions may reach other tables than the trail's own
// connections do, by another schema in the search path: what is queued there
// would be missing here, and nobody would say so.
func (t *Trail) queuedHere(ctx context.Context, tx Tx, id string) (found bool, tag []byte, err error) {
	var (
		origin string
		event  sql.NullString
	)
	here, err := t.one(ctx, tx, []any{&origin, &event, &tag}, `SELECT s.origin, e.id, e.tag FROM crmguard_audit_state s LEFT JOIN crmguard_audit_events e ON e.id = ? WHERE s.id = 1`, id)
	if err != nil {
		return false, nil, err
	}
	if !here || origin != t.origin {
		return false, nil, fmt.Errorf("%w: this transaction reaches the tables of %q, this log is %q: it needs the same database and schema", ErrOrigin, origin, t.origin)
	}
	return event.Valid, tag, nil
}

// index remembers which surrogates an event names; it can be rebuilt from the
// leaves and is not protected.
func (t *Trail) index(ctx context.Context, tx Tx, leaf *auditlog.Leaf) error {
	columns := []string{"tenant", "surrogate", "event"}
	rows := make([][]any, 0, len(leaf.Persons))
	for _, s := range leaf.Persons {
		rows = append(rows, []any{leaf.Tenant, s, leaf.ID})
	}
	return t.add(ctx, tx, sqldb.Insert{Table: "crmguard_audit_persons", Columns: columns, Key: columns}, rows...)
}

// same answers a retry: nil if the event recorded under this id is this one.
func (t *Trail) same(ctx context.Context, tx Tx, d *draft) error {
	var (
		tenant string
		retry  []byte
	)
	const query = `SELECT tenant, retry FROM crmguard_audit_events WHERE id = ?`
	found, err := t.one(ctx, tx, []any{&tenant, &retry}, query, d.leaf.ID)
	if err == nil && !found && t.gapLocks() {
		found, err = t.one(ctx, tx, []any{&tenant, &retry}, query+newest, d.leaf.ID)
	}
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("audit: record: the event with this id vanished: %w", sql.ErrNoRows)
	}
	if tenant != d.event.Tenant {
		return &ConflictError{ID: d.leaf.ID}
	}
	if retry == nil {
		return &ConflictError{ID: d.leaf.ID, Expired: true}
	}
	if t.config.Tag.Verify(ctx, tenant, retryData(tenant, d.given), retry) != nil {
		return &ConflictError{ID: d.leaf.ID}
	}
	return nil
}

// statementBytes is about as much as one statement carries of openings:
// PostgreSQL takes no message above 1 GiB, which 500 large ones are.
const statementBytes = 1 << 20

func (t *Trail) insertOpenings(ctx context.Context, tx Tx, openings []sealedRow) error {
	in := sqldb.Insert{
		Table: "crmguard_audit_openings", Columns: []string{"event", "owner", "tenant", "sealed"}, Key: []string{"event", "owner"}, Replace: true,
	}
	var rows [][]any
	size := 0
	for _, o := range openings {
		if size += len(o.sealed); size > statementBytes {
			if err := t.add(ctx, tx, in, rows...); err != nil {
				return err
			}
			rows, size = nil, len(o.sealed)
		}
		rows = append(rows, []any{o.event, o.owner, o.tenant, o.sealed})
	}
	return t.add(ctx, tx, in, rows...)
}

// sealOpenings seals the values of each owner of the event.
func (t *Trail) sealOpenings(ctx context.Context, d *draft, surrogates map[string]string) (out []sealedRow, err error) {
	for person, o := range d.openings {
		plain, err := encodeOpening(o)
		if err != nil {
			return nil, err
		}
		sealed, err := t.config.Seal.Seal(ctx, d.event.Tenant, person, plain, openingAD(d.id))
		if err != nil {
			return nil, fmt.Errorf("audit: record: seal: %w", err)
		}
		if bytes.Equal(sealed, plain) {
			return nil, fmt.Errorf("%w: the sealer returned the plaintext", ErrInvalid)
		}
		out = append(out, sealedRow{event: d.leaf.ID, owner: cmp.Or(surrogates[person], auditlog.Nobody), tenant: d.event.Tenant, sealed: sealed})
	}
	return out, nil
}

func queueData(tenant string, leaf []byte) []byte {
	return append(frame.Join("crmguard/audit/queue/v1", tenant), leaf...)
}

func retryData(tenant string, given []byte) []byte {
	return append(frame.Join("crmguard/audit/retry/v1", tenant), given...)
}

type givenJSON struct {
	Action  string        `json:"action"`
	Actor   string        `json:"actor"`
	Changes []givenChange `json:"changes,omitempty"`
	For     string        `json:"for,omitempty"`
	ID      string        `json:"id"`
	Object  []string      `json:"object,omitempty"`
	Outcome string        `json:"outcome"`
	Persons []string      `json:"persons,omitempty"`
	Policy  string        `json:"policy,omitempty"`
	Prior   string        `json:"prior,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Request string        `json:"request,omitempty"`
	Tenant  string        `json:"tenant"`
	V       int           `json:"v"`
}

type givenChange struct {
	New  []any  `json:"new"`
	Old  []any  `json:"old"`
	Path string `json:"path"`
	Who  string `json:"who,omitempty"`
}

// canonical is the event as given, without time: what a retry is compared by.
func (d *draft) canonical() ([]byte, error) {
	e := d.event
	out := givenJSON{
		Action: e.Action, Actor: e.Actor, For: e.For, ID: e.ID, Outcome: e.Outcome, Persons: people(e),
		Policy: e.Policy, Prior: e.Prior, Reason: e.Reason, Request: e.Request, Tenant: e.Tenant, V: 1,
	}
	if e.Object != (Object{}) {
		out.Object = []string{e.Object.Kind, e.Object.ID}
	}
	if e.Object.Person { // the person of an id is not the object of that id
		out.Object = append(out.Object, "person")
	}
	typed := func(v frame.Value) []any { return []any{int(v.Type), canon.FormatBytes(v.Data)} }
	for i, c := range e.Changes {
		out.Changes = append(out.Changes, givenChange{New: typed(d.values[i][1]), Old: typed(d.values[i][0]), Path: c.Path, Who: c.Who})
	}
	return canon.Marshal(out)
}

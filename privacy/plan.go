package privacy

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"regexp"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Refusals about plans.
var (
	ErrNoPlan       = errors.New("privacy: no such plan")
	ErrCancelled    = errors.New("privacy: the plan was cancelled")
	ErrVoided       = errors.New("privacy: the erasure was voided")
	ErrPlanForged   = errors.New("privacy: the stored plan or its approval is not what this system wrote")
	ErrPlanChanged  = errors.New("privacy: what the plan covers has changed: plan and approve anew")
	ErrBegun        = errors.New("privacy: the erasure has begun: execute it, or void it")
	ErrNotBegun     = errors.New("privacy: the erasure has not begun: cancel the plan")
	ErrEnded        = errors.New("privacy: the erasure is certified: it can be neither voided nor cancelled")
	ErrNotApproved  = errors.New("privacy: the plan is not approved")
	ErrExpired      = errors.New("privacy: the approval has expired: approve the plan again")
	ErrSelfApproval = errors.New("privacy: whoever asked for the erasure cannot approve it")
	ErrTooEarly     = errors.New("privacy: the plan may not be executed yet")
	ErrTooMany      = errors.New("privacy: more erasures in 24 hours than allowed")
	ErrNobody       = errors.New("privacy: nothing is held about this id in this tenant: a person id is no e-mail address; set Request.Empty for a certificate that says so")
	ErrReason       = errors.New("privacy: the reason is a code of letters, digits and ._:-, at most 64 characters")
)

var reasonCode = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)

// Request asks for an erasure.
type Request struct {
	Tenant string
	Person string
	Reason string // a code such as "gdpr-17:2026-0113", never free text
	By     string // the principal who asks, from the session and not from a form; cannot approve
	// Empty plans also where nothing is held about the person, for a
	// certificate that says so; otherwise that is ErrNobody.
	Empty bool
}

// Plan is an erasure that is planned: a dry run that is stored.
type Plan struct {
	ID         string
	Tenant     string
	Person     string
	Aliases    []string // persons merged into this one, erased with it
	Reason     string
	By         string
	Created    time.Time
	NotBefore  time.Time
	ApprovedBy string
	Approved   time.Time // when; the approval is good for Config.ApprovalLife
	State      string    // planned, approved, erased, waiting, left, certified, done, cancelled or void
	Counts     []Count   // what happens to how many records, and what is kept, why, until when

	rows   []datastore.Row
	ledger int64 // entries that the ledger had when it was made
}

func (p *Plan) persons() []string { return append([]string{p.Person}, p.Aliases...) }

// PlanErasure rehearses the erasure in the database and takes that back, finds
// everything about the person in the other stores, stores what an erasure would do, and changes
// nothing else. What the schema refuses is an error now: a [*StoreError] whose
// text names table and constraint; so is [ErrUnmapped].
func (d *Desk) PlanErasure(ctx context.Context, r Request) (*Plan, error) {
	if err := errors.Join(validID("tenant", r.Tenant), validPrincipal(r.By), validPerson(r.Person)); err != nil {
		return nil, err
	}
	if !reasonCode.MatchString(r.Reason) {
		return nil, ErrReason
	}
	if err := d.allow(ctx, "privacy.plan", "person/"+r.Person); err != nil {
		return nil, err
	}
	persons, err := d.persons(ctx, r.Tenant, r.Person)
	if err != nil {
		return nil, err
	}
	now := d.now()
	rows, err := d.dryRun(ctx, r.Tenant, persons, now)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 && !r.Empty {
		return nil, ErrNobody
	}
	if err := d.mapped(ctx); err != nil {
		return nil, err
	}
	p := &Plan{
		Tenant: r.Tenant, Person: r.Person, Aliases: persons[1:], Reason: r.Reason, By: r.By,
		Created: now, NotBefore: now.Add(d.cfg.delay()), State: statePlanned, Counts: Sum(rows), rows: rows,
	}
	if err := d.insert(ctx, p); err != nil {
		return nil, err
	}
	d.observe(ctx, "privacy.planned", float64(len(rows)))
	return p, nil
}

// dryRun finds in every store: in the database by rehearsing.
func (d *Desk) dryRun(ctx context.Context, tenant string, persons []string, now time.Time) ([]datastore.Row, error) {
	scope := datastore.Scope{Tenant: tenant, Now: now}
	identities, err := d.identities(ctx, scope, persons)
	if err != nil {
		return nil, err
	}
	name := d.database.Name()
	rows, err := ask(ctx, d, name, "rehearse", about(tenant, persons[0]), func(ctx context.Context) ([]datastore.Row, error) {
		return d.database.Rehearse(ctx, each(scope, persons))
	})
	if err != nil {
		return nil, err
	}
	rows = once(stored(rows, name))
	scope.Identities = identities
	for _, store := range d.cfg.Stores {
		more, err := d.findIn(ctx, store, scope, persons)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// insert draws the plan's id and stores it.
func (d *Desk) insert(ctx context.Context, p *Plan) error {
	id, err := uuid.NewV7()
	if err != nil {
		return mute("drawing an id", err)
	}
	p.ID = id.String()
	if p.ledger, err = d.entries(ctx); err != nil {
		return err
	}
	row := planRow{id: p.ID, tenant: p.Tenant, state: p.State}
	if row.body, err = canon.Marshal(p.body()); err != nil {
		return mute("encoding the plan", err)
	}
	keys, err := d.cfg.Ledger.Keys(ctx, erasurelog.KindPerson, p.Tenant, []byte(p.Person))
	if err != nil {
		return err
	}
	row.person = keys[0]
	return d.recorded(ctx, []string{p.Tenant}, func(tx *sql.Tx) error {
		if err := d.insertPlan(ctx, tx, &row); err != nil {
			return err
		}
		return d.record(ctx, tx, p.Tenant, "privacy.plan", planAttr(p.ID), slog.String("reason", p.Reason))
	})
}

// entries is how many the ledger has; where it cannot be read, how many of them this
// database has seen.
func (d *Desk) entries(ctx context.Context) (int64, error) {
	s, err := d.cfg.Ledger.Latest(ctx)
	if err == nil {
		return s.Head().N, nil
	}
	m, _, wrong := d.markIn(ctx, d.db)
	if wrong != nil {
		return 0, cmp.Or(ctx.Err(), err)
	}
	return m.head.N, nil
}

// Plan returns a stored plan. A plan that is certified, done or cancelled has
// forgotten its person; of one that is certified, who asked, who approved, why
// and the counts stay.
func (d *Desk) Plan(ctx context.Context, id string) (*Plan, error) {
	row, err := d.loadPlan(ctx, d.db, id)
	if err != nil {
		return nil, err
	}
	return d.open(row)
}

// open decodes a plan row.
func (d *Desk) open(row planRow) (*Plan, error) {
	if len(row.body) == 0 {
		r, err := row.stays()
		return &Plan{ID: row.id, Tenant: row.tenant, State: row.state, ApprovedBy: r.ApprovedBy, By: r.By, Counts: r.Counts, Reason: r.Reason}, err
	}
	p, err := parsePlan(row.body)
	if err != nil || p.ID != row.id || p.Tenant != row.tenant {
		return nil, ErrPlanForged
	}
	p.State = row.state
	if len(row.approval) == 0 {
		return p, nil
	}
	var a approval
	if err := canon.Unmarshal(row.approval, &a); err != nil {
		return nil, ErrPlanForged
	}
	at, err := canon.ParseTime(a.At)
	if err != nil || validPrincipal(a.By) != nil || samePrincipal(a.By, p.By) {
		return nil, ErrPlanForged
	}
	p.ApprovedBy, p.Approved = a.By, at
	return p, nil
}

package privacy

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// Refusals about plans.
var (
	ErrNoPlan       = errors.New("privacy: no such plan")
	ErrCancelled    = errors.New("privacy: the plan was cancelled")
	ErrPlanForged   = errors.New("privacy: the stored plan or its approval is not what this system wrote")
	ErrPlanChanged  = errors.New("privacy: what the plan covers has changed: plan and approve anew")
	ErrNotApproved  = errors.New("privacy: the plan is not approved")
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
	State      string  // planned, approved, running, done or cancelled
	Counts     []Count // what happens to how many records, and what is kept, why, until when

	rows []datastore.Row
}

// planBody is what the plan table stores under a keyed tag.
type planBody struct {
	Aliases   []string   `json:"aliases,omitempty"`
	By        string     `json:"by"`
	Created   string     `json:"created"`
	ID        string     `json:"id"`
	NotBefore string     `json:"not_before"`
	Person    string     `json:"person"`
	Reason    string     `json:"reason"`
	Rows      []planLine `json:"rows,omitempty"`
	Tenant    string     `json:"tenant"`
	V         int        `json:"v"`
}

type planLine struct {
	Because string `json:"because,omitempty"`
	Class   string `json:"class"`
	Count   int    `json:"count,omitzero"`
	Created string `json:"created,omitempty"`
	Joint   bool   `json:"joint"`
	Key     string `json:"key"`
	Store   string `json:"store"`
	Table   string `json:"table"`
	Until   string `json:"until,omitempty"`
}

type approval struct {
	At  string `json:"at"`
	By  string `json:"by"`
	Tag string `json:"tag"`
}

// PlanErasure finds everything about the person, stores what an erasure would
// do to it, and changes nothing else.
func (d *Desk) PlanErasure(ctx context.Context, r Request) (*Plan, error) {
	if err := errors.Join(validID("tenant", r.Tenant), validPrincipal(r.By), validPerson(r.Person)); err != nil {
		return nil, err
	}
	if !reasonCode.MatchString(r.Reason) {
		return nil, ErrReason
	}
	if err := d.allow(ctx, "privacy.plan", r.Person); err != nil {
		return nil, err
	}
	persons, err := d.persons(ctx, r.Tenant, r.Person)
	if err != nil {
		return nil, err
	}
	now := d.now()
	rows, err := d.find(ctx, datastore.Scope{Tenant: r.Tenant, Now: now}, persons)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 && !r.Empty {
		return nil, ErrNobody
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, mute("drawing an id", err)
	}
	p := &Plan{
		ID: id.String(), Tenant: r.Tenant, Person: r.Person, Aliases: persons[1:], Reason: r.Reason, By: r.By,
		Created: now, NotBefore: now.Add(d.cfg.delay()), State: statePlanned, Counts: Sum(rows), rows: rows,
	}
	body, err := canon.Marshal(p.body())
	if err != nil {
		return nil, mute("encoding the plan", err)
	}
	tag, err := d.cfg.Ledger.digests.tag(ctx, labelPlan, body)
	if err != nil {
		return nil, err
	}
	err = d.recorded(ctx, []string{p.Tenant}, func(tx *sql.Tx) error {
		if _, err := d.exec(ctx, tx, "storing the plan", `INSERT INTO crmguard_privacy_plan (id, tenant, state, body, tag, changed) VALUES (?, ?, ?, ?, ?, ?)`,
			p.ID, p.Tenant, p.State, body, tag, now.UnixMicro()); err != nil {
			return err
		}
		return d.record(ctx, tx, p.Tenant, "privacy.plan", planAttr(p.ID), slog.String("reason", p.Reason))
	})
	if err != nil {
		return nil, err
	}
	d.observe(ctx, "privacy.planned", float64(len(rows)))
	return p, nil
}

func planAttr(id string) slog.Attr { return slog.String("object", "plan/"+id) }

// headAttrs put the ledger's head into the trail.
func headAttrs(h head) ([]slog.Attr, error) {
	data, err := h.bytes()
	return []slog.Attr{slog.String("digest", string(data)), slog.Int64("count", h.N)}, mute("encoding the ledger's head", err)
}

// recordHead writes an audit event that carries the ledger's head.
func (d *Desk) recordHead(ctx context.Context, tx datastore.Tx, h head, tenant, action string, attrs ...slog.Attr) error {
	more, err := headAttrs(h)
	if err != nil {
		return err
	}
	return d.record(ctx, tx, tenant, action, append(attrs, more...)...)
}

// record writes an audit event with a fresh id in the transaction.
func (d *Desk) record(ctx context.Context, tx datastore.Tx, tenant, action string, attrs ...slog.Attr) error {
	id, err := uuid.NewV7()
	if err != nil {
		return mute("drawing an id", err)
	}
	return d.recordAs(ctx, tx, id.String(), tenant, action, attrs...)
}

func (d *Desk) recordAs(ctx context.Context, tx datastore.Tx, id, tenant, action string, attrs ...slog.Attr) error {
	if d.cfg.Record == nil {
		return nil
	}
	return mute("recording "+action, d.cfg.Record(ctx, tx, tenant, action, append(attrs, slog.String("id", id))...))
}

func (p *Plan) body() planBody {
	b := planBody{
		Aliases: p.Aliases, By: p.By, Created: stamp(p.Created), ID: p.ID, NotBefore: stamp(p.NotBefore),
		Person: p.Person, Reason: p.Reason, Tenant: p.Tenant, V: 1,
	}
	for _, r := range p.rows {
		b.Rows = append(b.Rows, planLine{
			Because: r.Because, Class: string(r.Class), Created: stamp(r.Created), Joint: r.Others,
			Key: r.Key, Store: r.Store, Table: r.Table, Until: stamp(r.Until), Count: r.Count,
		})
	}
	return b
}

// stamp writes a time as the formats want it; zero is left out.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return canon.FormatTime(t)
}

func unstamp(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return canon.ParseTime(s)
}

// Plan returns a stored plan. A plan that is done or cancelled has forgotten
// its person; of one that is done, who asked, who approved, why and the counts stay.
func (d *Desk) Plan(ctx context.Context, id string) (*Plan, error) {
	row, err := d.loadPlan(ctx, id)
	if err != nil {
		return nil, err
	}
	return d.open(ctx, row)
}

// open verifies and decodes a plan row.
func (d *Desk) open(ctx context.Context, row planRow) (*Plan, error) {
	if row.state == stateDone || row.state == stateCancelled {
		p := &Plan{ID: row.id, Tenant: row.tenant, State: row.state}
		return p, row.stays(p)
	}
	genuine, err := d.cfg.Ledger.digests.verifyTag(ctx, labelPlan, row.body, row.tag)
	if err != nil {
		return nil, err
	}
	p, err := parsePlan(row.body)
	if err != nil || !genuine || p.ID != row.id || p.Tenant != row.tenant {
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
	genuine, err = d.cfg.Ledger.digests.verifyTag(ctx, labelApproval, approvalInput(row.body, a.By, a.At), []byte(a.Tag))
	if err != nil {
		return nil, err
	}
	if !genuine || validPrincipal(a.By) != nil || samePrincipal(a.By, p.By) {
		return nil, ErrPlanForged
	}
	p.ApprovedBy = a.By
	return p, nil
}

func parsePlan(body []byte) (*Plan, error) {
	var b planBody
	if err := canon.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	created, err1 := unstamp(b.Created)
	notBefore, err2 := unstamp(b.NotBefore)
	if err := errors.Join(err1, err2); err != nil || b.V != 1 {
		return nil, ErrPlanForged
	}
	p := &Plan{
		ID: b.ID, Tenant: b.Tenant, Person: b.Person, Aliases: b.Aliases, Reason: b.Reason, By: b.By,
		Created: created, NotBefore: notBefore,
	}
	for _, l := range b.Rows {
		created, err1 := unstamp(l.Created)
		until, err2 := unstamp(l.Until)
		if err := errors.Join(err1, err2); err != nil {
			return nil, ErrPlanForged
		}
		p.rows = append(p.rows, datastore.Row{
			Store: l.Store, Table: l.Table, Key: l.Key, Created: created,
			Class: datastore.Class(l.Class), Until: until, Because: l.Because, Others: l.Joint, Count: l.Count,
		})
	}
	p.Counts = Sum(p.rows)
	return p, nil
}

func approvalInput(body []byte, by, at string) []byte {
	sum := sha256.Sum256(body)
	return frame.Join(sum[:], []byte(by), []byte(at))
}

// Approve approves a plan as it is stored. by differs from who asked, by more
// than upper and lower case; like Request.By it comes from the session of
// whoever is signed in, in the one spelling that the session knows.
func (d *Desk) Approve(ctx context.Context, planID, by string) error {
	if err := validPrincipal(by); err != nil {
		return err
	}
	row, err := d.loadPlan(ctx, planID)
	if err != nil {
		return err
	}
	p, err := d.open(ctx, row)
	switch {
	case err != nil:
		return err
	case p.State == stateCancelled:
		return ErrCancelled
	case p.State != statePlanned:
		return nil // approved already
	case samePrincipal(by, p.By):
		return ErrSelfApproval
	}
	if err := d.allow(ctx, "privacy.approve", p.Person); err != nil {
		return err
	}
	at := stamp(d.now())
	tag, err := d.cfg.Ledger.digests.tag(ctx, labelApproval, approvalInput(row.body, by, at))
	if err != nil {
		return err
	}
	data, err := canon.Marshal(approval{At: at, By: by, Tag: string(tag)})
	if err != nil {
		return mute("encoding the approval", err)
	}
	return d.recorded(ctx, []string{p.Tenant}, func(tx *sql.Tx) error {
		n, err := d.exec(ctx, tx, "storing the approval", `UPDATE crmguard_privacy_plan SET state = ?, approval = ?, changed = ? WHERE id = ? AND state = ?`,
			stateApproved, data, d.now().UnixMicro(), planID, statePlanned)
		if err != nil {
			return err
		}
		if n != 1 {
			return ErrPlanChanged
		}
		return d.record(ctx, tx, p.Tenant, "privacy.approve", planAttr(p.ID))
	})
}

// Cancel withdraws a plan that is not running yet and forgets its person.
func (d *Desk) Cancel(ctx context.Context, planID string) error {
	row, err := d.loadPlan(ctx, planID)
	if err != nil {
		return err
	}
	if row.state == stateCancelled {
		return nil
	}
	m, _, err := d.loadMark(ctx)
	if err != nil {
		return err
	}
	_, err = d.cfg.Ledger.append(ctx, d.now(), m.named(), func(c *chain) (entry, bool, error) {
		if len(c.plan(planID)) > 0 {
			return entry{}, false, ErrPlanChanged // its intent stands in the ledger
		}
		return entry{}, false, d.cancel(ctx, row)
	})
	return err
}

// cancel runs under the lock of the ledger, so that no execution begins meanwhile.
func (d *Desk) cancel(ctx context.Context, row planRow) error {
	planID := row.id
	return d.recorded(ctx, []string{row.tenant}, func(tx *sql.Tx) error {
		n, err := d.exec(ctx, tx, "cancelling the plan", `UPDATE crmguard_privacy_plan
			SET state = ?, body = NULL, tag = NULL, approval = NULL, changed = ? WHERE id = ? AND state IN (?, ?)`,
			stateCancelled, d.now().UnixMicro(), planID, statePlanned, stateApproved)
		if err != nil {
			return err
		}
		if n != 1 {
			return ErrPlanChanged
		}
		return d.record(ctx, tx, row.tenant, "privacy.cancel", planAttr(planID))
	})
}

// content lists what an approval was for. Stores that only count (keys,
// openings) change with every use of the system and do not enter.
func content(rows []datastore.Row) []string {
	var list []string
	for _, r := range rows {
		if r.Key != "" {
			list = append(list, strings.Join([]string{r.Store, r.Table, r.Key, string(r.Class)}, "\x00"))
		}
	}
	slices.Sort(list)
	return list
}

package privacy

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// States of a plan.
const (
	statePlanned   = "planned"
	stateApproved  = "approved"
	stateErased    = "erased"    // its intent stands in the ledger, and the database has erased
	stateWaiting   = "waiting"   // likewise, and every store has answered: nothing is known to be left
	stateLeft      = "left"      // likewise, and a store still held something
	stateCertified = "certified" // its certificate is made, and it has forgotten its person
	stateDone      = "done"      // the ledger knows
	stateCancelled = "cancelled"
	stateVoid      = "void"
)

// labelPlan is the key under which a plan row is authenticated.
const labelPlan = "crmguard/privacy/plan/v1"

// planRow is a plan as the table holds it. mac binds all of it together, so
// that whoever writes to the database can put back what this system wrote, and
// nothing else: an older row only makes it look again.
type planRow struct {
	id, tenant, state string
	person            string // the person's digest, as erasurelog.Log.Keys has it
	intent            int64  // number of the ledger's entry; 0 before
	body, approval    []byte
	erased            sql.NullInt64 // since when nothing is left in any store
	outcome           []byte        // facts, and once certified what remains
	certificate       []byte
	mac               []byte
}

// plansAtOnce is for how many persons one statement looks for plans.
const plansAtOnce = 500

const planColumns = `id, tenant, person, state, intent, body, approval, erased, outcome, certificate, mac`

// columns are where the values of planColumns go.
func (row *planRow) columns() []any {
	return []any{
		&row.id, &row.tenant, &row.person, &row.state, &row.intent, &row.body, &row.approval, &row.erased, &row.outcome, &row.certificate, &row.mac,
	}
}

// covered is what the mac is taken over.
func (row *planRow) covered() []byte {
	erased := ""
	if row.erased.Valid {
		erased = strconv.FormatInt(row.erased.Int64, 10)
	}
	return frame.Join([]byte(row.id), []byte(row.tenant), []byte(row.person), []byte(row.state),
		strconv.AppendInt(nil, row.intent, 10), row.body, row.approval, []byte(erased), row.outcome, row.certificate)
}

// loadPlan reads a plan and checks that this system wrote it.
func (d *Desk) loadPlan(ctx context.Context, q sqldb.Querier, id string) (planRow, error) {
	return d.readPlan(ctx, q, id, "")
}

// lockPlan is loadPlan of a row that nobody else changes until the end of the
// transaction.
func (d *Desk) lockPlan(ctx context.Context, tx datastore.Tx, id string) (planRow, error) {
	return d.readPlan(ctx, tx, id, d.forUpdate())
}

// forUpdate locks what a statement reads; SQLite's writers are serial as it is.
func (d *Desk) forUpdate() string {
	if d.db.Kind == sqldb.SQLite {
		return ""
	}
	return " FOR UPDATE"
}

func (d *Desk) readPlan(ctx context.Context, q sqldb.Querier, id, lock string) (planRow, error) {
	var row planRow
	err := sqldb.One(ctx, q, row.columns(), d.db.Bind(`SELECT `+planColumns+` FROM crmguard_privacy_plan WHERE id = ?`+lock), id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return planRow{}, ErrNoPlan
	case err != nil:
		return planRow{}, mute("reading the plan", err)
	}
	_, err = d.authentic(ctx, &row)
	return row, err
}

// authentic is ErrPlanForged of a row that this system did not write. The row is in
// the state in which it was written: moved says that somebody has put another one
// there, which keeps nobody from the plan. Its column is for statements that look for
// rows; what binds is the mac.
func (d *Desk) authentic(ctx context.Context, row *planRow) (moved bool, err error) {
	stands := row.state
	for _, state := range []string{
		stands, statePlanned, stateApproved, stateErased, stateWaiting, stateLeft, stateCertified, stateDone, stateCancelled, stateVoid,
	} {
		row.state = state
		ok, err := d.cfg.Ledger.VerifyTag(ctx, labelPlan, row.covered(), row.mac)
		if ok || err != nil {
			return state != stands, err
		}
	}
	row.state = stands
	return false, ErrPlanForged
}

// storePlan writes a row that the caller has locked.
func (d *Desk) storePlan(ctx context.Context, tx datastore.Tx, row *planRow) (err error) {
	if row.mac, err = d.cfg.Ledger.Tag(ctx, labelPlan, row.covered()); err != nil {
		return err
	}
	err = d.exec(ctx, tx, "storing the plan's state", `UPDATE crmguard_privacy_plan
		SET state = ?, intent = ?, body = ?, approval = ?, erased = ?, outcome = ?, certificate = ?, mac = ?, changed = ? WHERE id = ?`,
		row.state, row.intent, row.body, row.approval, row.erased, row.outcome, row.certificate, row.mac, d.now().UnixMicro(), row.id)
	return err
}

// restate puts the state right that somebody has written.
func (d *Desk) restate(ctx context.Context, tx datastore.Tx, id string) error {
	row, err := d.lockPlan(ctx, tx, id)
	if err != nil {
		return err
	}
	return d.storePlan(ctx, tx, &row)
}

func (d *Desk) insertPlan(ctx context.Context, tx datastore.Tx, row *planRow) (err error) {
	if row.mac, err = d.cfg.Ledger.Tag(ctx, labelPlan, row.covered()); err != nil {
		return err
	}
	err = d.exec(ctx, tx, "storing the plan", `INSERT INTO crmguard_privacy_plan (id, tenant, person, state, intent, body, mac, changed) VALUES (?, ?, ?, ?, 0, ?, ?, ?)`,
		row.id, row.tenant, row.person, row.state, row.body, row.mac, d.now().UnixMicro())
	return err
}

// scrub takes the person out of a plan row: only its id, tenant and state
// stay. The digest of the person stays, too: who has
// no ledger root cannot tell whose it is.
func (d *Desk) scrub(ctx context.Context, tx datastore.Tx, id, state string) error {
	row, err := d.lockPlan(ctx, tx, id)
	if err != nil {
		return err
	}
	row.forget(state)
	return d.storePlan(ctx, tx, &row)
}

func (row *planRow) forget(state string) {
	row.state, row.body, row.approval, row.outcome, row.certificate = state, nil, nil, nil, nil
}

// remains is what stays of a plan that is certified.
type remains struct {
	ApprovedBy string   `json:"approved_by"`
	By         string   `json:"by"`
	Counts     []Count  `json:"counts"`
	Digest     string   `json:"digest"`           // of the certificate, as ledger and trail have it
	Event      string   `json:"event"`            // id of the audit event that records the certificate
	Noted      bool     `json:"noted"`            // there was a note beside the ledger
	NotCovered []string `json:"not_covered"`      // as on the certificate
	Others     []string `json:"others,omitempty"` // plans of the same persons that ended with this one
	Reason     string   `json:"reason"`
	SaltRoot   uint32   `json:"salt_root"` // under which the certificate's salt was drawn
}

// stays reads the remains. There are none of a plan that was cancelled, or done
// before this database was restored.
func (row planRow) stays() (r remains, err error) {
	if len(row.outcome) > 0 && json.Unmarshal(row.outcome, &r) != nil {
		err = ErrPlanForged
	}
	return r, err
}

// openPlans lists the plans that have not ended, as their rows stand: what somebody
// may have made of a state does not hide one that the ledger does not know as ended.
// Without a ledger (nil) it goes by the states alone.
func (d *Desk) openPlans(ctx context.Context, s *erasurelog.State) (plans []planRow, err error) {
	plans, err = d.plansWhere(ctx, `state NOT IN (?, ?, ?)`, stateDone, stateCancelled, stateVoid)
	if err != nil || s == nil {
		return plans, err
	}
	var hidden []string
	err = sqldb.Each(ctx, d.db, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		if !slices.Contains([]erasurelog.Status{erasurelog.Finished, erasurelog.Withdrawn, erasurelog.Cancelled}, s.Status(id)) {
			hidden = append(hidden, id)
		}
		return err
	}, d.db.Bind(`SELECT id FROM crmguard_privacy_plan WHERE state IN (?, ?, ?)`), stateDone, stateCancelled, stateVoid)
	for _, id := range hidden {
		rows, err := d.plansWhere(ctx, `id = ?`, id)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			of := row
			switch moved, err := d.authentic(ctx, &of); {
			case moved, errors.Is(err, ErrPlanForged): // otherwise it ended with another plan of the same persons
				plans = append(plans, row)
			case err != nil:
				return nil, err
			}
		}
	}
	return plans, mute("reading the plans", err)
}

func (d *Desk) plansWhere(ctx context.Context, condition string, args ...any) (plans []planRow, err error) {
	err = sqldb.Each(ctx, d.db, func(rows *sql.Rows) error {
		var p planRow
		err := rows.Scan(p.columns()...)
		plans = append(plans, p)
		return err
	}, d.db.Bind(`SELECT `+planColumns+` FROM crmguard_privacy_plan WHERE `+condition+` ORDER BY id`), args...)
	return plans, mute("reading the plans", err)
}

// plansOf lists the ids of the other open plans of the persons.
func (d *Desk) plansOf(ctx context.Context, p *Plan) (ids []string, err error) {
	var all []any
	for _, person := range p.persons() {
		keys, err := d.cfg.Ledger.Keys(ctx, erasurelog.KindPerson, p.Tenant, []byte(person))
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			all = append(all, key)
		}
	}
	for some := range slices.Chunk(all, plansAtOnce) {
		err := sqldb.Each(ctx, d.db, func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		}, d.db.Bind(`SELECT id FROM crmguard_privacy_plan WHERE person IN (`+strings.TrimSuffix(strings.Repeat("?, ", len(some)), ", ")+`) AND body IS NOT NULL AND id <> ? ORDER BY id`), append(slices.Clone(some), p.ID)...)
		if err != nil {
			return nil, mute("reading the plans", err)
		}
	}
	return ids, nil
}

// exec executes a statement, written with a ? for each value.
func (d *Desk) exec(ctx context.Context, tx datastore.Tx, what, query string, args ...any) error {
	_, err := tx.ExecContext(ctx, d.db.Bind(query), args...)
	return mute(what, sqldb.Safe(err))
}

// recorded is inTx for what writes audit events of these tenants.
func (d *Desk) recorded(ctx context.Context, tenants []string, f func(tx *sql.Tx) error) error {
	if err := d.prepare(ctx, tenants...); err != nil {
		return err
	}
	return d.inTx(ctx, f)
}

func (d *Desk) prepare(ctx context.Context, tenants ...string) error {
	if d.cfg.Prepare == nil {
		return nil
	}
	for _, tenant := range tenants {
		if err := d.cfg.Prepare(ctx, tenant); err != nil {
			return mute("preparing the audit trail", err)
		}
	}
	return nil
}

// inTx runs f in a transaction of the application's database. f may be called
// again: it leaves nothing behind but what it wrote.
func (d *Desk) inTx(ctx context.Context, f func(tx *sql.Tx) error) error {
	var answer error
	err := d.db.Write(ctx, func(tx *sql.Tx) error {
		answer = f(tx)
		return answer
	})
	if err != nil && answer == nil { // it was the transaction that failed
		return mute("a transaction", err)
	}
	return err
}

// same reports whether a row is the one that was read before.
func (row planRow) same(other planRow) bool { return bytes.Equal(row.mac, other.mac) }

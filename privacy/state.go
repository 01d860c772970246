package privacy

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// States of a plan.
const (
	statePlanned   = "planned"
	stateApproved  = "approved"
	stateRunning   = "running" // its intent stands in the ledger
	stateDone      = "done"
	stateCancelled = "cancelled"
)

// planRow is a plan as the table holds it.
type planRow struct {
	id, tenant, state   string
	body, tag, approval []byte
	erased              sql.NullInt64
	outcome             []byte
	certificate         []byte
}

const planColumns = `id, tenant, state, body, tag, approval, erased, outcome, certificate`

// columns are where the values of planColumns go.
func (row *planRow) columns() []any {
	return []any{&row.id, &row.tenant, &row.state, &row.body, &row.tag, &row.approval, &row.erased, &row.outcome, &row.certificate}
}

func (d *Desk) loadPlan(ctx context.Context, id string) (planRow, error) {
	var p planRow
	err := sqldb.One(ctx, d.db, p.columns(), d.db.Bind(`SELECT `+planColumns+` FROM crmguard_privacy_plan WHERE id = ?`), id)
	if errors.Is(err, sql.ErrNoRows) {
		return planRow{}, ErrNoPlan
	}
	return p, mute("reading the plan", err)
}

// remains is what stays of a plan that is done.
type remains struct {
	ApprovedBy string  `json:"approved_by"`
	By         string  `json:"by"`
	Counts     []Count `json:"counts"`
	Reason     string  `json:"reason"`
}

// stays reads the remains into p. There are none of a plan that was cancelled,
// or done before this database was restored.
func (row planRow) stays(p *Plan) error {
	if len(row.outcome) == 0 {
		return nil
	}
	var r remains
	if err := json.Unmarshal(row.outcome, &r); err != nil {
		return ErrPlanForged
	}
	p.ApprovedBy, p.By, p.Counts, p.Reason = r.ApprovedBy, r.By, r.Counts, r.Reason
	return nil
}

// openPlans lists the plans that still hold a person id.
func (d *Desk) openPlans(ctx context.Context) (plans []planRow, err error) {
	err = sqldb.Each(ctx, d.db, func(rows *sql.Rows) error {
		var p planRow
		err := rows.Scan(p.columns()...)
		plans = append(plans, p)
		return err
	}, d.db.Bind(`SELECT `+planColumns+` FROM crmguard_privacy_plan WHERE state IN (?, ?, ?) ORDER BY id`), statePlanned, stateApproved, stateRunning)
	return plans, mute("reading the plans", err)
}

// plansOf lists the open plans, this one included, that hold one of the
// persons. One that is running and erases others too goes on.
func (d *Desk) plansOf(ctx context.Context, tenant string, persons []string) ([]string, error) {
	rows, err := d.openPlans(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, row := range rows {
		if row.tenant != tenant || !bytes.Contains(row.body, []byte(`"person"`)) {
			continue
		}
		p, err := parsePlan(row.body)
		if err != nil || !slices.Contains(persons, p.Person) {
			continue
		}
		more := slices.ContainsFunc(p.Aliases, func(alias string) bool { return !slices.Contains(persons, alias) })
		if row.state != stateRunning || !more {
			ids = append(ids, row.id)
		}
	}
	return ids, nil
}

// scrub takes the person out of a plan row: only its id, tenant, state,
// remains and certificate stay.
func (d *Desk) scrub(ctx context.Context, tx datastore.Tx, id, state string, outcome, certificate []byte) error {
	_, err := d.exec(ctx, tx, "scrubbing the plan", `UPDATE crmguard_privacy_plan
		SET state = ?, body = NULL, tag = NULL, approval = NULL, outcome = ?, certificate = ?, changed = ? WHERE id = ?`,
		state, outcome, certificate, d.now().UnixMicro(), id)
	return err
}

// exec executes a statement, written with a ? for each value, and says how many
// rows it changed.
func (d *Desk) exec(ctx context.Context, tx datastore.Tx, what, query string, args ...any) (changed int64, err error) {
	result, err := tx.ExecContext(ctx, d.db.Bind(query), args...)
	if err == nil {
		changed, err = result.RowsAffected()
	}
	return changed, mute(what, sqldb.Safe(err))
}

// recorded is inTx for what writes audit events of these tenants.
func (d *Desk) recorded(ctx context.Context, tenants []string, f func(tx *sql.Tx) error) error {
	if d.cfg.Prepare != nil {
		for _, tenant := range tenants {
			if err := d.cfg.Prepare(ctx, tenant); err != nil {
				return mute("preparing the audit trail", err)
			}
		}
	}
	return d.inTx(ctx, f)
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

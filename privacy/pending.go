package privacy

import (
	"context"
	"database/sql"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// The pending persons are those whom a replay has begun to erase again and has
// not finished with in every store. Once the first store has erased them it
// lists them no more, so that the next replay would not look for them in the
// one that was down. They stand in the database, and the gate is shut, until
// one replay has got through.

const pendingTable = "crmguard_privacy_pending"

var pendingKey = []string{"tenant", "person"}

func (d *Desk) pending(ctx context.Context) (list []datastore.Person, err error) {
	err = sqldb.Each(ctx, d.db, func(rows *sql.Rows) error {
		var p datastore.Person
		err := rows.Scan(&p.Tenant, &p.ID)
		list = append(list, p)
		return err
	}, `SELECT tenant, person FROM crmguard_privacy_pending ORDER BY tenant, person`)
	return list, mute("reading the pending persons", err)
}

// pend notes the persons; one that is noted already stays so.
func (d *Desk) pend(ctx context.Context, persons []datastore.Person) error {
	return d.inTx(ctx, func(tx *sql.Tx) error {
		in := sqldb.Insert{Table: pendingTable, Columns: pendingKey, Key: pendingKey}
		return mute("noting the pending persons", d.db.Insert(ctx, tx, in, pendingRows(persons)))
	})
}

func (d *Desk) unpend(ctx context.Context, tx datastore.Tx, persons []datastore.Person) error {
	return mute("forgetting the pending persons", d.db.Delete(ctx, tx, pendingTable, pendingKey, pendingRows(persons)))
}

func pendingRows(persons []datastore.Person) [][]any {
	rows := make([][]any, len(persons))
	for i, p := range persons {
		rows[i] = []any{p.Tenant, p.ID}
	}
	return rows
}

// begun lists the persons of plans that stand in this database and whose
// intent is in the ledger: a store that was down may hold them when no other
// lists them any more.
func (r *replay) begun(ctx context.Context) ([]datastore.Person, error) {
	rows, err := r.d.openPlans(ctx)
	if err != nil {
		return nil, err
	}
	var list []datastore.Person
	for _, row := range rows {
		if len(r.chain.plan(row.id)) == 0 {
			continue
		}
		p, err := parsePlan(row.body)
		if err != nil {
			return nil, ErrPlanForged
		}
		for _, person := range append([]string{p.Person}, p.Aliases...) {
			list = append(list, datastore.Person{Tenant: p.Tenant, ID: person})
		}
	}
	return list, nil
}

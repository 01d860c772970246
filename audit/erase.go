package audit

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// itself is the actor of what the trail does on its own account.
const itself = "crmguard/audit"

// Erase deletes the openings of a person and the row that ties the person to
// the surrogate, and records it in the same transaction as an event of kind
// erase that names the surrogate and nothing else. Leaves, hashes and proofs
// stay as they are. Calling it again finds nothing and records nothing.
//
// Backups from before it become unreadable once the person's key is destroyed,
// which is not done here; where no person has a key ([KeysFrom]) they stay
// readable.
//
// It erases what was committed before it: hold back or repeat it where a
// transaction that records about the person may still be open.
func (t *Trail) Erase(ctx context.Context, tenant, person string) error {
	if err := t.ready(); err != nil {
		return err
	}
	if err := cmp.Or(ids.Check("tenant", tenant), ids.CheckGiven("person", person)); err != nil {
		return invalid("erase: %w", err)
	}
	if _, err := t.config.Tag.Tag(ctx, tenant, queueData(tenant, nil)); err != nil {
		return fmt.Errorf("audit: erase: tag: %w", err) // the key is fetched here, not inside the transaction
	}
	var surrogate string
	err := t.exclusive(ctx, func(tx Tx) error {
		surrogate = "" // of an attempt that the database ended
		found, err := t.one(ctx, tx, []any{&surrogate}, `SELECT surrogate FROM crmguard_audit_surrogates WHERE tenant = ? AND person = ?`, tenant, person)
		if err != nil || !found {
			return err
		}
		return t.erase(ctx, tx, tenant, surrogate)
	})
	if err != nil || surrogate == "" {
		return err
	}
	return t.eraseReadBack(ctx, tenant, surrogate)
}

// Eraser returns [Trail.Erase] as a func, for a Func of package privacy.
func (t *Trail) Eraser() func(ctx context.Context, tenant, person string) error { return t.Erase }

func (t *Trail) erase(ctx context.Context, tx Tx, tenant, surrogate string) error {
	if err := t.forgetRetries(ctx, tx, tenant, surrogate); err != nil {
		return err
	}
	for _, query := range []string{
		`DELETE FROM crmguard_audit_openings WHERE tenant = ? AND owner = ?`,
		`DELETE FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate = ?`,
	} {
		if _, err := t.exec(ctx, tx, query, tenant, surrogate); err != nil {
			return err
		}
	}
	id, err := NewID()
	if err != nil {
		return err
	}
	leaf := auditlog.Leaf{
		ID: id, Kind: auditlog.KindErase, At: t.now(), Tenant: tenant, Actor: itself, Action: "audit.erase",
		Outcome: OutcomeOK, Persons: []string{surrogate},
	}
	inserted, err := t.enqueue(ctx, tx, &leaf, nil)
	if err == nil && !inserted {
		err = &ConflictError{ID: id}
	}
	return err
}

// forgetRetries clears the tags by which retries of the person's events are
// compared: they are made from the values. A page of ids at a time, because
// MariaDB reads the whole table where the ids come from a subquery.
func (t *Trail) forgetRetries(ctx context.Context, tx Tx, tenant, surrogate string) error {
	page := sqldb.Page{
		Table: "crmguard_audit_persons", Columns: []string{"event"}, Key: []string{"event"},
		Where: "tenant = ? AND surrogate = ?", Args: []any{tenant, surrogate}, Limit: 500,
	}
	for {
		var events []any
		err := t.page(ctx, tx, func(rows answer) error {
			var event string
			err := rows.Scan(&event)
			events = append(events, event)
			return err
		}, page)
		if err != nil || len(events) == 0 {
			return err
		}
		page.After = events[len(events)-1:]
		if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET retry = NULL WHERE retry IS NOT NULL AND id IN (`+sqldb.Marks(len(events))+`)`, events...); err != nil {
			return err
		}
	}
}

var errLeft = errors.New("audit: erase: rows of the person are still there")

func (t *Trail) eraseReadBack(ctx context.Context, tenant, surrogate string) error {
	var n sql.NullInt64
	_, err := t.one(ctx, t.db, []any{&n}, `SELECT (SELECT COUNT(*) FROM crmguard_audit_openings WHERE tenant = ? AND owner = ?) + (SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate = ?)`,
		tenant, surrogate, tenant, surrogate)
	if err == nil && n.Int64 != 0 {
		err = errLeft
	}
	return err
}

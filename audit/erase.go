package audit

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/internal/ids"
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
	err := t.locked(ctx, func(tx Tx, _ state) error {
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

// Eraser returns [Trail.Erase] as a func.
func (t *Trail) Eraser() func(ctx context.Context, tenant, person string) error { return t.Erase }

func (t *Trail) erase(ctx context.Context, tx Tx, tenant, surrogate string) error {
	for _, query := range []string{
		`DELETE FROM crmguard_audit_openings WHERE tenant = ? AND owner = ?`,
		`UPDATE crmguard_audit_events SET retry = NULL WHERE retry IS NOT NULL AND id IN (SELECT event FROM crmguard_audit_persons WHERE tenant = ? AND surrogate = ?)`,
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
	leaf := Leaf{
		ID: id, Kind: KindErase, At: t.now(), Tenant: tenant, Actor: itself, Action: "audit.erase",
		Outcome: OutcomeOK, Persons: []string{surrogate},
	}
	inserted, err := t.enqueue(ctx, tx, &leaf, nil)
	if err == nil && !inserted {
		err = &ConflictError{ID: id}
	}
	return err
}

var errLeft = errors.New("audit: erase: rows of the person are still there")

func (t *Trail) eraseReadBack(ctx context.Context, tenant, surrogate string) error {
	var n sql.NullInt64
	_, err := t.one(ctx, t.store, []any{&n}, `SELECT (SELECT COUNT(*) FROM crmguard_audit_openings WHERE tenant = ? AND owner = ?) + (SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate = ?)`,
		tenant, surrogate, tenant, surrogate)
	if err == nil && n.Int64 != 0 {
		err = errLeft
	}
	return err
}

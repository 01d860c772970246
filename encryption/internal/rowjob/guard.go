package rowjob

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// What a job seals and writes in a transaction of its own must not be committed
// under a key version that is destroyed meanwhile. No lock spans the key store and
// the rows, which may be two servers, or one file of SQLite. What excludes it is
// an order. The transaction writes its rows, and so holds locks on the table,
// then reads afresh whether the key version is still active, then commits. Whoever
// destroys retires the key version first and waits, before it counts, for all who
// have locks on the table. So either the transaction finds the key version
// retired, and is rolled back, or it had its locks before that, and is counted.

// errRetired says that what was sealed must be sealed anew: the key version is not
// active any more.
var errRetired = fmt.Errorf("%w: the key version was retired after the values were sealed: try again", keyring.ErrLease)

// errOverdue says that a transaction of ours took longer than Config has it.
var errOverdue = errors.New("encryption: the transaction took longer than Config.LongestTransaction, waiting for locks of others or for the key store: call again, with smaller batches or a longer one")

// Commit runs f in a transaction that begin makes, for as long as the longest
// transaction may take, and commits only while all key versions are active that
// the values are sealed under.
func (v *Vault) Commit(ctx context.Context, db *sql.DB, tenant string, under []uint32, begin func(ctx context.Context, f func(tx *sql.Tx) error) error, f func(ctx context.Context, tx *sql.Tx) error) error {
	bounded, stop := context.WithTimeout(ctx, v.Config.LongestTransaction)
	defer stop()
	err := begin(bounded, func(tx *sql.Tx) error {
		if err := f(bounded, tx); err != nil {
			return err
		}
		return v.stillActive(bounded, db, tx, tenant, under)
	})
	if errors.Is(err, errRetired) { // this process knows less than the store
		if _, err := v.Ring.LoadTenant(ctx, tenant); err != nil {
			return err
		}
	}
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return errors.Join(errOverdue, err)
	}
	return err
}

// stillActive asks the key store itself, whatever the lease allows to remember.
func (v *Vault) stillActive(ctx context.Context, db *sql.DB, tx *sql.Tx, tenant string, under []uint32) error {
	rows, err := v.afresh(ctx, db, tx, tenant)
	if err != nil {
		return keyring.StoreError(err)
	}
	for _, keyVersion := range under {
		if !slices.ContainsFunc(rows.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.KeyVersion == keyVersion && g.State == keystore.Active }) {
			return errRetired
		}
	}
	return nil
}

// afresh reads a tenant from a key store that is still the one that this vault
// knows. Where rows and keys are in one pool, which may have one connection or none
// to spare, it is read in the transaction: that sees what others have committed.
func (v *Vault) afresh(ctx context.Context, db *sql.DB, tx *sql.Tx, tenant string) (keystore.Rows, error) {
	if keys, ok := v.Config.Keys.(keystore.Insider); ok {
		if inside := keys.Inside(db, tx); inside != nil {
			if err := v.Ring.Recognise(ctx, inside); err != nil {
				return keystore.Rows{}, err
			}
			return inside.Tenant(ctx, tenant)
		}
	}
	before := v.Ring.Known()
	if _, err := v.Ring.Compare(ctx, before); err != nil {
		return keystore.Rows{}, err
	}
	return v.Config.Keys.Tenant(ctx, tenant)
}

// sealedUnder lists the key versions of what the changes write.
func sealedUnder(changes []cellChange) (out []uint32) {
	for _, c := range changes {
		var raw []byte
		switch value := c.new.(type) {
		case []byte:
			raw = value
		case string:
			raw = []byte(value)
		}
		if keyVersion, err := sealedvalue.KeyVersion(raw); err == nil && !slices.Contains(out, keyVersion) {
			out = append(out, keyVersion)
		}
	}
	return out
}

// awaitWriters waits for all who write to the table, named as in a statement, so
// that a census counts what they leave.
func (t *Table) awaitWriters(ctx context.Context, db *sqldb.DB, table string) error {
	err := db.WaitForWriters(ctx, table, func(open int) {
		t.Vault.Config.Observe(ctx, "encryption.holder.writers", float64(open), slog.String("table", t.Name))
	})
	if err != nil {
		return fmt.Errorf("encryption: wait for who writes to %s: %w", t.Name, err)
	}
	return nil
}

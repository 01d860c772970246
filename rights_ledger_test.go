package crmguard_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlledger"
)

// everyVerbOfLedger calls each verb of a ledger that reads or writes its tables.
func everyVerbOfLedger(t *testing.T) func(ctx context.Context, db *sql.DB) error {
	t.Helper()
	keys, err := erasurelog.KeysFrom(append(bytes.Repeat([]byte{1}, 31), 2))
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, db *sql.DB) error {
		medium, err := sqlledger.Open(ctx, db)
		if err != nil {
			return err
		}
		log, err := erasurelog.Open(erasurelog.Config{Medium: medium, Digests: keys})
		if err != nil {
			return err
		}
		if err := log.Create(ctx); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		_, digest, err := log.Digest(ctx, erasurelog.KindPerson, "main", []byte("p1"))
		if err != nil {
			return err
		}
		_, err = log.Append(ctx, nil, func(*erasurelog.State) (*erasurelog.Entry, error) {
			return &erasurelog.Entry{Op: erasurelog.Intent, Plan: uuid.NewString(), Tenant: digest, Person: digest}, nil
		})
		if err != nil {
			return err
		}
		for _, data := range []string{"one", "two"} {
			if err := log.Note(ctx, "a", []byte(data)); err != nil {
				return err
			}
		}
		for _, err := range log.Notes(ctx) {
			if err != nil {
				return err
			}
		}
		return log.Forget(ctx, "a")
	}
}

// ledgerOnSQL says in a table whom to erase again, and finds it there.
func ledgerOnSQL(t *testing.T, db *sql.DB) {
	t.Helper()
	require.NoError(t, sqlledger.Install(t.Context(), db))
	require.NoError(t, everyVerbOfLedger(t)(t.Context(), db))
}

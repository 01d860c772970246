package rowjob

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Redact does what SealedTable.Redact promises, under a new record owner. What it
// answers is a *jobs.RedactedError where the row has changed and the old owner is
// not erased.
func (t *Table) Redact(ctx context.Context, db *sql.DB, tenant, key, owner string, redaction jobs.Redaction) error {
	if err := keyring.CheckTenant(tenant); err != nil {
		return err
	}
	s, err := t.counted(ctx, db, tenant)
	if err != nil {
		return err
	}
	if t.Shared || redaction.Edit == nil {
		return &keyring.KeyError{Op: "redact needs an owner column and Edit", Table: t.Name, Err: keyring.ErrDefinition}
	}
	if s.owner.Generated() {
		return &keyring.KeyError{Op: "redact: the database makes the owner column itself, nobody can write a new record owner into it:", Table: t.Name, Err: keyring.ErrDefinition}
	}
	if !s.db.Textual(*s.owner) {
		return &keyring.KeyError{Op: "the type of the owner column cannot hold a record owner, r:<uuid>:", Table: t.Name, Err: keyring.ErrDefinition}
	}
	if t.hasStreams() && redaction.Streams == nil {
		return &keyring.KeyError{Op: "redact needs Redaction.Streams: the streams of the record would be lost with its old owner:", Table: t.Name, Err: keyring.ErrDefinition}
	}
	row, err := s.row(ctx, tenant, key)
	if err != nil {
		return err
	}
	if row == nil {
		return fmt.Errorf("encryption: redact: %w", sql.ErrNoRows)
	}
	if err := keyring.CheckRecordOwner(row.owner); err != nil {
		return fmt.Errorf("encryption: redact: the row belongs to one person: %w", err)
	}
	if err := s.soleRow(ctx, s.db, tenant, row.owner); err != nil {
		return err
	}
	changes, err := s.redacted(ctx, tenant, owner, *row, redaction.Edit)
	if err != nil {
		return err
	}
	if err := s.resealStreams(ctx, tenant, *row, owner, redaction.Streams); err != nil {
		return err
	}
	changes = append(changes, cellChange{column: *s.owner, old: row.stored, new: owner})
	err = t.Vault.Commit(ctx, s.db.DB, tenant, sealedUnder(changes), s.write, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.soleRow(ctx, tx, tenant, row.owner); err != nil {
			return err
		}
		ok, err := s.swapHooked(ctx, tx, tenant, *row, changes, redaction.BeforeRow, redaction.AfterRow)
		if err == nil && !ok {
			err = fmt.Errorf("encryption: redact: the row of %s changed meanwhile; try again", t.Name)
		}
		if err == nil {
			err = s.runDeferred(ctx, tx)
		}
		if err == nil {
			err = s.stillWritten(ctx, tx, tenant, *row, changes)
		}
		if err == nil {
			err = s.whole(ctx, tx) // soleRow has counted what this user is shown
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := t.Vault.Ring.EraseRecord(ctx, tenant, row.owner); err != nil {
		return &jobs.RedactedError{Old: row.owner, Err: err}
	}
	return nil
}

// soleRow refuses a record owner that several rows of the table have: with its keys
// the others would go.
func (s *storedTable) soleRow(ctx context.Context, q sqldb.Querier, tenant, owner string) error {
	where, args := s.ofTenant(tenant)
	same, more := s.holds(*s.owner, owner)
	rows := 0
	err := sqldb.Each(ctx, q, func(*sql.Rows) error {
		rows++
		return nil
	}, s.db.Bind(`SELECT 1 FROM `+s.sql+` WHERE `+where+` AND `+same+` LIMIT 2`), append(args, more...)...)
	switch {
	case err != nil:
		return s.failed("read", err)
	case rows > 1:
		return &keyring.KeyError{Op: "redact: other rows have the same record owner, and would become unreadable: give each of them one of its own first (RecordWriter):", Table: s.Name, Err: keyring.ErrDefinition}
	}
	return nil
}

func (s *storedTable) redacted(ctx context.Context, tenant, owner string, row dataRow, edit func(string, []byte) ([]byte, error)) ([]cellChange, error) {
	w, err := s.RecordWriter(ctx, tenant, owner, row.id)
	if err != nil {
		return nil, err
	}
	var changes []cellChange
	for i := range s.Columns {
		col, cell := &s.Columns[i], row.cells[i]
		if col.Stream || col.Level == format.LevelTenant {
			continue
		}
		if cell.stored == nil {
			changes = append(changes, cellChange{column: s.cells[i], keep: true})
			continue
		}
		if cell.err != nil { // what it was would be lost with the old owner
			return nil, &keyring.KeyError{Op: "redact: the cell holds no sealed field:", Table: s.Name, Column: col.Name, Err: keyring.ErrOpen}
		}
		plaintext, err := s.openValue(ctx, tenant, row.id, col, row.owner, cell.sealed)
		if err != nil {
			return nil, s.detail(err, col.Name)
		}
		kept, err := edit(col.Name, plaintext)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("encryption: redact %s.%s", s.Name, col.Name), err)
		}
		value, err := w.Sealed(col.Name, kept)
		if err != nil {
			return nil, err
		}
		changes = append(changes, cellChange{column: s.cells[i], old: cell.stored, new: value})
		for j, index := range s.Indexes {
			if index.Of == i {
				value, err := w.Index(index.Column, string(kept))
				if err != nil {
					return nil, err
				}
				changes = append(changes, cellChange{column: s.indexes[j], old: row.values[j], new: value})
			}
		}
	}
	return changes, nil
}

package encryption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Redact reseals one record of several persons under a new record owner, with
// only what Edit leaves, and then erases the old record owner: without that
// the unredacted text would stay readable in backups. Old copies of the
// record become unreadable for all of its persons. The key is the row's, as
// [RowText] writes it. It returns the new owner. A record owner that another row
// of the table has, too, is refused (ErrDefinition): its keys go with the old one.
// Rows of other tables are not looked at.
//
// If it fails after the row was changed, a *RedactedError names the old owner:
// erase it with EraseRecord.
func (t *SealedTable) Redact(ctx context.Context, db *sql.DB, tenant, key string, redaction jobs.Redaction) (owner string, err error) {
	if err := keyring.CheckTenant(tenant); err != nil {
		return "", err
	}
	s, err := t.counted(ctx, db, tenant)
	if err != nil {
		return "", err
	}
	if t.def.Shared || redaction.Edit == nil {
		return "", &KeyError{Op: "redact needs an owner column and Edit", Table: t.def.Name, Err: ErrDefinition}
	}
	if _, text := s.db.Bytes(*s.owner); !text {
		return "", &KeyError{Op: "the type of the owner column cannot hold a record owner, r:<uuid>:", Table: t.def.Name, Err: ErrDefinition}
	}
	if t.hasStreams() && redaction.Streams == nil {
		return "", &KeyError{Op: "redact needs Redaction.Streams: the streams of the record would be lost with its old owner:", Table: t.def.Name, Err: ErrDefinition}
	}
	row, err := s.row(ctx, tenant, key)
	if err != nil {
		return "", err
	}
	if row == nil {
		return "", fmt.Errorf("encryption: redact: %w", sql.ErrNoRows)
	}
	if err := keyring.CheckRecordOwner(row.owner); err != nil {
		return "", fmt.Errorf("encryption: redact: the row belongs to one person: %w", err)
	}
	if err := s.soleRow(ctx, s.db, tenant, row.owner); err != nil {
		return "", err
	}
	if owner, err = NewRecordOwner(); err != nil {
		return "", err
	}
	changes, err := s.redacted(ctx, tenant, owner, *row, redaction.Edit)
	if err != nil {
		return "", err
	}
	if err := s.resealStreams(ctx, tenant, *row, owner, redaction.Streams); err != nil {
		return "", err
	}
	changes = append(changes, cellChange{column: *s.owner, old: row.stored, new: owner})
	err = t.vault.guarded(ctx, s.db.DB, tenant, sealedUnder(changes), s.write, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.soleRow(ctx, tx, tenant, row.owner); err != nil {
			return err
		}
		ok, err := s.swapHooked(ctx, tx, tenant, *row, changes, redaction.BeforeRow, redaction.AfterRow)
		if err == nil && !ok {
			err = fmt.Errorf("encryption: redact: the row of %s changed meanwhile; try again", t.def.Name)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	if _, err := t.vault.EraseRecord(ctx, tenant, row.owner); err != nil {
		return owner, &jobs.RedactedError{Old: row.owner, Err: err}
	}
	return owner, nil
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
		return &KeyError{Op: "redact: other rows have the same record owner, and would become unreadable: give each of them one of its own first (RecordWriter):", Table: s.def.Name, Err: ErrDefinition}
	}
	return nil
}

func (s *storedTable) redacted(ctx context.Context, tenant, owner string, row dataRow, edit func(string, []byte) ([]byte, error)) ([]cellChange, error) {
	w, err := s.RecordWriter(ctx, tenant, owner)
	if err != nil {
		return nil, err
	}
	if w, err = w.Row(row.id); err != nil {
		return nil, err
	}
	r, err := s.Reader(ctx, tenant, row.owner)
	if err != nil {
		return nil, err
	}
	var changes []cellChange
	for i := range s.def.Columns {
		col, cell := &s.def.Columns[i], row.cells[i]
		if col.Stream || col.Level == LevelTenant {
			continue
		}
		if cell.stored == nil {
			changes = append(changes, cellChange{column: s.cells[i], keep: true})
			continue
		}
		if cell.err != nil { // what it was would be lost with the old owner
			return nil, &KeyError{Op: "redact: the cell holds no sealed field:", Table: s.def.Name, Column: col.Name, Err: ErrOpen}
		}
		plaintext, err := r.Row(row.owner, row.id).Open(ctx, col.Name, cell.sealed)
		if err != nil {
			return nil, err
		}
		kept, err := edit(col.Name, plaintext)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("encryption: redact %s.%s", s.def.Name, col.Name), err)
		}
		value, err := w.Bytes(col.Name, kept).Value()
		if err != nil {
			return nil, err
		}
		changes = append(changes, cellChange{column: s.cells[i], old: cell.stored, new: value})
		for j, index := range s.SealedTable.indexes {
			if index.column == i {
				value, err := w.Index(index.Column, string(kept)).Value()
				if err != nil {
					return nil, err
				}
				changes = append(changes, cellChange{column: s.indexes[j], old: row.values[j], new: value})
			}
		}
	}
	return changes, nil
}

// MoveStream copies a stream, sealed for another owner or another row: what
// [jobs.Redaction].Streams and [jobs.ResealOptions].Streams do where all of it stays. The
// name travels with it. Replace the old file only after it returned nil.
func (t *SealedTable) MoveStream(ctx context.Context, dst io.Writer, src io.Reader, from, to StreamRef) error {
	opened, err := t.OpenStream(ctx, src, from)
	if err != nil {
		return err
	}
	return t.SealStream(ctx, dst, to, opened.Name, opened.Size, opened)
}

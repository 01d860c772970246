package encryption

import (
	"context"
	"crypto/cipher"
	"encoding/binary"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

// RowReader opens values of one row. Who owns the row and what its key is are
// said once, where they are at hand, and not with each column again, where three
// texts beside each other are easily taken for one another. It is for the
// goroutine of its Reader.
type RowReader struct {
	reader     *Reader
	owner, row string
	turn       uint64
}

// Row returns what opens the values of one row: owner as it stands in the row (a
// person, r:<uuid>, t:), row its key, which columns of LevelRow are bound to.
// Columns of LevelTenant belong to the tenant, whoever the owner is. The owner is
// one of those that the Reader was made for.
func (r *Reader) Row(owner, row string) RowReader {
	if !r.at(owner, row) {
		if owner = keyring.Fold(owner); !r.at(owner, row) {
			r.turn++
			r.owner, r.row = owner, row
		}
	}
	return RowReader{reader: r, owner: r.owner, row: row, turn: r.turn}
}

// at reports whether this is the row that was named last.
func (r *Reader) at(owner, row string) bool {
	return r.turn != 0 && r.owner == owner && r.row == row
}

// Row is Reader and Row for a single row; a page of rows is opened by OpenAll, or
// with one Reader for all.
func (t *SealedTable) Row(ctx context.Context, tenant, owner, row string) (RowReader, error) {
	owners := []string{owner}
	if t.def.Shared && owner == "" {
		owners = nil
	}
	reader, err := t.Reader(ctx, tenant, t.withTenant(owners)...)
	if err != nil {
		return RowReader{}, err
	}
	return reader.Row(owner, row), nil
}

// withTenant adds the tenant's own key where a column needs it.
func (t *SealedTable) withTenant(owners []string) []string {
	for _, col := range t.def.Columns {
		if col.Level == LevelTenant {
			return append(owners, keyring.TenantOwner)
		}
	}
	return owners
}

// Open opens one cell, binary or text form; nil (NULL) opens as nil.
func (r RowReader) Open(ctx context.Context, column string, sealed []byte) ([]byte, error) {
	if sealed == nil {
		return nil, nil
	}
	return r.AppendOpen(ctx, make([]byte, 0, len(sealed)), column, sealed)
}

// Text is Open for text; NULL opens as "".
func (r RowReader) Text(ctx context.Context, column string, sealed []byte) (string, error) {
	plaintext, err := r.Open(ctx, column, sealed)
	return string(plaintext), err
}

// AppendOpen appends the opened value to dst, without allocation where dst
// has room and the cell is in the binary form. Several columns of a row cost less
// in [RowReader.AppendOpenRow].
func (r RowReader) AppendOpen(ctx context.Context, dst []byte, column string, sealed []byte) ([]byte, error) {
	r.reader.look()
	return r.appendOpen(ctx, dst, column, sealed)
}

// appendOpen opens one cell after a look at the lease.
func (r RowReader) appendOpen(ctx context.Context, dst []byte, column string, sealed []byte) ([]byte, error) {
	reader, table := r.reader, r.reader.table
	i, ok := table.position(column, reader.next)
	if !ok {
		return nil, table.noSuchColumn(column)
	}
	reader.next = i + 1
	if len(sealed) > len(format.TextPrefix) && string(sealed[:len(format.TextPrefix)]) == format.TextPrefix {
		var err error
		if sealed, err = sealedvalue.ParseText(string(sealed)); err != nil {
			return nil, table.detail(err, column)
		}
	}
	if len(sealed) < format.Overhead || sealed[0] != format.FieldMark {
		return nil, &KeyError{Op: "open", Table: table.def.Name, Column: column, Err: ErrOpen}
	}
	col, owner, turn := &table.def.Columns[i], r.owner, r.turn
	if col.Level == LevelTenant {
		owner, turn = keyring.TenantOwner, 0
	}
	b := &reader.ads[i]
	if b.turn != r.turn {
		if err := reader.bind(b, col, r.turn, owner, r.row); err != nil {
			return nil, err
		}
	}
	keyVersion := binary.BigEndian.Uint32(sealed[1:format.PrefixSize])
	var gcm cipher.AEAD
	if l := &reader.last; reader.leased && turn != 0 && l.turn == turn && l.keyVersion == keyVersion {
		gcm = *l.gcm
	} else if key, err := reader.key(ctx, turn, owner, keyVersion); err != nil {
		return nil, table.detail(err, column)
	} else if gcm, err = key.Aead(); err != nil {
		return nil, err
	}
	out, err := gcm.Open(dst, nil, sealed[format.PrefixSize:], b.ad)
	if err != nil {
		return nil, &KeyError{Op: "open", Table: table.def.Name, Column: column, KeyVersion: keyVersion, Err: ErrOpen}
	}
	if col.Pad == 0 {
		return out, nil
	}
	value, err := format.Unpad(out[len(dst):])
	if err != nil {
		return nil, &KeyError{Op: "open: padding", Table: table.def.Name, Column: column, KeyVersion: keyVersion, Err: ErrOpen}
	}
	return out[:len(dst)+len(value)], nil
}

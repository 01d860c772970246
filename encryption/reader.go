package encryption

import (
	"context"
	"errors"
)

// Reader opens values of one table for the owners it was made for, row by row
// (Row). Their keys came with one query; a key that is missing is read afresh
// once, and after the lease everything is compared with the key store again. It
// is for one goroutine.
type Reader struct {
	table  *SealedTable
	tenant string
	keys   map[string]*ownerKeys
	lease  grant
	ad     []byte
}

// Reader fetches the keys of all owners with one query. Owners are given as
// they stand in the rows: persons, r:<uuid>, t:. Erased and unknown owners
// are no error here, but where one of their values is opened.
func (t *SealedTable) Reader(ctx context.Context, tenant string, owners ...string) (*Reader, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	for _, owner := range owners {
		if err := checkOwner(owner); err != nil {
			return nil, err
		}
	}
	found, g, err := t.vault.lookup(ctx, tenant, owners, true)
	if err != nil {
		return nil, err
	}
	return &Reader{table: t, tenant: tenant, keys: found, lease: g}, nil
}

// key returns the one key for the owner and key version.
func (r *Reader) key(ctx context.Context, owner string, keyVersion uint32) (*personKey, error) {
	if !r.lease.over(r.table.vault.cfg.Now()) {
		if key := r.keys[owner].key(keyVersion); key != nil {
			return key, key.err
		}
	}
	if err := checkOwner(owner); err != nil {
		return nil, err
	}
	v := r.table.vault
	for range slowAttempts {
		key, g, err := v.openKey(ctx, r.tenant, owner, keyVersion)
		if err != nil {
			return nil, err
		}
		if g.until.After(r.lease.until) {
			r.renew(ctx) // which may take longer than the lease of the key
		}
		if !g.over(v.cfg.Now()) {
			return key, nil
		}
	}
	return nil, errSlow("open", keyVersion)
}

// renew looks every owner up again: from memory, unless the barrier moved.
func (r *Reader) renew(ctx context.Context) {
	owners := make([]string, 0, len(r.keys))
	for owner := range r.keys {
		owners = append(owners, owner)
	}
	if found, g, err := r.table.vault.lookup(ctx, r.tenant, owners, false); err == nil {
		r.keys, r.lease = found, g
	}
}

// detail adds table and column to an error, without changing its sentinel.
func (t *SealedTable) detail(err error, column string) error {
	var e *KeyError
	if !errors.As(err, &e) {
		return err
	}
	with := *e
	with.Table, with.Column = t.def.Name, column
	return &with
}

// Cell is one sealed column of a Record and where its value goes.
type Cell struct {
	Column string  // logical column
	Sealed []byte  // binary or text form; nil is NULL and leaves the targets alone
	Text   *string // receives the value as text, may be nil
	Bytes  *[]byte // receives the value, may be nil
}

// Record is a row that OpenAll can open; implement it on the pointer.
type Record interface {
	// SealedCells returns the owner of the row, its key and its sealed columns.
	SealedCells() (owner, row string, cells []Cell)
}

// OpenAll opens every cell of every row with one key query: 50 people on a
// page cost one query. Rows that do not open (an erased person among them)
// are listed in a *RowsError with the reason of each, and their targets stay
// as they were; all others are open.
func OpenAll[R Record](ctx context.Context, table *SealedTable, tenant string, rows []R) error {
	owners := make([]string, 0, len(rows)+1)
	for _, row := range rows {
		owner, _, _ := row.SealedCells()
		if checkOwner(owner) == nil {
			owners = append(owners, owner)
		}
	}
	reader, err := table.Reader(ctx, tenant, table.withTenant(owners)...)
	if err != nil {
		return err
	}
	failed := map[int]error{}
	for i, row := range rows {
		if err := openRow(ctx, reader, row); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			failed[i] = err
		}
	}
	if len(failed) > 0 {
		return &RowsError{Rows: failed}
	}
	return nil
}

func openRow(ctx context.Context, reader *Reader, row Record) error {
	owner, key, cells := row.SealedCells()
	bound := reader.Row(owner, key)
	opened := make([][]byte, len(cells))
	for i, cell := range cells {
		plaintext, err := bound.Open(ctx, cell.Column, cell.Sealed)
		if err != nil {
			return err
		}
		opened[i] = plaintext
	}
	for i, cell := range cells {
		if cell.Sealed == nil {
			continue
		}
		if cell.Text != nil {
			*cell.Text = string(opened[i])
		}
		if cell.Bytes != nil {
			*cell.Bytes = opened[i]
		}
	}
	return nil
}

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
	leased bool // when the lease was looked at last, in the call that runs

	last lastKey
	ads  []boundAD // by column, made when first needed
	next int       // the column that is likely to come: the one behind the last
	ends []int     // of the values of a row, while it is opened
}

// lastKey is the key that opened the last value: the next one is mostly of the
// same owner and key version.
type lastKey struct {
	owner      string
	keyVersion uint32
	key        **personKey // see ownerKeys.keyRef
}

// boundAD is the associated data of a column. What stands before the owner is the
// same for all rows.
type boundAD struct {
	ad         []byte
	head       int    // the length of what stands before the owner
	owner, row string // of the row whose it is
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

// look looks whether the lease still runs: once a call.
func (r *Reader) look() { r.leased = !r.lease.over(r.table.vault.cfg.Now()) }

// bound returns the associated data of a column in a row.
func (r *Reader) bound(i int, owner, row string) ([]byte, error) {
	if r.ads == nil {
		r.ads = make([]boundAD, len(r.table.def.Columns))
	}
	b := &r.ads[i]
	if b.ad != nil && b.row == row && b.owner == owner {
		return b.ad, nil
	}
	col := &r.table.def.Columns[i]
	if err := r.table.bindable(col, owner, row); err != nil {
		return nil, err
	}
	if b.head == 0 {
		b.ad = appendFieldHead(nil, col.Level, col.Pad != 0, r.tenant, r.table.def.Name, col.Name)
		b.head = len(b.ad)
	}
	b.ad = appendFieldRow(b.ad[:b.head], col.Level, owner, row)
	b.owner, b.row = owner, row
	return b.ad, nil
}

// key returns the one key for the owner and key version, after a look.
func (r *Reader) key(ctx context.Context, owner string, keyVersion uint32) (*personKey, error) {
	if !r.leased {
		r.look() // another cell of the row may have fetched keys anew
	}
	if r.leased {
		if l := &r.last; l.key != nil && l.keyVersion == keyVersion && l.owner == owner {
			return *l.key, nil
		}
		if ref := r.keys[owner].keyRef(keyVersion); ref != nil {
			if (*ref).err == nil {
				r.last = lastKey{owner, keyVersion, ref}
			}
			return *ref, (*ref).err
		}
	}
	r.leased, r.last = false, lastKey{} // what follows takes its time
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
	var room pageRoom
	for i, row := range rows {
		if err := room.open(ctx, reader, row); err != nil {
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

// pageRoom is room for one row after the other.
type pageRoom struct {
	fields []Field
	opened []byte
}

func (p *pageRoom) open(ctx context.Context, reader *Reader, row Record) (err error) {
	owner, key, cells := row.SealedCells()
	p.fields = p.fields[:0]
	for _, cell := range cells {
		p.fields = append(p.fields, Field{Column: cell.Column, Sealed: cell.Sealed})
	}
	opened, err := reader.Row(owner, key).AppendOpenRow(ctx, p.opened[:0], p.fields)
	if err != nil {
		return err
	}
	p.opened = opened
	for i, cell := range cells {
		value := p.fields[i].Value
		if value == nil {
			continue
		}
		if cell.Text != nil {
			*cell.Text = string(value)
		}
		if cell.Bytes != nil {
			*cell.Bytes = append(make([]byte, 0, len(value)), value...)
		}
	}
	return nil
}

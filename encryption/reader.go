package encryption

import (
	"context"
	"crypto/cipher"
	"errors"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// Reader opens values of one table for the owners it was made for, row by row
// (Row). Their keys came with one query; a key that is missing is read afresh
// once, and after the lease everything is compared with the key store again. It
// is for one goroutine.
type Reader struct {
	table  *SealedTable
	tenant string
	keys   map[string]*keyring.Owner
	lease  keyring.Grant
	leased bool // when the lease was looked at last, in the call that runs

	owner, row string // of the last Row
	turn       uint64 // of the last Row: another owner or row is another turn

	last lastKey
	ads  []boundAD // by column
	tail rowAD
	next int   // the column that is likely to come: the one behind the last
	ends []int // of the values of a row, while it is opened
}

// lastKey is the key that opened the last value of a row's owner: the next one is
// mostly of the same key version.
type lastKey struct {
	turn       uint64
	keyVersion uint32
	gcm        *cipher.AEAD // not the cipher itself, see ownerKeys.keyRef
}

// boundAD is the associated data of a column. What stands before the owner is the
// same for all rows.
type boundAD struct {
	turn uint64 // of the row whose it is
	ad   []byte
	head int // the length of what stands before the owner
}

// rowAD is what stands behind the head in the associated data of a row, the same
// for all of its columns that are of one level.
type rowAD struct {
	turn  uint64
	level Level
	ad    []byte
}

// Reader fetches the keys of all owners with one query. Owners are given as
// they stand in the rows: persons, r:<uuid>, t:. Erased and unknown owners
// are no error here, but where one of their values is opened.
func (t *SealedTable) Reader(ctx context.Context, tenant string, owners ...string) (*Reader, error) {
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	for _, owner := range owners {
		if err := keyring.CheckOwner(owner); err != nil {
			return nil, err
		}
	}
	return t.reader(ctx, tenant, owners)
}

// reader is Reader for owners that were checked.
func (t *SealedTable) reader(ctx context.Context, tenant string, owners []string) (*Reader, error) {
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	found, g, err := t.vault.ring.Owners(ctx, tenant, keyring.FoldAll(owners), true)
	if err != nil {
		return nil, err
	}
	return &Reader{table: t, tenant: tenant, keys: found, lease: g, ads: make([]boundAD, len(t.def.Columns))}, nil
}

// look looks whether the lease still runs: once a call.
func (r *Reader) look() { r.leased = !r.lease.Over(r.table.vault.cfg.Now()) }

// bind makes the associated data of a column in a row.
func (r *Reader) bind(b *boundAD, col *Column, turn uint64, owner, row string) error {
	if err := r.table.bindable(col, owner, row); err != nil {
		return err
	}
	if b.head == 0 {
		b.ad = format.AppendFieldHead(nil, byte(col.Level), col.Pad != 0, r.tenant, r.table.def.Name, col.Name)
		b.head = len(b.ad)
	}
	tail := &r.tail
	if tail.turn != turn || tail.level != col.Level {
		tail.ad = format.AppendFieldRow(tail.ad[:0], byte(col.Level), owner, row)
		tail.turn, tail.level = turn, col.Level
	}
	b.ad = append(b.ad[:b.head], tail.ad...)
	b.turn = turn
	return nil
}

// key returns the one key for the owner and key version, after a look. turn is
// that of the owner's row, 0 where the column is not the owner's.
func (r *Reader) key(ctx context.Context, turn uint64, owner string, keyVersion uint32) (*keyring.Key, error) {
	if !r.leased {
		r.look() // another cell of the row may have fetched keys anew
	}
	if r.leased {
		if key := r.keys[owner].Key(keyVersion); key != nil {
			if key.Err == nil && turn != 0 {
				if _, err := key.Aead(); err == nil {
					r.last = lastKey{turn, keyVersion, key.Cipher.Load()}
				}
			}
			return key, key.Err
		}
	}
	r.leased, r.last = false, lastKey{} // what follows takes its time
	if err := keyring.CheckOwner(owner); err != nil {
		return nil, err
	}
	v := r.table.vault
	for range keyring.SlowAttempts {
		key, g, err := v.ring.OpenKey(ctx, r.tenant, owner, keyVersion)
		if err != nil {
			return nil, err
		}
		if g.Until.After(r.lease.Until) {
			r.renew(ctx) // which may take longer than the lease of the key
		}
		if !g.Over(v.cfg.Now()) {
			return key, nil
		}
	}
	return nil, keyring.SlowError("open", keyVersion)
}

// renew looks every owner up again: from memory, unless the barrier moved.
func (r *Reader) renew(ctx context.Context) {
	owners := make([]string, 0, len(r.keys))
	for owner := range r.keys {
		owners = append(owners, owner)
	}
	if found, g, err := r.table.vault.ring.Owners(ctx, r.tenant, owners, false); err == nil {
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
	page := make([]recordCells, len(rows))
	owners := make([]string, 0, len(rows)+1)
	for i, row := range rows {
		p := &page[i]
		p.owner, p.row, p.cells = row.SealedCells()
		if (i == 0 || p.owner != page[i-1].owner) && keyring.CheckOwner(p.owner) == nil {
			owners = append(owners, p.owner)
		}
	}
	reader, err := table.reader(ctx, tenant, table.withTenant(owners))
	if err != nil {
		return err
	}
	failed := map[int]error{}
	var room pageRoom
	for i := range page {
		if err := room.open(ctx, reader, &page[i]); err != nil {
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

// recordCells is what a Record has said.
type recordCells struct {
	owner, row string
	cells      []Cell
}

// pageRoom is room for one row after the other.
type pageRoom struct{ opened []byte }

func (p *pageRoom) open(ctx context.Context, reader *Reader, row *recordCells) error {
	size, texts := 0, false
	for i := range row.cells {
		size += len(row.cells[i].Sealed)
		texts = texts || row.cells[i].Text != nil
	}
	r, opened, err := reader.Row(row.owner, row.row), slices.Grow(p.opened[:0], size), error(nil)
	reader.begin()
	for i := range row.cells {
		if opened, err = r.appendCell(ctx, opened, row.cells[i].Column, row.cells[i].Sealed); err != nil {
			return err
		}
	}
	p.opened = opened
	text := "" // the values of a row lie in one text, of which each is a part
	if texts {
		text = string(opened)
	}
	begin := 0
	for i, end := range reader.ends {
		cell := &row.cells[i]
		if cell.Sealed != nil && cell.Text != nil {
			*cell.Text = text[begin:end]
		}
		if cell.Sealed != nil && cell.Bytes != nil {
			*cell.Bytes = append(make([]byte, 0, end-begin), opened[begin:end]...)
		}
		begin = end
	}
	return nil
}

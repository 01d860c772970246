package encryption

import (
	"context"
	"crypto/cipher"
	"encoding/binary"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/frame"
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

	here   *place  // of the last Row
	places []place // room for the next ones

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
	turn  uint64 // of the row whose it is
	plain uint64 // the same where the column is the owner's and not padded, otherwise 0
	ad    []byte
	head  int // the length of what stands before the owner
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
	return &Reader{table: t, tenant: tenant, keys: found, lease: g, here: &place{}, ads: make([]boundAD, len(t.def.Columns))}, nil
}

// look looks whether the lease still runs: once a call. The key of the last value
// is not remembered beyond.
func (r *Reader) look() {
	if r.leased = !r.lease.Ended(r.table.vault.cfg.Now()); !r.leased {
		r.last = lastKey{}
	}
}

// known returns what opens a cell where all of it is known of the row's other
// cells and of the column's other rows: the cipher and the associated data. nil
// says that the long way is to be gone, which answers the same. It is asked after
// a look, which forgets the last key when the lease is over.
func (r *Reader) known(turn uint64, column string, sealed []byte) (*cipher.AEAD, []byte) {
	i, ok := r.table.position(column, r.next)
	if !ok || len(sealed) < format.Overhead || sealed[0] != format.FieldMark {
		return nil, nil
	}
	b, l := &r.ads[i], &r.last
	if b.plain != turn || l.turn != turn || l.keyVersion != binary.BigEndian.Uint32(sealed[1:format.PrefixSize]) {
		return nil, nil
	}
	r.next = i + 1
	return l.gcm, b.ad
}

// bind makes the associated data of a column in a row.
func (r *Reader) bind(b *boundAD, col *Column, turn uint64, owner, row string) error {
	if err := r.table.bindable(col, owner, row); err != nil {
		return err
	}
	if b.head == 0 {
		size := 1 + frame.Size(format.FieldDomain) + frame.Size(r.tenant) + frame.Size(r.table.def.Name) + frame.Size(col.Name) + frame.Size(owner) + frame.Size(row)
		b.ad = format.AppendFieldHead(make([]byte, 0, size), byte(col.Level), col.Pad != 0, r.tenant, r.table.def.Name, col.Name)
		b.head = len(b.ad)
	}
	tail := &r.tail
	if tail.turn != turn || tail.level != col.Level {
		tail.ad = format.AppendFieldRow(tail.ad[:0], byte(col.Level), owner, row)
		tail.turn, tail.level = turn, col.Level
	}
	b.ad = append(b.ad[:b.head], tail.ad...)
	b.turn, b.plain = turn, 0
	if col.Pad == 0 && col.Level != LevelTenant {
		b.plain = turn
	}
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
	return keyring.Where(err, t.def.Name, column)
}

// RowReader opens values of one row. Who owns the row and what its key is are
// said once, where they are at hand, and not with each column again, where three
// texts beside each other are easily taken for one another. It is for the
// goroutine of its Reader.
type RowReader struct{ at *place }

// place is a row that a Reader stands at. It never changes: whoever holds the
// RowReader of an earlier one goes on reading that. A RowReader is this pointer
// alone, which is handed on in a register.
type place struct {
	reader     *Reader
	owner, row string
	turn       uint64 // another owner or row is another turn; 0 is none
}

// mostPlaces are made at once, so that a row costs no allocation of its own.
const mostPlaces = 32

// Row returns what opens the values of one row: owner as it stands in the row (a
// person, r:<uuid>, t:), row its key, which columns of LevelRow are bound to.
// Columns of LevelTenant belong to the tenant, whoever the owner is. The owner is
// one of those that the Reader was made for.
func (r *Reader) Row(owner, row string) RowReader {
	if h := r.here; h.turn == 0 || h.owner != owner || h.row != row {
		r.moveTo(keyring.Fold(owner), row)
	}
	return RowReader{r.here}
}

// moveTo moves to a row, unless it is the last one in another spelling.
func (r *Reader) moveTo(owner, row string) {
	h := r.here
	if h.turn != 0 && h.owner == owner && h.row == row {
		return
	}
	if len(r.places) == cap(r.places) {
		r.places = make([]place, 0, min(2*cap(r.places)+1, mostPlaces))
	}
	r.places = append(r.places, place{r, owner, row, h.turn + 1})
	r.here = &r.places[len(r.places)-1]
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
	reader := r.at.reader
	reader.look()
	if gcm, ad := reader.known(r.at.turn, column, sealed); gcm != nil {
		if out, err := (*gcm).Open(dst, nil, sealed[format.PrefixSize:], ad); err == nil {
			return out, nil
		}
	}
	return r.appendOpen(ctx, dst, column, sealed)
}

// appendOpen opens one cell after a look at the lease.
func (r RowReader) appendOpen(ctx context.Context, dst []byte, column string, sealed []byte) ([]byte, error) {
	at, reader, table := r.at, r.at.reader, r.at.reader.table
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
	col, owner, turn := &table.def.Columns[i], at.owner, at.turn
	if col.Level == LevelTenant {
		owner, turn = keyring.TenantOwner, 0
	}
	b := &reader.ads[i]
	if b.turn != at.turn {
		if err := reader.bind(b, col, at.turn, owner, at.row); err != nil {
			return nil, err
		}
	}
	keyVersion := binary.BigEndian.Uint32(sealed[1:format.PrefixSize])
	var gcm cipher.AEAD
	if l := &reader.last; turn != 0 && l.turn == turn && l.keyVersion == keyVersion {
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

// Field is one column of a row that is sealed or opened as a whole
// ([Writer.AppendSealRow], [RowReader.AppendOpenRow]).
type Field struct {
	Column string // logical column
	Value  []byte // nil is NULL
	Sealed []byte // nil is NULL; the binary form, or to be opened the text form
}

// AppendOpenRow opens the Sealed of a row into Value. The values are appended to
// dst, and each Value is a part of what is returned. It costs less than one call
// for each column: the lease is looked at once. When one column fails, no Value
// is changed.
func (r RowReader) AppendOpenRow(ctx context.Context, dst []byte, fields []Field) ([]byte, error) {
	size := 0
	for i := range fields {
		size += len(fields[i].Sealed)
	}
	begin := len(dst)
	dst = slices.Grow(dst, size) // it does not move any more: what is opened is shorter
	reader, turn := r.at.reader, r.at.turn
	reader.begin()
	for i := range fields {
		f := &fields[i]
		if gcm, ad := reader.known(turn, f.Column, f.Sealed); gcm != nil {
			if out, err := (*gcm).Open(dst, nil, f.Sealed[format.PrefixSize:], ad); err == nil {
				dst = out
				reader.ends = append(reader.ends, len(dst))
				continue
			}
		}
		var err error
		if dst, err = r.appendCell(ctx, dst, f.Column, f.Sealed); err != nil {
			return nil, err
		}
	}
	ends := reader.ends[:len(fields)]
	for i := range fields {
		f := &fields[i]
		if f.Value = nil; f.Sealed != nil {
			f.Value = dst[begin:ends[i]:ends[i]]
		}
		begin = ends[i]
	}
	return dst, nil
}

// begin begins to open the cells of a row, with one look at the lease.
func (r *Reader) begin() {
	r.look()
	r.ends = r.ends[:0]
}

// appendCell opens one cell of the row that was begun; of NULL only the column is
// looked at.
func (r RowReader) appendCell(ctx context.Context, dst []byte, column string, sealed []byte) ([]byte, error) {
	var err error
	if sealed == nil {
		_, err = r.at.reader.table.column(column)
	} else {
		dst, err = r.appendOpen(ctx, dst, column, sealed)
	}
	r.at.reader.ends = append(r.at.reader.ends, len(dst))
	return dst, err
}

// Erased says whether an owner, as it stands in a row, was erased: a value of that
// owner which stands somewhere in the clear is to be read as little as a sealed
// one. The owner is one of those that the Reader was made for; what names nobody
// was never erased.
func (r *Reader) Erased(ctx context.Context, owner string) (bool, error) {
	owner = keyring.Fold(owner)
	if keyring.CheckOwner(owner) != nil {
		return false, nil
	}
	r.look()
	if _, asked := r.keys[owner]; !asked || !r.leased {
		owners := []string{owner}
		for other := range r.keys {
			owners = append(owners, other)
		}
		found, g, err := r.table.vault.ring.Owners(ctx, r.tenant, owners, false)
		if err != nil {
			return false, err
		}
		for _, one := range owners {
			if _, known := found[one]; !known {
				found[one] = nil // asked for
			}
		}
		r.keys, r.lease, r.last = found, g, lastKey{}
	}
	o := r.keys[owner]
	return o != nil && o.State == keystore.Tombstone, nil
}

package encryption

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/frame"
)

// Writer seals values of one table for one owner. Taking it is the only key
// fetch: do it before the transaction. It seals for at least half a lease and
// at most a lease, and some thousands of values at least, then answers ErrLease:
// take another one. It is for one goroutine.
type Writer struct {
	table  *SealedTable
	tenant string
	owner  string
	row    string
	lease  keyring.Grant
	ads    [][]byte // by column, made when first needed
	next   int      // the column that is likely to come: the one behind the last
	ends   []int    // of the sealed values of a row, while it is sealed

	// Behind two pointers: package fmt prints what one points at for a verb that
	// does not suit it (%s).
	key       **keyring.Key
	indexKeys **tenantIndexes
}

// Writer returns a writer for a person, creating the person's key when there
// is none. Erased persons are ErrErased, merged ones ErrMerged.
func (t *SealedTable) Writer(ctx context.Context, tenant, person string) (*Writer, error) {
	if err := keyring.CheckPerson(person); err != nil {
		return nil, err
	}
	return t.writer(ctx, tenant, person)
}

// RecordWriter returns a writer for a record of several persons; owner comes
// from NewRecordOwner.
func (t *SealedTable) RecordWriter(ctx context.Context, tenant, owner string) (*Writer, error) {
	if err := keyring.CheckRecordOwner(owner); err != nil {
		return nil, err
	}
	return t.writer(ctx, tenant, owner)
}

// TenantWriter returns a writer for the tenant's own data, about nobody. Only
// it seals columns of LevelTenant.
func (t *SealedTable) TenantWriter(ctx context.Context, tenant string) (*Writer, error) {
	return t.writer(ctx, tenant, keyring.TenantOwner)
}

func (t *SealedTable) writer(ctx context.Context, tenant, owner string) (*Writer, error) {
	owner = keyring.Fold(owner)
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	if w := t.warmWriter(tenant, owner); w != nil {
		return w, nil
	}
	declared := t.vault.declared.count.Load()
	// The indexes come first, so that the first key of a tenant finds them there.
	if _, err := t.vault.registered(ctx, tenant); err != nil {
		return nil, err
	}
	found, keyVersion, g, err := t.vault.ring.SealKeys(ctx, tenant, []string{owner})
	if err != nil {
		return nil, err
	}
	k, err := t.vault.ring.Tenant(ctx, tenant) // no older than the key
	if err != nil {
		return nil, err
	}
	if err := t.complete(k.Rows.Indexes); err != nil {
		return nil, err
	}
	ready := &readyTable{declared: declared}
	if len(t.indexes) > 0 {
		if ready.indexes, err = t.tenantIndexes(ctx, tenant); err != nil {
			return nil, err
		}
	}
	k.KeepDerived(t.readyPlace, ready)
	return t.newWriter(tenant, owner, found[owner].KeyRef(keyVersion), ready, g), nil
}

func (t *SealedTable) newWriter(tenant, owner string, key **keyring.Key, ready *readyTable, g keyring.Grant) *Writer {
	return &Writer{table: t, tenant: tenant, owner: owner, lease: g, key: key, indexKeys: &ready.indexes}
}

// Row returns a writer of the same key that is bound to a row: columns of
// LevelRow need it.
func (w *Writer) Row(id string) (*Writer, error) {
	if err := keyring.CheckID("row", id); err != nil {
		return nil, err
	}
	bound := *w
	bound.row, bound.ads, bound.ends = id, nil, nil
	return &bound, nil
}

// Text seals text. The empty text is sealed, not NULL. A failure travels in
// the Sealed and stops the statement that carries it.
func (w *Writer) Text(column, value string) Sealed {
	return w.sealed(column, []byte(value))
}

// Bytes seals bytes; nil becomes NULL.
func (w *Writer) Bytes(column string, value []byte) Sealed {
	if value == nil {
		return Sealed{}
	}
	return w.sealed(column, value)
}

func (w *Writer) sealed(column string, value []byte) Sealed {
	cell, err := w.Seal(column, value)
	if err != nil {
		return Sealed{err: err}
	}
	return Sealed{cell: cell, text: w.table.def.Columns[w.table.columns[column]].Text}
}

// Seal returns the sealed form (binary) of a value.
func (w *Writer) Seal(column string, plaintext []byte) ([]byte, error) {
	return w.AppendSeal(make([]byte, 0, len(plaintext)+format.Overhead), column, plaintext)
}

// AppendSeal appends the sealed form of a value to dst: the hot path, without
// allocation where dst has room and the column is not padded. The bytes are
// those of Tink's AES-256-GCM. Several columns of a row cost less in
// [Writer.AppendSealRow].
func (w *Writer) AppendSeal(dst []byte, column string, plaintext []byte) ([]byte, error) {
	if w.lease.Ended(w.table.vault.cfg.Now()) {
		return nil, w.refuse("seal", column, ErrLease)
	}
	ad := w.known(column, plaintext)
	if ad == nil {
		if plaintext == nil {
			plaintext = []byte{} // sealed, not NULL
		}
		col, bound, err := w.prepare(column, plaintext)
		if err != nil {
			return nil, err
		}
		if ad = bound; col.Pad != 0 {
			plaintext = format.Pad(nil, plaintext, col.Pad)
		}
	}
	key := *w.key
	gcm, err := key.Sealing(1)
	if err != nil {
		return nil, w.undrawn(column, err)
	}
	return key.AppendDrawn(dst, gcm, plaintext, ad), nil
}

func (w *Writer) refuse(op, column string, err error) error {
	return &KeyError{Op: op, Table: w.table.def.Name, Column: column, Err: err}
}

func (w *Writer) undrawn(column string, err error) error {
	if errors.Is(err, keyring.ErrUsedUp) {
		return w.refuse("seal: what is allotted of this key is used up, another Writer has more:", column, ErrLease)
	}
	return err
}

// known returns the associated data of a column where a value can be sealed as it
// is: the column was bound by an earlier one and is not padded. nil says that
// prepare has to be asked.
func (w *Writer) known(column string, value []byte) []byte {
	i, ok := w.table.position(column, w.next)
	if !ok || i >= len(w.ads) || value == nil || len(value) > format.MaxField || w.table.def.Columns[i].Pad != 0 {
		return nil
	}
	w.next = i + 1
	return w.ads[i]
}

// prepare checks whether a value may be sealed in the column, and returns the
// associated data, which it keeps. NULL needs the column only.
func (w *Writer) prepare(column string, value []byte) (*Column, []byte, error) {
	i, ok := w.table.position(column, w.next)
	if !ok {
		return nil, nil, w.table.noSuchColumn(column)
	}
	if len(value) > format.MaxField {
		return nil, nil, w.refuse("seal", column, ErrTooLarge)
	}
	w.next = i + 1
	col := &w.table.def.Columns[i]
	if w.ads == nil {
		w.ads = make([][]byte, len(w.table.def.Columns))
	}
	if w.ads[i] == nil && value != nil {
		if err := w.table.bindable(col, w.owner, w.row); err != nil {
			return nil, nil, err
		}
		w.ads[i] = w.table.ad(nil, col, w.tenant, w.owner, w.row)
	}
	return col, w.ads[i], nil
}

func (t *SealedTable) ad(dst []byte, col *Column, tenant, owner, row string) []byte {
	size := 1 + frame.Size(format.FieldDomain) + frame.Size(tenant) + frame.Size(t.def.Name) + frame.Size(col.Name) + frame.Size(owner) + frame.Size(row)
	return format.AppendFieldAD(slices.Grow(dst, size), byte(col.Level), col.Pad != 0, tenant, t.def.Name, col.Name, owner, row)
}

// bindable holds the rules of the levels.
func (t *SealedTable) bindable(col *Column, owner, row string) error {
	what := ""
	switch {
	case col.Stream:
		what = "the column is a stream: use SealStream"
	case col.Level == LevelTenant && owner != keyring.TenantOwner:
		what = "a column of LevelTenant belongs to the tenant: use TenantWriter"
	case col.Level == LevelRow && row == "":
		what = "a column of LevelRow needs the row"
	default:
		return nil
	}
	return &KeyError{Op: what, Table: t.def.Name, Column: col.Name, Err: ErrDefinition}
}

// NewRecordOwner returns the owner of a new record that several persons
// share: r:<uuid>. Store it in the owner column of the row, and of no other row:
// Redact of one of them would make the others unreadable.
func NewRecordOwner() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("encryption: new record owner: %w", err)
	}
	return keyring.RecordPrefix + id.String(), nil
}

// readyTable is what a Writer of a table needs of a tenant besides a key, found
// in order once for the rows that the tenant has: every index that was declared
// by then is registered, and the table declares all that others search by.
type readyTable struct {
	declared uint64         // indexes that the vault's tables had
	indexes  *tenantIndexes // nil where the table has none
}

// warmWriter answers from memory alone, with one look at the clock, where
// nothing has to be compared, read, created, registered or allotted; nil says
// that the long way is to be gone, which answers the same.
func (t *SealedTable) warmWriter(tenant, owner string) *Writer {
	k, key, g := t.vault.ring.Warm(tenant, owner)
	if key == nil {
		return nil
	}
	ready, _ := k.Derived(t.readyPlace).(*readyTable)
	if ready == nil || ready.declared != t.vault.declared.count.Load() {
		return nil
	}
	return t.newWriter(tenant, owner, key, ready, g)
}

// AppendSealRow seals the Values of a row into Sealed. The sealed forms are
// appended to dst, and each Sealed is a part of what is returned. It costs less
// than one call for each column: the lease is looked at once. When one
// column fails, no Sealed is changed.
func (w *Writer) AppendSealRow(dst []byte, fields []Field) ([]byte, error) {
	if w.lease.Ended(w.table.vault.cfg.Now()) {
		return nil, w.refuse("seal a row of", "", ErrLease)
	}
	size, n, plain := 0, 0, w.plain(fields)
	for i := range fields {
		if value := fields[i].Value; value != nil {
			size += len(value) + format.Overhead
			n++
		}
	}
	key := *w.key
	gcm, err := key.Sealing(n)
	if err != nil {
		return nil, w.undrawn("", err)
	}
	begin := len(dst)
	dst = slices.Grow(dst, size)
	if plain {
		for i := range fields {
			f := &fields[i]
			if f.Value == nil {
				f.Sealed = nil
				continue
			}
			dst = key.AppendDrawn(dst, gcm, f.Value, w.ads[i])
			f.Sealed = dst[begin:len(dst):len(dst)]
			begin = len(dst)
		}
		return dst, nil
	}
	ends := w.ends[:0]
	for i := range fields {
		f := &fields[i]
		col, ad, err := w.prepare(f.Column, f.Value)
		if err != nil {
			return nil, err // and what was drawn is lost: too many are counted, never too few
		}
		if f.Value != nil {
			value := f.Value
			if col.Pad != 0 {
				value = format.Pad(nil, value, col.Pad)
			}
			dst = key.AppendDrawn(dst, gcm, value, ad)
		}
		ends = append(ends, len(dst))
	}
	w.ends = ends
	for i, end := range ends {
		f := &fields[i]
		if f.Sealed = nil; f.Value != nil {
			f.Sealed = dst[begin:end:end]
		}
		begin = end
	}
	return dst, nil
}

// plain reports whether the fields are the first columns as they are declared,
// each bound by an earlier row and not padded, so that nothing is left to fail.
func (w *Writer) plain(fields []Field) bool {
	columns := w.table.def.Columns
	if len(fields) > len(w.ads) || len(fields) > len(columns) {
		return false
	}
	for i := range fields {
		if f := &fields[i]; columns[i].Name != f.Column || columns[i].Pad != 0 || w.ads[i] == nil || len(f.Value) > format.MaxField {
			return false
		}
	}
	return true
}

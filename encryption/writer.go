package encryption

import (
	"context"
	"errors"
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
	lease  grant
	ads    [][]byte // by column, made when first needed

	// Behind funcs: package fmt prints what a pointer points at for a verb
	// that does not suit it (%s).
	key       func() *personKey
	indexKeys func() *tenantIndexes
}

// Writer returns a writer for a person, creating the person's key when there
// is none. Erased persons are ErrErased, merged ones ErrMerged.
func (t *SealedTable) Writer(ctx context.Context, tenant, person string) (*Writer, error) {
	if err := checkPerson(person); err != nil {
		return nil, err
	}
	return t.writer(ctx, tenant, person)
}

// RecordWriter returns a writer for a record of several persons; owner comes
// from NewRecordOwner.
func (t *SealedTable) RecordWriter(ctx context.Context, tenant, owner string) (*Writer, error) {
	if err := checkRecordOwner(owner); err != nil {
		return nil, err
	}
	return t.writer(ctx, tenant, owner)
}

// TenantWriter returns a writer for the tenant's own data, about nobody. Only
// it seals columns of LevelTenant.
func (t *SealedTable) TenantWriter(ctx context.Context, tenant string) (*Writer, error) {
	return t.writer(ctx, tenant, tenantOwner)
}

func (t *SealedTable) writer(ctx context.Context, tenant, owner string) (*Writer, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	// The indexes come first, so that the first key of a tenant finds them there.
	if _, err := t.vault.registered(ctx, tenant); err != nil {
		return nil, err
	}
	found, keyVersion, g, err := t.vault.sealKeys(ctx, tenant, []string{owner})
	if err != nil {
		return nil, err
	}
	k, err := t.vault.tenant(ctx, tenant) // no older than the key
	if err != nil {
		return nil, err
	}
	if err := t.complete(k.rows.Indexes); err != nil {
		return nil, err
	}
	key := found[owner].key(keyVersion)
	w := &Writer{
		table: t, tenant: tenant, owner: owner, key: func() *personKey { return key },
		lease: g, ads: make([][]byte, len(t.def.Columns)),
	}
	if len(t.indexes) > 0 {
		keys, err := t.tenantIndexes(ctx, tenant)
		if err != nil {
			return nil, err
		}
		w.indexKeys = func() *tenantIndexes { return keys }
	}
	return w, nil
}

// Row returns a writer of the same key that is bound to a row: columns of
// LevelRow need it.
func (w *Writer) Row(id string) (*Writer, error) {
	if err := checkID("row", id); err != nil {
		return nil, err
	}
	bound := *w
	bound.row = id
	bound.ads = make([][]byte, len(w.ads))
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
	return w.AppendSeal(make([]byte, 0, len(plaintext)+overhead), column, plaintext)
}

// AppendSeal appends the sealed form of a value to dst: the hot path, without
// allocation where dst has room and the column is not padded. The bytes are
// those of Tink's AES-256-GCM.
func (w *Writer) AppendSeal(dst []byte, column string, plaintext []byte) ([]byte, error) {
	i, ok := w.table.columns[column]
	if !ok {
		return nil, w.table.undeclaredColumn(column)
	}
	if w.lease.over(w.table.vault.cfg.Now()) {
		return nil, &KeyError{Op: "seal", Table: w.table.def.Name, Column: column, Err: ErrLease}
	}
	if len(plaintext) > maxField {
		return nil, &KeyError{Op: "seal", Table: w.table.def.Name, Column: column, Err: ErrTooLarge}
	}
	ad := w.ads[i]
	if ad == nil {
		var err error
		if ad, err = w.prepare(i); err != nil {
			return nil, err
		}
	}
	if p := w.table.def.Columns[i].Pad; p != 0 {
		plaintext = pad(nil, plaintext, p)
	}
	out, err := w.key().appendSeal(dst, plaintext, ad)
	if errors.Is(err, errUsedUp) {
		return nil, &KeyError{Op: "seal: what is allotted of this key is used up, another Writer has more:", Table: w.table.def.Name, Column: column, Err: ErrLease}
	}
	return out, err
}

// prepare checks once that the column may be sealed so, and keeps its
// associated data.
func (w *Writer) prepare(i int) ([]byte, error) {
	col := &w.table.def.Columns[i]
	if err := w.table.bindable(col, w.owner, w.row); err != nil {
		return nil, err
	}
	w.ads[i] = w.table.ad(nil, col, w.tenant, w.owner, w.row)
	return w.ads[i], nil
}

func (t *SealedTable) ad(dst []byte, col *Column, tenant, owner, row string) []byte {
	return appendFieldAD(dst, col.Level, col.Pad != 0, tenant, t.def.Name, col.Name, owner, row)
}

// bindable holds the rules of the levels.
func (t *SealedTable) bindable(col *Column, owner, row string) error {
	what := ""
	switch {
	case col.Stream:
		what = "the column is a stream: use SealStream"
	case col.Level == LevelTenant && owner != tenantOwner:
		what = "a column of LevelTenant belongs to the tenant: use TenantWriter"
	case col.Level == LevelRow && row == "":
		what = "a column of LevelRow needs the row"
	default:
		return nil
	}
	return &KeyError{Op: what, Table: t.def.Name, Column: col.Name, Err: ErrDefinition}
}

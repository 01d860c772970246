package encryption

import (
	"context"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/format"
)

// Field is one column of a row that is sealed or opened as a whole
// ([Writer.AppendSealRow], [RowReader.AppendOpenRow]).
type Field struct {
	Column string // logical column
	Value  []byte // nil is NULL
	Sealed []byte // nil is NULL; the binary form, or to be opened the text form
}

// AppendSealRow seals the Values of a row into Sealed. The sealed forms are
// appended to dst, and each Sealed is a part of what is returned. It costs less
// than one call for each column: the lease is looked at once. When one
// column fails, no Sealed is changed.
func (w *Writer) AppendSealRow(dst []byte, fields []Field) ([]byte, error) {
	if w.lease.Over(w.table.vault.cfg.Now()) {
		return nil, w.refuse("seal a row of", "", ErrLease)
	}
	size, n := 0, 0
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
	dst, w.ends = slices.Grow(dst, size), w.ends[:0]
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
		w.ends = append(w.ends, len(dst))
	}
	for i, end := range w.ends {
		f := &fields[i]
		if f.Sealed = nil; f.Value != nil {
			f.Sealed = dst[begin:end:end]
		}
		begin = end
	}
	return dst, nil
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
	r.reader.begin()
	for i := range fields {
		var err error
		if dst, err = r.appendCell(ctx, dst, fields[i].Column, fields[i].Sealed); err != nil {
			return nil, err
		}
	}
	ends := r.reader.ends
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
		_, err = r.reader.table.column(column)
	} else {
		dst, err = r.appendOpen(ctx, dst, column, sealed)
	}
	r.reader.ends = append(r.reader.ends, len(dst))
	return dst, err
}

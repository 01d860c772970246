package encryption

import (
	"context"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

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

// pageRoom is room for one row after the other. No RowReader of it is ever handed
// out, so that all rows may stand in one place.
type pageRoom struct {
	opened []byte
	at     place
}

func (p *pageRoom) open(ctx context.Context, reader *Reader, row *recordCells) error {
	size, texts := 0, false
	for i := range row.cells {
		size += len(row.cells[i].Sealed)
		texts = texts || row.cells[i].Text != nil
	}
	p.at = place{reader, keyring.Fold(row.owner), row.row, p.at.turn + 1}
	r, opened, err := RowReader{&p.at}, slices.Grow(p.opened[:0], size), error(nil)
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

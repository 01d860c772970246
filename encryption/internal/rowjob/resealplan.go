package rowjob

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/encryption/streams"
)

// rowPlan is what is to become of one row.
type rowPlan struct {
	row        dataRow
	changes    []cellChange
	cells      int    // sealed cells among the changes
	into       string // whom the row goes over to, "" where it stays
	erased     int
	unsealed   int
	unreadable []jobs.Unreadable
	lost       bool          // someone else changed the row meanwhile
	refused    *jobs.Refused // the database did not let it be changed
}

// work is a cell to be resealed.
type work struct {
	column   int
	from, to string // owners
}

// plan opens and seals anew, outside of any transaction, what is not under the
// active key version, and all cells of rows whose person was merged into another.
func (s *storedTable) plan(ctx context.Context, tenant string, rows []dataRow, streams bool) ([]rowPlan, error) {
	k, err := s.Vault.Ring.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	found, _, err := s.Vault.Ring.Owners(ctx, tenant, s.ownersOf(rows), true)
	if err != nil {
		return nil, err
	}
	into, err := s.Vault.Ring.Survivors(ctx, tenant, found)
	if err != nil {
		return nil, err
	}
	plans := make([]rowPlan, len(rows))
	todo := make([][]work, len(rows))
	var targets []string
	for i, row := range rows {
		plans[i].row = row
		todo[i] = s.choose(&plans[i], k.Active, found, into, streams)
		for _, w := range todo[i] {
			targets = append(targets, w.to)
		}
	}
	if len(targets) == 0 {
		return plans, nil
	}
	keys, keyVersion, _, err := s.Vault.Ring.SealKeys(ctx, tenant, targets)
	if err != nil && (keys == nil || !AboutOneValue(err)) {
		return nil, err
	}
	var b buffers
	for i := range plans {
		if err := s.reseal(ctx, tenant, &plans[i], todo[i], keys, keyVersion, &b); err != nil {
			return nil, err
		}
	}
	return plans, nil
}

// ownersOf lists whose keys the cells need. What is no owner is left out: a key
// store need not take it.
func (s *storedTable) ownersOf(rows []dataRow) []string {
	seen := map[string]bool{}
	var all []string
	for _, row := range rows {
		for i := range s.Columns {
			owner := s.ownerOf(&s.Columns[i], row.owner)
			if row.cells[i].sealed == nil || seen[owner] || keyring.CheckOwner(owner) != nil {
				continue
			}
			seen[owner] = true
			all = append(all, owner)
		}
	}
	return all
}

// choose lists the cells of a row that are to be resealed, and counts the rest.
func (s *storedTable) choose(p *rowPlan, active uint32, found map[string]*keyring.Owner, into map[string]string, streams bool) (todo []work) {
	for c := range s.Columns {
		cell := p.row.cells[c]
		if cell.err != nil {
			if _, err := sealedvalue.KeyVersion(storedBytes(cell.stored)); err == nil {
				p.unreadable = append(p.unreadable, s.unreadable(p.row, c, &keyring.KeyError{Op: "open", Err: keyring.ErrOpen}))
			} else {
				p.unsealed++
			}
			continue
		}
		if cell.sealed == nil {
			continue
		}
		from := s.ownerOf(&s.Columns[c], p.row.owner)
		keyVersion, _ := sealedvalue.KeyVersion(cell.sealed)
		to, merged := into[from]
		if !merged {
			to = from
		}
		why := s.rowStays(streams)
		stays := merged && why != ""
		switch o := found[from]; {
		case keyVersion == active && (!merged || stays):
		case o != nil && o.State == keystore.Tombstone:
			p.erased++
		case stays:
			p.unreadable = append(p.unreadable, s.unreadable(p.row, c, &keyring.KeyError{Op: why, Err: keyring.ErrMerged}))
		default:
			todo = append(todo, work{c, from, to})
		}
	}
	return todo
}

// rowStays says why no row can go over to another owner, "" where it can.
func (s *storedTable) rowStays(streams bool) string {
	switch {
	case s.owner == nil:
		return "the table has no owner column:"
	case s.owner.Generated():
		return "the database makes the owner column itself: write the row anew for whom the person was merged into:"
	case s.hasStreams() && !streams:
		return "the row has streams (ResealOptions.Streams):"
	}
	return ""
}

func (t *Table) hasStreams() bool {
	return slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Stream })
}

// reseal makes the changes of a row. Where it is to go over to another owner and
// one of its cells does not open, it stays, for that cell may open again.
func (s *storedTable) reseal(ctx context.Context, tenant string, p *rowPlan, todo []work, keys map[string]*keyring.Owner, keyVersion uint32, b *buffers) error {
	var moved []cellChange
	p.changes = make([]cellChange, 0, len(todo))
	into, stays := "", len(p.unreadable)+p.unsealed > 0
	for _, w := range todo {
		change, err := s.resealCell(ctx, tenant, p.row, w, keys[w.to], keyVersion, b)
		switch {
		case err != nil && !AboutOneValue(err):
			return err
		case err != nil && errors.Is(err, keyring.ErrErased):
			p.erased++
		case err != nil:
			p.unreadable = append(p.unreadable, s.unreadable(p.row, w.column, err))
			stays = stays || w.from != w.to
		case w.from != w.to:
			into = w.to
			moved = append(moved, change)
		default:
			p.changes = append(p.changes, change)
		}
	}
	if len(moved) > 0 && !stays {
		p.into = into
		p.changes = append(append(p.changes, moved...), cellChange{column: *s.owner, old: p.row.stored, new: keyring.SpeltLike(into, ownerText(p.row.stored))})
		p.cells = len(p.changes) - 1
		for i, col := range s.Columns {
			if !col.Stream && col.Level != format.LevelTenant && !slices.ContainsFunc(p.changes, func(c cellChange) bool { return c.column.Name == s.cells[i].Name }) {
				p.changes = append(p.changes, cellChange{column: s.cells[i], old: p.row.cells[i].stored, keep: true})
			}
		}
		return nil
	}
	p.cells = len(p.changes)
	return nil
}

func (s *storedTable) resealCell(ctx context.Context, tenant string, row dataRow, w work, to *keyring.Owner, keyVersion uint32, b *buffers) (cellChange, error) {
	col, cell := &s.Columns[w.column], row.cells[w.column]
	padded, err := s.openCell(ctx, tenant, row.id, col, w.from, cell.sealed, b)
	if err != nil {
		return cellChange{}, err
	}
	if err := to.Sealable(); err != nil {
		return cellChange{}, err
	}
	key := to.Key(keyVersion)
	if key == nil {
		return cellChange{}, &keyring.KeyError{Op: "seal", KeyVersion: keyVersion, Err: keyring.ErrNoKey}
	}
	if key.Err != nil {
		return cellChange{}, key.Err
	}
	sealed, err := s.Vault.Ring.SealWith(ctx, tenant, w.to, key, padded, b.as(col, tenant, s.Name, w.to, row.id), true)
	if err != nil {
		return cellChange{}, err
	}
	stored, err := col.storedForm(sealed)
	if err != nil {
		return cellChange{}, err
	}
	return cellChange{column: s.cells[w.column], old: cell.stored, new: stored}, nil
}

// buffers are used again for each cell: what one was opened into is sealed before
// the next one.
type buffers struct{ opened, ad []byte }

func (b *buffers) as(col *Column, tenant, table, owner, row string) []byte {
	b.ad = format.AppendFieldAD(b.ad[:0], col.Level, col.Pad != 0, tenant, table, col.Name, owner, row)
	return b.ad
}

// openCell opens a cell into a buffer and leaves its padding on.
func (t *Table) openCell(ctx context.Context, tenant, id string, col *Column, owner string, sealed []byte, b *buffers) (padded []byte, err error) {
	keyVersion, err := sealedvalue.KeyVersion(sealed)
	if err != nil || len(sealed) < format.Overhead || sealed[0] != format.FieldMark {
		return nil, &keyring.KeyError{Op: "open", Err: keyring.ErrOpen}
	}
	if err := keyring.CheckOwner(owner); err != nil {
		return nil, &keyring.KeyError{Op: "owner column", Err: err}
	}
	key, _, err := t.Vault.Ring.OpenKey(ctx, tenant, owner, keyVersion)
	if err != nil {
		return nil, err
	}
	padded, err = key.AppendOpen(b.opened[:0], sealed, b.as(col, tenant, t.Name, owner, id))
	if err != nil {
		return nil, &keyring.KeyError{Op: "open", KeyVersion: keyVersion, Err: keyring.ErrOpen}
	}
	b.opened = padded
	return padded, nil
}

// openValue is openCell without the padding.
func (t *Table) openValue(ctx context.Context, tenant, id string, col *Column, owner string, sealed []byte) ([]byte, error) {
	value, err := t.openCell(ctx, tenant, id, col, owner, sealed, &buffers{})
	if err != nil || col.Pad == 0 {
		return value, err
	}
	if value, err = format.Unpad(value); err != nil {
		return nil, &keyring.KeyError{Op: "open: padding", Err: keyring.ErrOpen}
	}
	return value, nil
}

// moveStreams reseals the streams of rows that go over to another owner.
func (s *storedTable) moveStreams(ctx context.Context, tenant string, plans []rowPlan, move func(ctx context.Context, from, to streams.Ref) error) error {
	for i := range plans {
		if plans[i].into == "" {
			continue
		}
		if err := s.resealStreams(ctx, tenant, plans[i].row, plans[i].into, move); err != nil {
			return err
		}
	}
	return nil
}

func (s *storedTable) resealStreams(ctx context.Context, tenant string, row dataRow, owner string, move func(ctx context.Context, from, to streams.Ref) error) error {
	for _, col := range s.Columns {
		if !col.Stream {
			continue
		}
		from := streams.Ref{Tenant: tenant, Owner: row.owner, Column: col.Name, Row: row.id}
		if s.owner != nil {
			from.Owner = ownerText(row.stored) // as the row has it: files may be named so
		}
		to := from
		to.Owner = keyring.SpeltLike(owner, from.Owner)
		if err := move(ctx, from, to); err != nil {
			return fmt.Errorf("encryption: streams of %s.%s: %w", s.Name, col.Name, err)
		}
	}
	return nil
}

package gormfield

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/crmguard/crmguard/encryption"
)

// sealing holds the Writers of one statement. They are taken before it is built,
// so that sealing needs no connection.
type sealing struct {
	ctx     context.Context
	plugin  *Plugin
	only    *sql.DB // whose only connection the statement holds
	writers map[writerOf]*encryption.Writer
}

type writerOf struct {
	table         *sealedTable
	tenant, owner string
}

// binding is what the sealed values of a row are bound to.
type binding struct{ tenant, owner, row string }

func (p *Plugin) sealing(stmt *gorm.Statement) *sealing {
	return &sealing{ctx: stmt.Context, plugin: p, only: held(stmt), writers: map[writerOf]*encryption.Writer{}}
}

// tenantOwner owns what belongs to the tenant itself.
const tenantOwner = "t:"

func (s *sealing) writer(of writerOf, fresh bool) (*encryption.Writer, error) {
	if w := s.writers[of]; w != nil && !fresh {
		return w, nil
	}
	var w *encryption.Writer
	err := s.plugin.fetch(s.ctx, s.only, func(ctx context.Context) (err error) {
		switch {
		case of.owner == tenantOwner:
			w, err = of.table.table.TenantWriter(ctx, of.tenant)
		case strings.HasPrefix(of.owner, "r:"):
			w, err = of.table.table.RecordWriter(ctx, of.tenant, of.owner)
		default:
			w, err = of.table.table.Writer(ctx, of.tenant, of.owner)
		}
		return err
	})
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && s.ctx.Err() == nil {
			return nil, of.table.fail("", "no key came in time; does the key store wait for the connection of this transaction? call Ensure before it", err)
		}
		return nil, of.table.fail("", "key", err)
	}
	s.writers[of] = w
	return w, nil
}

// take fetches the Writers that the columns of a row need.
func (s *sealing) take(t *sealedTable, b binding, columns []string) error {
	for _, name := range columns {
		if _, err := s.writer(of(t, t.columns[name], b), false); err != nil {
			return err
		}
	}
	return nil
}

func of(t *sealedTable, col *encryption.Column, b binding) writerOf {
	if col.Level == encryption.LevelTenant {
		b.owner = tenantOwner
	}
	return writerOf{table: t, tenant: b.tenant, owner: b.owner}
}

// seal seals a value and makes its index values, by index column.
func (s *sealing) seal(t *sealedTable, name string, b binding, plain []byte, null bool) (encryption.Sealed, map[string]encryption.IndexValue, error) {
	col := t.columns[name]
	indexes := map[string]encryption.IndexValue{}
	for index, source := range t.indexes {
		if source == col {
			indexes[index] = encryption.IndexValue{}
		}
	}
	if null {
		return encryption.Sealed{}, indexes, nil
	}
	if plain == nil {
		plain = []byte{}
	}
	for attempt := 0; ; attempt++ {
		w, err := s.writer(of(t, col, b), attempt > 0)
		if err != nil {
			return encryption.Sealed{}, nil, err
		}
		if col.Level == encryption.LevelRow {
			if w, err = w.Row(b.row); err != nil {
				return encryption.Sealed{}, nil, t.fail(name, "row", err)
			}
		}
		sealed := w.Bytes(col.Name, plain)
		if errors.Is(sealed.Err(), encryption.ErrLease) && attempt == 0 {
			continue // the Writer is older than its lease
		}
		if sealed.Err() != nil {
			return encryption.Sealed{}, nil, t.fail(name, "seal", sealed.Err())
		}
		for index := range indexes {
			x := w.Index(t.indexColumn(col, index), string(plain))
			if x.Err() != nil {
				return encryption.Sealed{}, nil, t.fail(index, "index", x.Err())
			}
			indexes[index] = x
		}
		return sealed, indexes, nil
	}
}

// indexColumn is the name of an index column as the definition spells it.
func (t *sealedTable) indexColumn(col *encryption.Column, folded string) string {
	if col.Find != "" && bare(col.SQL)+"_idx" == folded {
		return col.SQL + "_idx"
	}
	for _, index := range col.Index {
		if bare(index.Column) == folded {
			return index.Column
		}
	}
	return folded
}

// bind makes a binding of what value finds for a column, nil where there is
// nothing. Only what the columns need is asked for.
func (p *Plugin) bind(ctx context.Context, t *sealedTable, columns []string, value func(column string) any) (binding, error) {
	var b binding
	var err error
	if t.tenant == "" {
		if b.tenant, err = p.config.tenant(ctx); err != nil {
			return b, t.fail("", "Config.Tenant", err)
		}
	} else if b.tenant, err = idText(value(t.tenant)); err != nil || b.tenant == "" {
		return b, t.fail(t.tenant, "the tenant is missing", errors.Join(ErrOwner, err))
	}
	owner, row := false, false
	for _, name := range columns {
		owner = owner || t.columns[name].Level != encryption.LevelTenant
		row = row || t.columns[name].Level == encryption.LevelRow
	}
	if owner {
		if b.owner, err = idText(value(t.owner)); err != nil || b.owner == "" {
			says := "the owner is missing: set it in the row, or load it first"
			if slices.Contains(t.keys, t.owner) {
				says = "the owner is the id of the row, which is not drawn for you: draw it before (SELECT nextval(…), a UUID) and set it, or load the row first"
			}
			return b, t.fail(t.owner, says, errors.Join(ErrOwner, err))
		}
	}
	if row {
		keys := make([]any, len(t.keys))
		for i, key := range t.keys {
			keys[i] = value(key)
		}
		if b.row, err = idText(keys...); err != nil || b.row == "" {
			return b, t.fail(t.keys[0], "the id must be known before the value is sealed: set it, or give Config.IDs", errors.Join(ErrOwner, err))
		}
	}
	return b, nil
}

package rowjob

import (
	"context"
	"database/sql"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// ClearRows does what SealedTable.ClearRows promises.
func (t *Table) ClearRows(db *sql.DB) func(ctx context.Context, tenant, person string) error {
	return func(ctx context.Context, tenant, person string) error {
		if err := keyring.CheckTenant(tenant); err != nil {
			return err
		}
		if err := keyring.CheckNamed(person); err != nil {
			return err
		}
		s, err := t.stored(ctx, db)
		if err != nil {
			return err
		}
		var columns []string
		for i, col := range t.Columns {
			if !col.Stream && col.Level != format.LevelTenant {
				columns = append(columns, s.cells[i].Name)
			}
		}
		for i, index := range t.Indexes {
			if t.Columns[index.Of].Level != format.LevelTenant {
				columns = append(columns, s.indexes[i].Name)
			}
		}
		if t.Shared || len(columns) == 0 {
			return nil
		}
		if err := s.spelt(ctx, *s.owner, keyring.Fold(person)); err != nil {
			return err
		}
		if s.tenant != nil {
			if err := s.spelt(ctx, *s.tenant, tenant); err != nil {
				return err
			}
		}
		where, args := s.ofTenant(tenant)
		owner, more := s.ownedBy(person)
		err = s.clear(ctx, columns, where+` AND `+owner, append(args, more...))
		if isRefusal(err) {
			return s.clearEach(ctx, db, tenant, columns, owner, more)
		}
		return err
	}
}

// ownedBy is the condition that a row belongs to a person, in each spelling that a
// column of text may hold.
func (s *storedTable) ownedBy(person string) (where string, args []any) {
	var each []string
	for _, spelling := range keyring.Spellings(person) {
		same, more := s.holds(*s.owner, spelling)
		each, args = append(each, same), append(args, more...)
	}
	return "(" + strings.Join(each, " OR ") + ")", args
}

package encryption

import (
	"context"
	"database/sql"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// ClearRows returns an eraser for the table: every sealed and index column of
// the person's rows becomes NULL. Erase makes the sealed bytes unreadable;
// this takes the index values away too, which the person's key does not
// protect. Declare the columns nullable, or delete the rows instead. Rows of
// those who were merged with the person are those of other ids (Vault.Aliases).
// A UUID is found in small letters, in capital ones, and as it is named.
//
// Where the database refuses to change some of the rows, all others are cleared,
// and the answer is a *RefusedError with those that are left.
func (t *SealedTable) ClearRows(db *sql.DB) func(ctx context.Context, tenant, person string) error {
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
		for i, col := range t.def.Columns {
			if !col.Stream && col.Level != LevelTenant {
				columns = append(columns, s.cells[i].Name)
			}
		}
		for i, index := range t.indexes {
			if t.def.Columns[index.column].Level != LevelTenant {
				columns = append(columns, s.indexes[i].Name)
			}
		}
		if t.def.Shared || len(columns) == 0 {
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

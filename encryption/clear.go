package encryption

import (
	"context"
	"database/sql"
	"strings"
)

// ClearRows returns an eraser for the table: every sealed and index column of
// the person's rows becomes NULL. Erase makes the sealed bytes unreadable;
// this takes the index values away too, which the person's key does not
// protect. Declare the columns nullable, or delete the rows instead. Rows of
// those who were merged with the person are those of other ids (Vault.Aliases).
func (t *SealedTable) ClearRows(db *sql.DB) func(ctx context.Context, tenant, person string) error {
	return func(ctx context.Context, tenant, person string) error {
		if err := checkTenant(tenant); err != nil {
			return err
		}
		if err := checkNamed(person); err != nil {
			return err
		}
		s, err := t.stored(ctx, db)
		if err != nil {
			return err
		}
		var set []string
		for i, col := range t.def.Columns {
			if !col.Stream && col.Level != LevelTenant {
				set = append(set, s.cells[i].Name+" = NULL")
			}
		}
		for i, index := range t.indexes {
			if t.def.Columns[index.column].Level != LevelTenant {
				set = append(set, s.indexes[i].Name+" = NULL")
			}
		}
		if t.def.Shared || len(set) == 0 {
			return nil
		}
		if err := s.spelt(ctx, *s.owner, person); err != nil {
			return err
		}
		if s.tenant != nil {
			if err := s.spelt(ctx, *s.tenant, tenant); err != nil {
				return err
			}
		}
		where, args := s.ofTenant(tenant)
		owner, more := s.holds(*s.owner, person)
		return s.write(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, s.db.Bind(`UPDATE `+s.sql+` SET `+strings.Join(set, ", ")+` WHERE `+where+` AND `+owner), append(args, more...)...)
			if err != nil {
				return s.failed("clear rows of", err)
			}
			return nil
		})
	}
}

package sqlkeys

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// whole refuses tables of which this role is shown some rows only. Later on each
// transaction fails by itself where that has come about ([sqldb.DB.Whole]).
func (s *Store) whole(ctx context.Context) error {
	if s.db.Kind != sqldb.Postgres {
		return nil
	}
	err := s.db.Snapshot(ctx, func(tx *sql.Tx) error {
		names := []string{"crmguard_encryption_store"}
		for _, kind := range kinds() {
			tab, _ := tableOf(kind)
			names = append(names, tab.name)
		}
		for _, name := range names {
			// A table of which nothing is asked is looked at all the same.
			if _, err := tx.ExecContext(ctx, `SELECT 1 FROM `+name+` WHERE false`); err != nil {
				return sqldb.Safe(err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sqlkeys: read the tables: %w", err)
	}
	return nil
}

// hiding is the part of a question outside of transactions that answers with a row
// without anything in it where policies hide rows of the tables that it reads: they
// are locked by the question, so the answer is about what it read.
const hiding = ` UNION ALL SELECT '', NULL, NULL, NULL, NULL, NULL, NULL WHERE row_security_active(to_regclass('crmguard_encryption_key'))
	OR row_security_active(to_regclass('crmguard_encryption_owner')) OR row_security_active(to_regclass('crmguard_encryption_alias'))`

// hidden is the error of whoever is answered with that row.
func hidden() error {
	return fmt.Errorf("%w: use one with BYPASSRLS, or the owner of the tables", ErrRowSecurity)
}

package adoption

import (
	"context"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// versioned: a table WITH SYSTEM VERSIONING of MariaDB keeps what its rows were, and
// no statement of a job reaches that.
func (m *moving) versioned(ctx context.Context) ([]Obstacle, error) {
	if m.db.Kind != sqldb.MariaDB || m.ahead && m.to == SealedOnly && m.row.stage == Plain { // which says that before
		return nil, nil
	}
	schema, table := m.parts()
	found, err := m.texts(ctx, `SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND TABLE_TYPE = 'SYSTEM VERSIONED'`, schema, table)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return no("the table is WITH SYSTEM VERSIONING: its history keeps every value in the clear, and those of erased persons, where no job reaches them; take the versioning and with it the history away, and add it again when Clear was clean, if it is wanted for sealed values", 0, `ALTER TABLE `+m.sql+` DROP SYSTEM VERSIONING`), nil
}

package adoption

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// whole refuses a table of which this user is shown some rows only. A policy may come
// into force while a job goes over the table, which would then take the end of what it
// is shown for the end of the table, and a row that is hidden for one that was deleted.
// So it is asked behind each page, before its place is recorded, and behind the last.
func (l *live) whole(ctx context.Context, q sqldb.Querier) error {
	hidden, err := l.db.Hides(ctx, q, l.def.SQL)
	if err != nil {
		return l.wrong(err)
	}
	if hidden {
		return l.hides()
	}
	return nil
}

func (l *live) hides() error {
	return fmt.Errorf("%w: table %s: row security hides rows from this user, and what is not seen is neither changed nor counted: use one with BYPASSRLS, or the owner of the table", ErrDefinition, l.def.Name)
}

// counting is what counts rows and says with the same statement, which holds its table,
// whether some of them are hidden.
func (l *live) counting() (columns string, args []any) {
	if l.db.Kind != sqldb.Postgres {
		return `COUNT(*), 0 = 1`, nil
	}
	return `COUNT(*), COALESCE(row_security_active(to_regclass(?)), false)`, []any{l.sql}
}

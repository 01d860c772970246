package sqltrail

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// ErrSession says that connections to MariaDB or MySQL have a setting under which
// answers lack rows, or show what is not committed: the text names it. It may come of
// the data source name, of the server's configuration or of init_connect; a trail can
// have a pool of its own.
var ErrSession = errors.New("sqltrail: a setting of the session makes answers wrong")

// checkSession looks at the settings of a session that an application may have set
// for reasons of its own. Each connection has them from one place, as secure_delete on
// SQLite.
func checkSession(ctx context.Context, db *sqldb.DB) error {
	isolation := "@@tx_isolation"
	if db.Kind == sqldb.MySQL {
		isolation = "@@transaction_isolation"
	}
	var limit uint64
	var autocommit int
	var chain, mode, level string
	err := db.QueryRowContext(ctx, `SELECT @@sql_select_limit, @@autocommit, @@completion_type, @@sql_mode, `+isolation).Scan(&limit, &autocommit, &chain, &mode, &level)
	if err != nil {
		return fmt.Errorf("sqltrail: read the settings of the session: %w", sqldb.Safe(err))
	}
	for _, one := range []struct {
		wrong bool
		what  string
	}{
		{limit != math.MaxUint64, "sql_select_limit cuts answers: leave it at DEFAULT"},
		{autocommit != 1, "autocommit is off: an answer is that of a transaction which began long ago"},
		{chain != "NO_CHAIN", "completion_type begins another transaction behind each, or cuts the connection"},
		{strings.Contains(","+mode+",", ",EMPTY_STRING_IS_NULL,"), "sql_mode holds EMPTY_STRING_IS_NULL, and what is empty is not NULL"},
		{strings.Contains(","+mode+",", ",ORACLE,"), "sql_mode is ORACLE, another language"},
		{level == "READ-UNCOMMITTED", "the isolation is READ UNCOMMITTED, which shows what may be rolled back"},
	} {
		if one.wrong {
			return fmt.Errorf("%w: %s", ErrSession, one.what)
		}
	}
	return nil
}

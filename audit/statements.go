package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// All that a sale says to the database stands here. An event is one row, and one
// statement writes it: nothing is looked at before, and nothing read back. Its
// text never changes, so that drivers prepare it once, and its arguments are
// bytes and text alone.
//
// The number of rows says what the row met. A new event and a retry of the same
// one are a row; another event under the same id, or one that is too old to be
// compared, is none, and leaves the transaction as usable as it was. The log is
// looked up by its name where the row goes, so that a transaction that reaches
// other tables, by another search path or database, cannot write the row.

const insertEvent = `INSERT INTO crmguard_audit_events (id, log, retry, body) VALUES (?, (SELECT id FROM crmguard_audit_log WHERE name = ?), ?, ?)`

// The tag of the row that is there counts only where it equals the new one.
const (
	insertOrCompare = insertEvent + ` ON CONFLICT (id) DO UPDATE SET retry = excluded.retry WHERE crmguard_audit_events.retry = excluded.retry`

	// MariaDB has no condition there. The missing value is an error of this one
	// statement; a connection that is not strict writes another tag instead, which
	// equals none, and two affected rows say so.
	insertOrCompareMariaDB = insertEvent + ` ON DUPLICATE KEY UPDATE retry = IF(retry = VALUES(retry), retry, NULL)`

	// MySQL takes NULL for the empty tag where it is not strict: of a row whose tag is
	// empty already nothing would change, as of an equal one.
	insertOrCompareMySQL = insertEvent + ` ON DUPLICATE KEY UPDATE retry = IF(retry = VALUES(retry), retry, IF(retry = '', 0x00, NULL))`
)

const (
	savepoint   = `SAVEPOINT crmguard_audit`
	keepEvent   = `RELEASE SAVEPOINT crmguard_audit`
	withoutIt   = `ROLLBACK TO SAVEPOINT crmguard_audit`
	logColumn   = "log"
	retryColumn = "retry"
)

// insertText is the one statement of a sale, in the words of the database.
func insertText(d sqldb.Dialect) string {
	switch d.Kind {
	case sqldb.MariaDB:
		return insertOrCompareMariaDB
	case sqldb.MySQL:
		return insertOrCompareMySQL
	default:
		return d.Bind(insertOrCompare)
	}
}

// insertInto is the statement of a sale. On PostgreSQL it says in which schema the
// table is: a temporary table of that name, which anybody may make for the session that
// sales have after them, or one of another schema before it on the path, would take
// their events. The name of the log is looked up by the path all the same.
func (t *Trail) insertInto(ctx context.Context) (string, error) {
	text := insertText(t.db.Dialect)
	if t.db.Kind != sqldb.Postgres {
		return text, nil
	}
	var schema string
	found, err := t.one(ctx, t.db, []any{&schema}, `SELECT quote_ident(n.nspname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = ? AND n.nspname = ANY (current_schemas(false)) ORDER BY array_position(current_schemas(false), n.nspname) LIMIT 1`, eventsTable)
	if err != nil || !found {
		return text, err
	}
	return strings.Replace(text, "INTO "+eventsTable, "INTO "+schema+"."+eventsTable, 1), nil
}

// queuedRow is a row of an event that waits for its place.
type queuedRow struct {
	id    [16]byte
	retry []byte // empty, not nil, where nothing is to be compared with a retry
	body  []byte
}

// putRow inserts a row, or finds that the same event is there.
func (t *Trail) putRow(ctx context.Context, tx sqldb.Execer, row *queuedRow) error {
	if err := t.fits(row); err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, t.saleText, row.id[:], t.origin, row.retry, row.body)
	if err != nil {
		return t.putError(row, sqldb.Safe(err))
	}
	n, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("audit: write: %w", sqldb.Safe(err))
	}
	mysql := t.db.Kind == sqldb.MariaDB || t.db.Kind == sqldb.MySQL
	switch {
	case n == 1, n == 0 && mysql: // by a setting of the connection an equal row counts there
		return nil
	case n == 0, n == 2 && mysql:
		return row.conflict()
	default:
		return fmt.Errorf("audit: write: the database says that one event is %d rows: a trigger or a rule of its table is in the way", n)
	}
}

func (r *queuedRow) conflict() error { return &ConflictError{ID: uuid.UUID(r.id).String()} }

// putError tells what a missing value means.
func (t *Trail) putError(row *queuedRow, err error) error {
	var driver *sqldb.DriverError
	if errors.As(err, &driver) && (driver.Code == "23502" || driver.Code == "mysql 1048" || driver.Code == "sqlite 1299") {
		switch driver.Column {
		case logColumn:
			return fmt.Errorf("%w: this transaction reaches the tables of another log than %q: it needs the same database and schema", ErrOrigin, t.origin)
		case retryColumn:
			return row.conflict()
		}
	}
	if driver != nil && (driver.Code == "mysql 167" || driver.Code == "mysql 1467" || driver.Code == "2200H") {
		return fmt.Errorf("audit: write: the numbers of crmguard_audit_events are used up: somebody wrote the last one by hand; give that row the number behind the others, and set the counter (AUTO_INCREMENT = 1 on MariaDB): %w", err)
	}
	return fmt.Errorf("audit: write: %w", err)
}

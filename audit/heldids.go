package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// A sale that repeats a published event on a restored database, or takes its id, holds
// that id until it ends, and one that stands still never ends. [Trail.CatchUp] writes
// what comes before it, and says which event it waits for. What comes behind it has to
// wait: a tree grows in its order, and without its row in events the event of the sale
// would be sequenced once more.

// heldNamed is how many ids an error names.
const heldNamed = 10

// notPatient bounds how long statements of a transaction wait for a lock. MariaDB and
// MySQL have such a bound for sessions only: there who asks for a lock says so.
func (t *Trail) notPatient(ctx context.Context, tx HandoverTx) error {
	if t.db.Kind != sqldb.Postgres {
		return nil
	}
	_, err := t.exec(ctx, tx, `SELECT set_config('lock_timeout', '500ms', true)`)
	return err
}

// readBackMost is how long a page of published entries may take on MariaDB and MySQL, where
// an INSERT waits for as long as the session says, fifty seconds mostly, each try.
const readBackMost = time.Minute

// bounded is a context for a page.
func (t *Trail) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if t.db.Kind == sqldb.MariaDB || t.db.Kind == sqldb.MySQL {
		return context.WithTimeout(ctx, readBackMost)
	}
	return ctx, func() {}
}

// lockedNow is the clause under which rows are locked, or the statement fails.
func (t *Trail) lockedNow() string {
	switch t.db.Kind {
	case sqldb.MariaDB, sqldb.MySQL:
		return ` FOR UPDATE NOWAIT`
	case sqldb.Postgres:
		return ` FOR UPDATE`
	case sqldb.SQLite: // has one writer, which this is
	}
	return ""
}

// errAsked takes back what was written in order to ask.
var errAsked = errors.New("audit: asked")

// heldAt says which of published entries have an id that an open transaction holds.
func (t *Trail) heldAt(ctx context.Context, page []adopted) (at []int, err error) {
	ask := func(tx HandoverTx, id []byte) error {
		if t.db.Kind == sqldb.Postgres { // which shows nobody a row that is not committed
			_, err := t.exec(ctx, tx, `INSERT INTO crmguard_audit_events (id, log, retry) VALUES (?, 1, '') ON CONFLICT (id) DO UPDATE SET log = crmguard_audit_events.log`, id)
			return err
		}
		// Asked, not executed: the driver may then wait for ever for the end of the answer.
		return t.query(ctx, tx, func(answer) error { return nil }, `SELECT id FROM crmguard_audit_events WHERE id = ?`+t.lockedNow(), id)
	}
	err = t.within(ctx, func(tx HandoverTx) error {
		at = nil // of an attempt that the database ended
		if err := t.notPatient(ctx, tx); err != nil {
			return err
		}
		for i := range page {
			if _, err := t.exec(ctx, tx, `SAVEPOINT crmguard_held`); err != nil {
				return err
			}
			if err := ask(tx, page[i].id[:]); sqldb.Locked(err) {
				at = append(at, i)
			} else if err != nil {
				return err
			}
			if _, err := t.exec(ctx, tx, `ROLLBACK TO SAVEPOINT crmguard_held`); err != nil {
				return err
			}
			if len(at) == heldNamed {
				break
			}
		}
		return errAsked
	})
	if errors.Is(err, errAsked) {
		err = nil
	}
	return at, err
}

// heldError names the events that are waited for.
func heldError(page []adopted, at []int) error {
	ids := make([]string, len(at))
	for i, n := range at {
		ids[i] = page[n].leaf.ID
	}
	return fmt.Errorf("%w: %s", ErrHeld, strings.Join(ids, ", "))
}

package privacy

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// While the ledger cannot be read nobody can say which erasures this database
// lacks. The gate opens then, for Config.Grace, only where something shows that
// the database is the one in which everything was carried out when the ledger
// was last seen, and not one that was brought back since:
//
//   - this process has found so itself, and the mark is not older than it was then;
//   - or, on PostgreSQL, the row of the mark is the very row that was written, by
//     the transaction that its trace names, and the server has run without an end
//     ever since. A dump brings rows back in other transactions; whoever puts
//     files or a disk back has to end the server.
//
// SQLite and MariaDB leave no such trace: a new process waits for the ledger, or
// for somebody who orders the gate open ([Desk.OpenAnyway]).
//
// Not noticed: tables brought back beside the mark (a replay finds them, see
// Config.ReplayEvery), and what is brought back beneath a running process from a
// copy that is younger than its last look at the ledger.

// The parts of a trace: when the server started, and the transaction that wrote
// the row. Empty where there is no such thing.
const (
	traceStart     = `CAST(extract(epoch FROM pg_postmaster_start_time()) AS text) || '/'`
	traceOfRow     = traceStart + ` || CAST(xmin AS text)`
	traceOfWriting = traceStart + ` || CAST(CAST(pg_current_xact_id() AS xid) AS text)`
)

func (d *Desk) traceRead() string {
	if d.db.Kind == sqldb.Postgres {
		return traceOfRow
	}
	return "''"
}

// traceNow is the trace of a row that this transaction writes.
func (d *Desk) traceNow(ctx context.Context, tx datastore.Tx) (trace string, err error) {
	if d.db.Kind != sqldb.Postgres {
		return "", nil
	}
	return trace, mute("asking the database", sqldb.One(ctx, tx, []any{&trace}, `SELECT `+traceOfWriting))
}

// lookedAt is what this process remembers of its last look at the ledger.
type lookedAt struct {
	mu sync.Mutex
	at time.Time // as the mark had it; zero: never, or it has refused since
}

func (l *lookedAt) set(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = at
}

func (l *lookedAt) get() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// unrestored reports whether something shows that this database was not brought
// back since the ledger was last seen. Heads that are kept elsewhere cannot: they
// may be as old as the copy.
func unrestored(m mark, looked time.Time) bool {
	if m.seen.IsZero() {
		return false
	}
	return !looked.IsZero() && !m.seen.Before(looked) || m.trace != "" && m.trace == m.here
}

// distrust takes the grace away until the gate has opened again: something was
// found that is not carried out, or a replay begins to change what is here.
func (d *Desk) distrust(ctx context.Context) error {
	d.looked.set(time.Time{})
	return d.inTx(ctx, func(tx *sql.Tx) error {
		if err := d.lockMark(ctx, tx); err != nil {
			return err
		}
		return d.setMark(ctx, tx, func(m *mark) bool {
			changed := m.lastSeen() != 0
			m.seen, m.underWay = time.Time{}, time.Time{}
			return changed
		})
	})
}

package jobs

import (
	"context"
	"database/sql"
	"time"

	"github.com/crmguard/crmguard/encryption/streams"
)

// RowHook runs in the transaction that changes a row, with the key as text
// (encryption.RowText). Where the database ends the transaction for the sake of
// another one, it runs again in the next: leave nothing behind but what goes
// through tx.
type RowHook = func(ctx context.Context, tx *sql.Tx, tenant, key string) error

// ResealOptions says how a table is resealed. The zero value is good.
type ResealOptions struct {
	// Batch is the number of rows a transaction; 0 is 100. On PostgreSQL the next
	// ones are read while a batch is written, unless there are hooks, Streams or a
	// Pause.
	Batch int
	// After resumes behind this place, ResealReport.Last; "" begins.
	After string
	// BeforeRow runs in the transaction before a row changes: verify its seal.
	BeforeRow RowHook
	// AfterRow runs in the transaction after a row changed: seal the row anew,
	// record the event.
	AfterRow RowHook
	// Streams reseals a stream of a row that goes over to whom its person was
	// merged into, before the row does; see Redaction.Streams. Without it such
	// rows of a table with stream columns stay as they are.
	Streams func(ctx context.Context, from, to streams.Ref) error
	// Unreadable is called for each cell that does not open; the report lists
	// the first 100.
	Unreadable func(Unreadable)
	// Refused is called for each row that the database refuses to change; the
	// report lists the first 100.
	Refused func(Refused)
	// Progress is called after each batch.
	Progress func(ResealReport)
	// Pause is kept between batches.
	Pause time.Duration
}

// ResealReport says what Reseal did.
type ResealReport struct {
	Rows       int          // rows read
	Cells      int          // cells resealed
	Moved      int          // rows of merged persons that belong to whom they were merged into now
	Conflicts  int          // rows that someone else changed meanwhile; they were read again
	Locked     int          // rows of batches that others held up for longer than Config.LongestTransaction, left as they are
	Erased     int          // cells of erased owners, left as they are
	Unsealed   int          // cells that hold no sealed field, left as they are
	Unreadable int          // cells that do not open, left as they are
	Listed     []Unreadable // the first 100 of them
	Refused    int          // rows that the database refuses to change, left as they are
	Refusals   []Refused    // the first 100 of them
	Last       string       // place of the last row, for ResealOptions.After: its key, where that is text or an integer
}

// SealerReport says what a func of primitives.PersonSealer.Resealer did.
type SealerReport struct {
	Resealed   int          // values under another key version than before
	Erased     int          // values of erased persons, left as they are
	Unreadable int          // values that do not open, left as they are
	Listed     []Unreadable // the first 100 of them: Table is the purpose, Key and Column are empty
}

package audit

import (
	"errors"
	"fmt"
)

// The sentinels of the package; the package comment says what to do about each.
var (
	// ErrInvalid is wrapped by every error about an event, a configuration or
	// a query that is not well formed. Permanent: the caller must change.
	ErrInvalid = errors.New("audit: invalid")
	// ErrNoTransaction refuses what is no transaction (a *sql.DB, a connection,
	// a pool of another library): the event would not commit with the business
	// change.
	ErrNoTransaction = errors.New("audit: record needs a transaction, not a database or a connection")
	// ErrTooLarge refuses more than 500 persons, values about more than 300, an
	// opening above 16 MiB, openings above 32 MiB together, and on MariaDB and MySQL
	// what max_allowed_packet does not take: split the event,
	// the parts sharing For. The number of fields has no such limit.
	ErrTooLarge = errors.New("audit: event too large")
	// ErrConflict is wrapped by a [ConflictError].
	ErrConflict = errors.New("audit: another event has this id")
	// ErrNotFound says that no event has this id.
	ErrNotFound = errors.New("audit: no such event")
	// ErrNotPublished says that no published checkpoint covers the event yet,
	// or that there is no checkpoint at all. Temporary: run the sequencer.
	ErrNotPublished = errors.New("audit: not in a published checkpoint yet")
	// ErrNotOpen says that a Trail was not made by [Open].
	ErrNotOpen = errors.New("audit: the trail is not open: a Trail comes from audit.Open")
	// ErrBehind is wrapped by a [BehindError].
	ErrBehind = errors.New("audit: database is behind the published log")
	// ErrLogLost says that this trail has published before, but that the sink
	// holds no checkpoint any more: bring the folder back.
	ErrLogLost = errors.New("audit: published log is gone")
	// ErrChanged says that a published file does not hold any more what it was to
	// be replaced in place of: [Sink] has it, and the trail reads again.
	ErrChanged = errors.New("audit: the published file is another one by now")
	// ErrUnanchored says that there is no kept checkpoint that a repair could be
	// proved against: without one, whoever rewinds database and folder would have
	// the trail sign what they left.
	ErrUnanchored = errors.New("audit: no kept checkpoint to prove a repair against")
	// ErrMirrorLost says that Config.Mirror has no file any more that it had: is its
	// disk mounted? What it holds would be lost for good. Bring it back; to go on
	// without it, say so with Config.Mirror nil.
	ErrMirrorLost = errors.New("audit: files of the mirror are gone")
	// ErrKeys says that Config.Keys do not answer at the moment, so that nobody knows
	// what they would have opened or verified. Temporary: ask again.
	ErrKeys = errors.New("audit: the keys do not answer")
	// ErrWaiting says that an erasure is done but for rows that a sale holds, or
	// that wait for a key which this process does not have, or for a mirror that
	// does not answer. Temporary: call Erase again.
	ErrWaiting = errors.New("audit: the erasure is not at its end yet")
	// ErrHeld says that open transactions hold ids of published events, which are
	// named: the database has caught up to the first of them. Temporary: end these
	// transactions, and call CatchUp again.
	ErrHeld = errors.New("audit: open transactions hold the ids of published events")
	// ErrOrigin says that the tables, the key, the published log or what the
	// caller's transaction reaches belong to another log than the configuration
	// names.
	ErrOrigin = errors.New("audit: another log")
	// ErrHead says that a head for a beat could not be read; sequencing and
	// publishing went on without the beat.
	ErrHead = errors.New("audit: beat left out, a head could not be read")
)

// ConflictError says that an event with this id is recorded already, and is not
// the same event, or cannot be compared any more: it is too old (Config.RetryFor),
// or about somebody who was erased. [Trail.Event] says what is there.
type ConflictError struct {
	ID string // event id
}

// Error names the event.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("audit: event %s is recorded, with another content or too old to be compared", e.ID)
}

// Unwrap makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Unwrap() error { return ErrConflict }

// ValueError says, where Config.StrictValues is set, that a change holds a value
// that cannot be recorded as it is: a Go type that holds none, text that is not
// UTF-8, an integer beyond 63 bits, NaN. It never shows the value.
type ValueError struct {
	// Change is the index in Event.Changes.
	Change int
	// Path is the field. The text of the error has it where it is declared in
	// Config.Fields: another may be data itself.
	Path string
	// Err says what is wrong.
	Err error

	declared bool
}

// Error names the change, and the field where it is declared.
func (e *ValueError) Error() string {
	if e.declared {
		return fmt.Sprintf("%v: change %d, field %s: %v", ErrInvalid, e.Change+1, e.Path, e.Err)
	}
	return fmt.Sprintf("%v: change %d: %v", ErrInvalid, e.Change+1, e.Err)
}

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e *ValueError) Unwrap() []error { return []error{ErrInvalid, e.Err} }

// BehindError says that the published log is ahead of the database: it was
// restored from a backup. Nothing is sequenced or signed until CatchUp.
type BehindError struct {
	Database, Published int64 // entries in each
}

// Error names both sizes and the remedy.
func (e *BehindError) Error() string {
	return fmt.Sprintf("audit: database has %d entries, the published log %d: call CatchUp", e.Database, e.Published)
}

// Unwrap makes errors.Is(err, ErrBehind) true.
func (e *BehindError) Unwrap() error { return ErrBehind }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

package erasurelog

import (
	"context"
	"errors"
	"iter"
)

// Medium is where the lines of a ledger and its notes are. It knows nothing of
// what they say. [Folder] is one, package sqlledger has another; package
// erasurelogtest judges any. Every call ends when its context does, and all
// may come from several goroutines and processes at once. A fmt.Stringer says
// in errors which place it is.
type Medium interface {
	// Create makes a ledger without lines; fs.ErrExist where one stands, which
	// stays as it is. It is durable on return.
	Create(ctx context.Context) error
	// Read yields the lines behind a position, in order, each with its newline;
	// the last may lack it where a write was cut short. Where the ledger ends
	// before the position there are none; where it was never created, and where it
	// cannot be read, the error comes last, fs.ErrNotExist in the first case. Lines
	// that no Append has left so (one is missing, or longer than MaxLine) are an
	// [ErrForged]. A line is the caller's until the next one comes.
	Read(ctx context.Context, from Position) iter.Seq2[[]byte, error]
	// Append adds a line, which has no newline, behind the end that the caller
	// has read: at is that end, last the line there (nil at the beginning). Of
	// several callers with the same end one succeeds, the others get [ErrMoved], as
	// does who has another last line there. A write that was cut short goes. The
	// line is durable on return; after another error it may stand there or not.
	//
	// With a nil line Append writes nothing and makes durable what was read.
	Append(ctx context.Context, at Position, last, line []byte) error
	// PutNotes writes notes in the place of those of the same names, and removes
	// those whose Sealed is nil, whether they are there or not; durable on return.
	// Where no ledger was created it is fs.ErrNotExist, as it is for Notes: the
	// place is another one, or a disk is missing.
	PutNotes(ctx context.Context, notes ...SealedNote) error
	// Notes yields all notes, each once, in the order of their names. One that
	// cannot be read comes with its name and an error; then others may follow.
	Notes(ctx context.Context) iter.Seq2[SealedNote, error]
}

// Position is a place behind a line: how many lines are before it, and how many
// bytes these have, each with its newline. A medium looks at the one that it
// needs.
type Position struct{ N, Size int64 }

// SealedNote is a note as a medium keeps it.
type SealedNote struct {
	Name   string // 1 to 64 of a-z, 0-9 and -
	Sealed []byte
}

// ErrMoved is what a [Medium] answers to an Append behind what is not the end
// any more: read on, and append there.
var ErrMoved = errors.New("erasurelog: the end of the ledger has moved")

// MaxLine bounds a line and a sealed note, in bytes.
const MaxLine = 8 << 20

package audit

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"time"
)

var errSoon = errors.New("audit: not built yet")

func (t *Trail) claim(context.Context) error { return nil }

// Result is what one pass of the sequencer did.
type Result struct {
	Sequenced int       // events that got their place in the log
	Refused   []Refused // queued rows without a valid tag; they stay where they are
	Beat      bool      // a beat was added
	Size      int64     // entries in the log
	Published int64     // entries under the newest published checkpoint
}

// Refused is a queued row that the sequencer did not let into the log.
type Refused struct {
	Event string // id column, as found
	What  string
}

// RunOnce sequences what is queued and publishes it.
func (t *Trail) RunOnce(ctx context.Context) (Result, error) { return Result{}, errSoon }

// Run repeats RunOnce until the context ends or the log may not go on.
func (t *Trail) Run(ctx context.Context) error { return errSoon }

// Beat adds a beat now and publishes it.
func (t *Trail) Beat(ctx context.Context) error { return errSoon }

// HeadOf turns a position in canonical JSON into a head for [Heads].
func HeadOf(position func(ctx context.Context) ([]byte, error)) func(ctx context.Context) (int64, []byte, error) {
	return nil
}

// Checkpoint returns the newest published checkpoint, a signed note.
func (t *Trail) Checkpoint(ctx context.Context) ([]byte, error) { return nil, errSoon }

// Proof returns the proof (c2sp.org/tlog-proof) that an event is in the published log.
func (t *Trail) Proof(ctx context.Context, id string) (proof []byte, err error) { return nil, errSoon }

// Leaf returns the exact bytes of a recorded event.
func (t *Trail) Leaf(ctx context.Context, id string) ([]byte, error) { return nil, errSoon }

// Trust is what a verifier needs.
type Trust struct {
	Key  string // verifier key of the log; its name is the origin
	Kept []byte // checkpoint kept elsewhere, nil if there is none
}

// Verify checks offline that leaf is in the log.
func Verify(trust Trust, leaf, proof []byte) (Leaf, error) { return Leaf{}, errSoon }

// VerifyLog checks a published folder alone.
func VerifyLog(ctx context.Context, fsys fs.FS, trust Trust) (Report, error) { return Report{}, errSoon }

// LogEntry is one entry of a published folder.
type LogEntry struct {
	Index int64
	Leaf  []byte
}

// Entries reads all entries of a published folder, unverified.
func Entries(ctx context.Context, fsys fs.FS) iter.Seq2[LogEntry, error] { return nil }

// VerifyStore compares the database with the published log.
func (t *Trail) VerifyStore(ctx context.Context, kept []byte) (StoreReport, error) {
	return StoreReport{}, errSoon
}

// Erase deletes the openings and the surrogate of a person.
func (t *Trail) Erase(ctx context.Context, tenant, person string) error { return errSoon }

// Eraser returns Erase as a func.
func (t *Trail) Eraser() func(ctx context.Context, tenant, person string) error { return t.Erase }

// Page limits a history.
type Page struct {
	Size   int   // 0 means 50
	Before int64 // Cursor of the last entry of the page before; 0 begins at the newest
}

// Entry is one event of a history with the values that still open.
type Entry struct {
	Leaf    Leaf
	Raw     []byte // exact bytes
	Index   int64  // place in the log, -1 while queued
	Cursor  int64
	Persons map[string]string // person id by surrogate, where it still exists
	Changes []OpenedChange
}

// OpenedChange is a change with its values.
type OpenedChange struct {
	Path    string // true path where it could be opened
	Who     string // person id, or the surrogate where the person was erased
	Old     any
	New     any
	Verdict OpeningVerdict
}

// History yields the events about an object or a person, newest first.
func (t *Trail) History(ctx context.Context, tenant string, of Object, page Page) iter.Seq2[Entry, error] {
	return nil
}

// CatchUp reads into a restored database what the published log has beyond it.
func (t *Trail) CatchUp(ctx context.Context) error { return errSoon }

// OpeningHolders counts the openings sealed under a generation.
func (t *Trail) OpeningHolders(ctx context.Context, tenant string, generation uint32) (count int, where string, err error) {
	return 0, "", errSoon
}

// ResealReport is what ResealOpenings did.
type ResealReport struct{ Seen, Resealed, Raced, Orphans int }

// ResealOpenings rewrites openings by compare-and-swap.
func (t *Trail) ResealOpenings(ctx context.Context, reseal func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error)) (ResealReport, error) {
	return ResealReport{}, errSoon
}

// Status is the state of a trail for health pages.
type Status struct {
	Size, Published, Queued int64
	Oldest                  time.Time // when the oldest queued event was recorded
}

// Status reads the state.
func (t *Trail) Status(ctx context.Context) (Status, error) { return Status{}, errSoon }

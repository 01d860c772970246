package backup

import (
	"errors"
	"fmt"
	"io/fs"
)

// The sentinels of this package; the package comment says what to do about
// each.
var (
	ErrPassword     = errors.New("backup: no key file opens with this key")
	ErrNoRepository = errors.New("backup: there is no repository here")
	ErrExists       = errors.New("backup: there is a repository here already")
	ErrCorrupt      = errors.New("backup: repository is damaged")
	ErrVersion      = errors.New("backup: repository has another format version")
	ErrLocked       = errors.New("backup: repository is locked by another program")
	ErrLockLost     = errors.New("backup: the job lost its lock, it made no snapshot here")
	ErrNoSnapshot   = errors.New("backup: no such snapshot")
	ErrSource       = errors.New("backup: a source failed, no snapshot was made")
	ErrChanged      = errors.New("backup: a file changed while it was read")
	ErrKeyCopy      = errors.New("backup: no verified key copy covers the snapshot, none was made")
	ErrStore        = errors.New("backup: a store failed")
	ErrGone         = errors.New("backup: the place of the store has vanished: mount it; only Create makes one")
	ErrLimit        = errors.New("backup: more than a repository holds, no snapshot was made")
	ErrClock        = errors.New("backup: the clock is wrong, or the newest snapshot is, none was made")
	ErrManifest     = errors.New("backup: manifest is missing, forged or does not fit the data")
	ErrTarget       = errors.New("backup: restore target is not an empty folder")
	ErrUnsafeName   = errors.New("backup: snapshot holds an unsafe name")
	ErrStep         = errors.New("backup: a restore step failed")
	ErrClosed       = errors.New("backup: folder is not an opened restore")
	ErrConfig       = errors.New("backup: bad configuration")
)

// FileError names the file of the repository that is at fault.
type FileError struct {
	Store string // name of the store
	File  string // name inside the store, such as "snapshots/4f2a…"
	Err   error  // wraps ErrCorrupt, fs.ErrNotExist or the store's own error
}

// Error names store and file.
func (e *FileError) Error() string { return fmt.Sprintf("%v (%s: %s)", e.Err, e.Store, e.File) }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// SourceError names the source that failed. Path is for the operator's eyes:
// file names can be personal data, so Error leaves it out.
type SourceError struct {
	Source string // name of the source
	Path   string // file inside the source, "" when none is at fault
	Err    error
}

// Error names the source and the kind of fault, never a file or a value.
func (e *SourceError) Error() string {
	return fmt.Sprintf("%v: source %q: %v", ErrSource, e.Source, withoutPath(e.Err))
}

// Unwrap returns ErrSource and the cause.
func (e *SourceError) Unwrap() []error { return []error{ErrSource, e.Err} }

// StoreError names the store that failed.
type StoreError struct {
	Store string // name of the store
	Err   error
}

// Error names the store.
func (e *StoreError) Error() string { return fmt.Sprintf("%v: %s: %v", ErrStore, e.Store, e.Err) }

// Unwrap returns ErrStore and the cause.
func (e *StoreError) Unwrap() []error { return []error{ErrStore, e.Err} }

// StepError names the step of a restore that failed. The target stays closed.
type StepError struct {
	Step   string // name of the step
	Remedy string // what the operator does next
	Err    error
}

// Error names step, cause and remedy.
func (e *StepError) Error() string {
	return fmt.Sprintf("%v: %q: %v; %s", ErrStep, e.Step, e.Err, e.Remedy)
}

// Unwrap returns ErrStep and the cause.
func (e *StepError) Unwrap() []error { return []error{ErrStep, e.Err} }

// LossError says what a restore could not bring back, because the data of the
// snapshot itself is damaged. File names can be personal data, so Error leaves
// them out.
type LossError struct {
	Snapshot string // its id
	Files    []LostFile
}

// LostFile is a file that a restore could not bring back.
type LostFile struct {
	Path string // in the snapshot; with a slash at the end, a folder and all below it
	Err  error  // what is damaged: wraps ErrCorrupt
}

// Error counts what is lost and names the damage behind the first.
func (e *LossError) Error() string {
	return fmt.Sprintf("%v: %d files or folders of snapshot %s are lost (Files names them), the rest is in the target, which stays closed; the first: %v",
		ErrCorrupt, len(e.Files), short(e.Snapshot), e.Files[0].Err)
}

// Unwrap returns ErrCorrupt and the damage behind the first.
func (e *LossError) Unwrap() []error { return []error{ErrCorrupt, e.Files[0].Err} }

// EntryError says at which file or folder of a snapshot a restore ended. File
// names can be personal data, so Error leaves Path out.
type EntryError struct {
	Path string // in the snapshot
	Err  error
}

// Error is that of the cause.
func (e *EntryError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *EntryError) Unwrap() error { return e.Err }

// withoutPath drops the file name that package os puts into its errors.
func withoutPath(err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", pathError.Op, pathError.Err)
	}
	return err
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

func badConfig(what string) error { return fmt.Errorf("%w: %s", ErrConfig, what) }

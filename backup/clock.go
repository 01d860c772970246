package backup

import (
	"fmt"
	"time"
)

// maxSkew is how far the clocks of machines that share a repository may be
// apart. Beyond restic's bound they take each other's locks for stale.
const maxSkew = lockStale

// checkClock refuses a time that cannot be that of this run: a snapshot would
// carry it. newest may be zero.
//
// Of a clock behind the newest snapshot one is wrong, and programs that expire
// snapshots count from the newest: beside one of next year, `restic forget
// --keep-within 30d` removes every true one. A clock that runs ahead cannot be
// told from a long pause; the first run after it was set right names what it
// left.
func (r *run) checkClock(newest Snapshot) error {
	now := r.job.now().UTC().Round(0)
	if y := now.Year(); y < 1970 || y > 9999 {
		return fmt.Errorf("%w: the clock shows the year %d: set it", ErrClock, y)
	}
	// Set forward by as much, it costs the run its locks.
	if now.Before(r.started.Add(time.Since(r.mono) - maxSkew)) {
		return fmt.Errorf("%w: the clock was set back during the run, which began at %s: run again", ErrClock, r.started.Format(time.RFC3339))
	}
	if newest.Time.After(now.Add(maxSkew)) {
		return &FileError{
			Store: r.fan.alive()[0].repo.Name(), File: snapFolder + "/" + newest.ID,
			Err: fmt.Errorf("%w: the snapshot is of %s and it is %s: set the clock; if the snapshot is wrong, remove it with `restic forget %s` from every store before anything expires snapshots",
				ErrClock, newest.Time.UTC().Format(time.RFC3339), now.Format(time.RFC3339), short(newest.ID)),
		}
	}
	return nil
}

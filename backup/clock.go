package backup

import (
	"fmt"
	"time"
)

// maxSkew is how far the clocks of machines that share a repository may be
// apart. Beyond restic's bound they take each other's locks for stale.
const maxSkew = lockStale

// checkClock refuses a time that cannot be that of this run: its snapshot
// would carry it. A clock that is set forward during the run costs it its
// locks instead.
func (r *run) checkClock() error {
	now := r.job.now().UTC().Round(0)
	if y := now.Year(); y < 1970 || y > 9999 {
		return fmt.Errorf("%w: the clock shows the year %d: set it", ErrClock, y)
	}
	if now.Before(r.started.Add(time.Since(r.mono) - maxSkew)) {
		return fmt.Errorf("%w: the clock was set back during the run, which began at %s: run again", ErrClock, r.started.Format(time.RFC3339))
	}
	return nil
}

// checkNewest refuses a clock behind the newest snapshot. One of the two is
// wrong, and programs that expire snapshots count from the newest: beside one
// of next year, `restic forget --keep-within 30d` removes every true one. A
// clock that runs ahead cannot be told from a long pause; the first run after
// it was set right names what it left.
func (r *run) checkNewest(newest Snapshot, holder *target) error {
	now := r.job.now().UTC().Round(0)
	if !newest.Time.After(now.Add(maxSkew)) {
		return nil
	}
	return &FileError{
		Store: holder.repo.Name(), File: snapFolder + "/" + newest.ID,
		Err: fmt.Errorf("%w: the snapshot is of %s and it is %s: set the clock; if the snapshot is wrong, remove it with `restic forget %s` from every store before anything expires snapshots",
			ErrClock, newest.Time.UTC().Format(time.RFC3339), now.Format(time.RFC3339), short(newest.ID)),
	}
}

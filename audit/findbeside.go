package audit

import (
	"context"
	"sync"
)

// findsBeside is how many entries a publication must be of for query keys to be filed
// beside it: of few it is done in no time.
const findsBeside = 1 << 11

// findBeside does the work of a publication of so many entries, which waits for a
// disk most of the time, and files query keys meanwhile, for which the database has
// the time then. What is signed waits for one batch of those at most. What goes wrong
// with them is met again, and said, when they are filed behind the signing.
func (t *Trail) findBeside(ctx context.Context, entries int64, ahead *findAhead, work func() error) error {
	if entries < findsBeside || ahead == nil {
		return work()
	}
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			n, err := t.findStep(ctx, ahead)
			if err != nil || n == 0 || t.letSalesIn(ctx) != nil {
				return
			}
		}
	})
	err := work()
	close(done)
	group.Wait()
	return err
}

package auditlog

import (
	"context"
	"runtime"
	"sync"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// ahead has bundles checked on as many goroutines as there are processors, while
// the one that verifies reads those that follow. It alone reads files and is told
// what was found, and in the order of the log: what the caller handed in is never
// called by two goroutines, nor by one that the caller does not know.
type ahead struct {
	w       *walker
	jobs    chan *bundle
	workers sync.WaitGroup
	most    int       // bundles in hand at one time
	queue   []*bundle // read, and not yet taken up
	bytes   int       // in the queue
	begun   int64     // bundles read
	idle    []*bundle
}

const (
	// mostWorkers is where one goroutine cannot read fast enough for more.
	mostWorkers = 8
	// mostAhead bounds the bytes that are read ahead: the next bundle is read
	// where fewer are in hand, so that it is one bundle more.
	mostAhead = 8 << 20
)

func (w *walker) readAhead() *ahead {
	bundles := (w.head.N + c2sp.TileWidth - 1) / c2sp.TileWidth
	workers := int(min(mostWorkers, int64(runtime.GOMAXPROCS(0)), bundles))
	a := &ahead{w: w, most: 2 * workers, jobs: make(chan *bundle, 2*workers)}
	for range workers {
		a.workers.Go(func() {
			c := &checker{hasher: merkle.NewHasher(), listened: w.each != nil, hashesOnly: w.hashesOnly}
			for b := range a.jobs {
				c.check(b)
				b.checked <- struct{}{}
			}
		})
	}
	return a
}

// next is the next bundle of the log, checked; nil at the end.
func (a *ahead) next(ctx context.Context) (*bundle, error) {
	for ctx.Err() == nil && a.begun*c2sp.TileWidth < a.w.head.N && (len(a.queue) == 0 || len(a.queue) < a.most && a.bytes < mostAhead) {
		b := a.fresh()
		a.w.load(ctx, b, a.begun)
		a.begun++
		a.bytes += len(b.data)
		a.queue = append(a.queue, b)
		a.jobs <- b // never waits: there is room for all in hand
	}
	if err := ctx.Err(); err != nil || len(a.queue) == 0 {
		return nil, err
	}
	b := a.queue[0]
	a.queue = append(a.queue[:0], a.queue[1:]...)
	a.bytes -= len(b.data)
	<-b.checked
	return b, nil
}

func (a *ahead) fresh() *bundle {
	if n := len(a.idle); n > 0 {
		b := a.idle[n-1]
		a.idle = a.idle[:n-1]
		return b
	}
	return &bundle{checked: make(chan struct{}, 1)}
}

// reuse takes a bundle back when it was taken up.
func (a *ahead) reuse(b *bundle) {
	clear(b.found) // what somebody listened to is theirs
	b.data, b.tile = nil, hashTile{}
	a.idle = append(a.idle, b)
}

// stop ends the goroutines, and returns when they have ended. What they have not
// begun they need not do.
func (a *ahead) stop() {
	for range a.queue {
		select {
		case <-a.jobs:
		default:
		}
	}
	close(a.jobs)
	a.workers.Wait()
}

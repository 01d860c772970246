package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// A filer gives entries their places in a log and signs it.
type filer struct {
	name   string
	role   role
	must   []string
	dir    string // the published folder
	key    string
	sample []byte            // an entry
	ready  func(n int) error // entries wait, off the clock
	file   func() error      // until the signed checkpoint covers all of them
	rest   func() error      // what is done behind that, off the clock; may be nil
}

// errNoTessera says that the contests with it are left out.
var errNoTessera = errors.New("files of Tessera are for Unix only")

// filingContests let what waits be filed.
func filingContests(ctx context.Context, p *bench) ([]contest, error) {
	entries := 1 << 15
	if p.small {
		entries = 300
	}
	lite, err := ourFiler(ctx, p, sqliteShop(p))
	if err != nil {
		return nil, err
	}
	out, err := filingContest(ctx, p, lite, "SQLite FULL", entries, ">= 0.5", 35*time.Second)
	if errors.Is(err, errNoTessera) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	more, err := onServer(p, func() ([]contest, error) {
		f, err := ourFiler(ctx, p, postgresShop(p, p.server))
		if err != nil {
			return nil, err
		}
		c, err := filingContest(ctx, p, f, "PostgreSQL", entries, printed, 20*time.Second)
		return []contest{c}, err
	})
	return append([]contest{out}, more...), err
}

func filingContest(ctx context.Context, p *bench, f *filer, database string, entries int, must string, limit time.Duration) (contest, error) {
	theirs, err := tesseraFiler(ctx, p, len(f.sample))
	if err != nil {
		return contest{}, err
	}
	theirs.must = []string{must}
	out := contest{
		Package: "audit", What: fmt.Sprintf("sequence and sign %d events, %s", entries, database),
		Note: "Ours: the events wait in the tables, and a run ends when the checkpoint in the folder covers all of them; entries, openings, tiles and the folder are on the disk then. What questions find them by is filed afterwards, off the clock: a figure of all of it stands below, beside sales. The peer: Tessera on POSIX files of the same disk, batches of 8192, from the first Add, none of which waits for another, until its checkpoint covers all; it publishes one each 100 ms at most, which is its shortest interval. Its entries are random and as long as our leaves. It has neither tables nor answers.",
		Time: limit,
	}
	for _, one := range []*filer{f, theirs} {
		out.Contestants = append(out.Contestants, contestant{
			Name: one.name, Role: one.role, Must: one.must,
			Answer: func() (string, error) { return one.answer(ctx) },
			Setup:  func(n int) error { return one.ready(n * entries) },
			Run:    func(int) error { return one.file() },
			Clean:  one.rest,
		})
	}
	return out, nil
}

// answer lets torchwood read the whole log before and after.
func (f *filer) answer(ctx context.Context) (string, error) {
	const more = 300
	before, _, err := torchwoodReads(ctx, f.dir, f.key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	err = errors.Join(f.ready(more), f.file())
	if f.rest != nil {
		err = errors.Join(err, f.rest())
	}
	if err != nil {
		return "", err
	}
	after, _, err := torchwoodReads(ctx, f.dir, f.key)
	return fmt.Sprintf("%d entries more: %t", more, after-before == more || after-before == more+1), err // a beat is one, too
}

// checkpointOf opens a signed checkpoint.
func checkpointOf(signed []byte, key string) (tlog.Tree, error) {
	policy, err := torchwood.ParsePolicy([]byte("log " + key + "\nquorum none\n"))
	if err != nil {
		return tlog.Tree{}, err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy)
	return checkpoint.Tree, err
}

// torchwoodReads reads a published log from the first entry to the last, each
// entry proved against the signed root.
func torchwoodReads(ctx context.Context, dir, key string) (entries int64, root [32]byte, err error) {
	tiles, err := torchwood.NewTileFS(os.DirFS(dir))
	if err != nil {
		return 0, root, err
	}
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return 0, root, err
	}
	checkpoint, err := checkpointOf(signed, key)
	if err != nil {
		return 0, root, err
	}
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		return 0, root, err
	}
	for range client.AllEntries(ctx, checkpoint, 0) {
		entries++
	}
	if err = client.Err(); err == nil && entries != checkpoint.N {
		err = fmt.Errorf("%d entries were read, %d are signed", entries, checkpoint.N)
	}
	return entries, checkpoint.Hash, err
}

func ourFiler(ctx context.Context, p *bench, s shop) (*filer, error) {
	log, press, err := newPressed(ctx, p, s, 100_000)
	if err != nil {
		return nil, err
	}
	var all chan error // from a run that goes on behind its checkpoint
	return &filer{
		name: "Trail.RunOnce", role: ours, dir: log.dir, key: log.key, sample: press.leaf,
		ready: func(n int) error {
			if err := press.queue(ctx, n); err != nil {
				return err
			}
			_, err := log.db.ExecContext(ctx, s.rest) // writing them is not what is measured
			return err
		},
		file: func() error {
			waiting, err := log.waiting(ctx)
			if err != nil {
				return err
			}
			size, err := log.size(ctx)
			if err != nil {
				return err
			}
			all = make(chan error, 1)
			go func() {
				_, err := log.file(ctx)
				all <- err
			}()
			return log.signed(size+int64(waiting), all)
		},
		rest: func() error {
			if err := <-all; err != nil {
				return err
			}
			n, err := log.waiting(ctx)
			if err == nil && n > 0 {
				err = fmt.Errorf("%d events still wait", n)
			}
			return err
		},
	}, nil
}

// newPressed is a log over an empty database, and a press for it.
func newPressed(ctx context.Context, p *bench, s shop, events int) (*ourLog, *press, error) {
	vault, err := newVault(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	_, log, err := ourJournal(ctx, p, vault, s)
	if err != nil {
		return nil, nil, err
	}
	press, err := newPress(ctx, p, log, events)
	return log, press, err
}

func filingCounts(ctx context.Context, p *bench) ([]count, error) {
	return []count{
		{
			Package: "audit", What: "allocations of Record, one person, one field",
			Note: "Into a transaction that does nothing, after Prepare: the driver's own come on top.",
			Take: func() ([]taken, error) { return recordAllocs(ctx, p) },
		},
		{
			Package: "audit", What: "sales while 100,000 events are filed, SQLite FULL",
			Note: saleNote + "One client, another connection, a millisecond between two sales; the sequencer files all of them without a pause. A sale that fails since the database is locked counts with the time it waited, and is repeated.",
			Take: func() ([]taken, error) { return salesWhileFiling(ctx, p) },
		},
	}, nil
}

func recordAllocs(ctx context.Context, p *bench) ([]taken, error) {
	vault, err := newVault(ctx, p)
	if err != nil {
		return nil, err
	}
	_, log, err := ourJournal(ctx, p, vault, sqliteShop(p))
	if err != nil {
		return nil, err
	}
	allocs, err := log.recordAllocs(ctx)
	return []taken{{"one Record", allocs, "allocs", "<= 40 allocs"}}, err
}

// salesWhileFiling is what a sale waits for beside a sequencer that has much to do.
func salesWhileFiling(ctx context.Context, p *bench) ([]taken, error) {
	events, most := 100_000, 2000
	if p.small {
		events, most = 500, 5
	}
	vault, err := newVault(ctx, p)
	if err != nil {
		return nil, err
	}
	j, log, err := ourJournal(ctx, p, vault, sqliteShop(p))
	if err != nil {
		return nil, err
	}
	press, err := newPress(ctx, p, log, events)
	if err != nil {
		return nil, err
	}
	if err := press.queue(ctx, events); err != nil {
		return nil, err
	}
	filed := make(chan error, 1)
	begun := time.Now()
	go func() {
		_, err := log.file(ctx)
		filed <- err
	}()
	var times []float64
	var took time.Duration
	failed := 0
	for i := 0; took == 0 || len(times) < min(most, 2); i++ {
		start := time.Now()
		for err := j.change(ctx, i, nil); err != nil; err = j.change(ctx, i, nil) {
			if failed++; failed > most {
				return nil, errors.Join(err, <-filed)
			}
		}
		times = append(times, float64(time.Since(start)))
		select {
		case err := <-filed:
			if err != nil {
				return nil, err
			}
			took = time.Since(begun)
		case <-time.After(time.Millisecond):
		}
	}
	slices.Sort(times)
	return []taken{
		{"sales beside the sequencer", float64(len(times)), "sales", ""},
		{"the longest wait", quantile(times, 1) / 1e6, "ms", "<= 300 ms"},
		{"99 of 100 waited at most", quantile(times, 0.99) / 1e6, "ms", ""},
		{"half of them waited at most", quantile(times, 0.5) / 1e6, "ms", ""},
		{"sales that failed, and were repeated", float64(failed), "sales", "<= 0 sales"},
		{"events filed, until questions find them", float64(events) / took.Seconds(), "events/s", ""},
	}, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"time"
)

const pageSize = 50

// A grownLog is one that has run for a while.
type grownLog struct {
	*ourLog
	press   *press
	entries int
}

func newGrown(ctx context.Context, p *bench, s shop, entries int) (*grownLog, error) {
	log, press, err := newPressed(ctx, p, s, entries)
	if err != nil {
		return nil, err
	}
	if err := press.publish(ctx, entries, true); err != nil {
		return nil, err
	}
	if _, err := log.db.ExecContext(ctx, vacuum); err != nil {
		return nil, err
	}
	return &grownLog{log, press, entries}, nil
}

// millionCounts look at logs of ten thousand and of a million entries. The large
// one is made once, for all of them.
func millionCounts(ctx context.Context, p *bench) ([]count, error) {
	few, many := 10_000, 1_000_000
	if p.small {
		few, many = 300, 600
	}
	if _, err := p.postgres(); errors.Is(err, errNoServer) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	shop := postgresShop(p, p.server)
	small, err := newGrown(ctx, p, shop, few)
	if err != nil {
		return nil, err
	}
	large, err := newGrown(ctx, p, shop, many)
	if err != nil {
		return nil, err
	}
	return []count{
		{
			Package: "audit", What: fmt.Sprintf("bytes an event, %d events about one person each, with one field", many),
			Note: "With all indexes, after VACUUM. The rows of the large log were written in bulk, each of them once; 20,000 others waited and were filed, which on PostgreSQL leaves the room of the rows that waited to those that come next. The folder is that of the large log. MariaDB is not measured.",
			Take: func() ([]taken, error) { return eventBytes(ctx, p, large) },
		},
		{
			Package: "audit", What: fmt.Sprintf("questions to logs of %d and of %d entries, PostgreSQL", few, many),
			Note: onPostgres + fmt.Sprintf("Random pages of %d, values opened; 2000 of a kind, or as many as begin within 6 seconds, one at least. A record has about a hundred events, an actor a twentieth of all. Flat is what takes at most twice as long.", pageSize),
			Take: func() ([]taken, error) { return screens(ctx, p, small, large) },
		},
		{
			Package: "audit", What: fmt.Sprintf("memory at %d entries", many),
			Note: "The peak of heap and stacks (runtime/metrics, looked at each millisecond), less what was there before. The sequencer works over PostgreSQL, whose own memory is not in it.",
			Take: func() ([]taken, error) { return peaks(ctx, p, large) },
		},
		{
			Package: "audit", What: "a pass of 100 events beside a long transaction, PostgreSQL",
			Note: fmt.Sprintf("A transaction has a view from before %d rows waited and went, so that the database must keep them in the queue. The rows are short; medians of 11 passes, each with its checkpoint.", many),
			Take: func() ([]taken, error) { return besideLong(ctx, p, large) },
		},
	}, nil
}

// screens asks for pages at random.
func screens(ctx context.Context, p *bench, small, large *grownLog) ([]taken, error) {
	limit := 6 * time.Second
	if p.small {
		limit = 0
	}
	var out []taken
	for _, kind := range []string{"record", "actor"} {
		var p99 [2]float64
		for i, g := range []*grownLog{small, large} {
			times, err := g.pages(ctx, kind, limit)
			if err != nil {
				return nil, err
			}
			p99[i] = quantile(times, 0.99) / 1e6
			out = append(out,
				taken{fmt.Sprintf("by %s, %d entries: 99 of 100 took at most", kind, g.entries), p99[i], "ms", "<= 10 ms"},
				taken{fmt.Sprintf("by %s, %d entries: half of them", kind, g.entries), quantile(times, 0.5) / 1e6, "ms", ""},
				taken{fmt.Sprintf("by %s, %d entries: pages", kind, g.entries), float64(len(times)), "pages", ""})
		}
		out = append(out, taken{fmt.Sprintf("by %s: the second as a multiple of the first", kind), p99[1] / p99[0], "times", "<= 2 times"})
	}
	return out, nil
}

func (g *grownLog) pages(ctx context.Context, kind string, limit time.Duration) ([]float64, error) {
	const most = 2000
	chance, err := newChance(8)
	if err != nil {
		return nil, err
	}
	var times []float64
	found := 0
	for begun := time.Now(); len(times) == 0 || (len(times) < most && time.Since(begun) < limit); {
		entry := g.entries/2 + chance.below(g.entries/2)
		q := screen{at: g.press.when(entry)}
		if kind == "record" {
			q.deal = dealID(chance.below(g.press.deals))
		} else {
			q.actor = actorID(chance.below(g.press.actors))
		}
		start := time.Now()
		n, err := g.ask(ctx, q)
		if err != nil {
			return nil, err
		}
		times = append(times, float64(time.Since(start)))
		found += n
	}
	slices.Sort(times)
	if found < len(times) {
		return nil, fmt.Errorf("%d pages by %s held %d entries", len(times), kind, found)
	}
	return times, nil
}

// peak is the most memory that work has at one time, in MB, beyond what is there.
func peak(work func() error) (float64, error) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	now := func() float64 {
		metrics.Read(samples)
		return float64(samples[0].Value.Uint64()+samples[1].Value.Uint64()) / 1e6
	}
	heap() // collects
	before, most := now(), 0.0
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			most = max(most, now())
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	err := work()
	close(stop)
	<-stopped
	return most - before, err
}

func peaks(ctx context.Context, p *bench, g *grownLog) ([]taken, error) {
	events := 10_000
	if p.small {
		events = 100
	}
	if err := g.press.queue(ctx, events); err != nil {
		return nil, err
	}
	filing, err := peak(func() error {
		_, err := g.file(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	var entries int64
	begun := time.Now()
	reading, err := peak(func() (err error) {
		entries, _, err = verify(ctx, g.dir, g.key)
		return err
	})
	took := time.Since(begun)
	if err == nil && entries < int64(g.entries+events) {
		err = fmt.Errorf("%d entries were verified, of %d", entries, g.entries+events)
	}
	return []taken{
		{fmt.Sprintf("the sequencer files %d events", events), filing, "MB", "<= 64 MB"},
		{"VerifyLog", reading, "MB", "<= 64 MB"},
		{"VerifyLog took", took.Seconds(), "s", ""},
	}, err
}

// besideLong measures passes before and while an old transaction stands.
func besideLong(ctx context.Context, p *bench, g *grownLog) ([]taken, error) {
	rounds := 11
	if p.small {
		rounds = 1
	}
	passes := func() (float64, error) {
		var times []float64
		for range rounds {
			if err := g.press.queue(ctx, 100); err != nil {
				return 0, err
			}
			begun := time.Now()
			if _, err := g.file(ctx); err != nil {
				return 0, err
			}
			times = append(times, float64(time.Since(begun))/1e6)
		}
		return median(times), nil
	}
	before, err := passes()
	if err != nil {
		return nil, err
	}
	long, err := g.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = long.Rollback() }() // it only looks
	for _, statement := range []string{`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`, `SELECT COUNT(*) FROM deals`} {
		if _, err := long.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	for i, statement := range deadRows {
		if i == 0 {
			statement = fmt.Sprintf(statement, g.entries)
		}
		if _, err := g.db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	beside, err := passes()
	if err != nil {
		return nil, err
	}
	return []taken{
		{"without it", before, "ms", ""},
		{"beside it", beside, "ms", ""},
		{"the second as a multiple of the first", beside / before, "times", ""},
	}, nil
}

// eventBytes weighs tables and folders.
func eventBytes(ctx context.Context, p *bench, g *grownLog) ([]taken, error) {
	tables, err := one[float64](ctx, g.db, tableBytes)
	if err != nil {
		return nil, err
	}
	folder, err := folderBytes(g.dir)
	if err != nil {
		return nil, err
	}
	sqlite, err := filedBytes(ctx, p, sqliteShop(p), `VACUUM`, `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`)
	if err != nil {
		return nil, err
	}
	postgres, err := filedBytes(ctx, p, postgresShop(p, p.server), vacuum, tableBytes)
	return []taken{
		{"PostgreSQL, rows written once", tables / float64(g.entries), "B/event", ""},
		{"PostgreSQL, events that waited and were filed", postgres, "B/event", ""},
		{"SQLite, events that waited and were filed", sqlite, "B/event", ""},
		{"the published folder", folder / float64(g.entries), "B/event", ""},
	}, err
}

func folderBytes(dir string) (size float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += float64(info.Size())
		}
		return err
	})
	return size, err
}

// filedBytes is how much a database grows by an event that waited and was filed.
func filedBytes(ctx context.Context, p *bench, s shop, clean, size string) (float64, error) {
	events := 20_000
	if p.small {
		events = 300
	}
	log, press, err := newPressed(ctx, p, s, events)
	if err != nil {
		return 0, err
	}
	weigh := func() (float64, error) {
		if _, err := log.db.ExecContext(ctx, clean); err != nil {
			return 0, err
		}
		return one[float64](ctx, log.db, size)
	}
	before, err := weigh()
	if err != nil {
		return 0, err
	}
	if err := press.queue(ctx, events); err != nil {
		return 0, err
	}
	if _, err := log.file(ctx); err != nil {
		return 0, err
	}
	after, err := weigh()
	return (after - before) / float64(events), err
}

package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

func privacyCounts(ctx context.Context, p *bench) ([]count, error) {
	all, err := engines(p)
	if err != nil {
		return nil, err
	}
	lite := all[0]
	counts := []count{
		{
			Package: "privacy", What: "how often an erasure waits for the disk, SQLite",
			Note: "Counted at one erasure of 19 rows: the driver's hook tells of each commit, which flushes the write-ahead log once; a write-ahead log that was emptied costs three flushes (the log, the database, the head of the log that begins behind it); an entry of the ledger costs one, and a change of its notes two (file and folder).",
			Take: func() ([]taken, error) { return flushes(ctx, p, lite) },
		},
		{
			Package: "privacy", What: "what the ledger's two flushes cost an erasure",
			Note: "The time within Append of the ledger's folder, both entries of an erasure together, on SQLite; half of 50 erasures took at most so long. Beside them what a file alone costs to which two lines of the same length are appended, each flushed.",
			Take: func() ([]taken, error) { return ledgerCosts(ctx, p, lite) },
		},
		{
			Package: "privacy", What: "export of a person with 100,000 rows, SQLite",
			Note: "Desk.Export, encrypted for a recipient. The most that was in the heap at one time, garbage included, beyond what was there before, in a process of its own: in one that holds more, the collector lets more lie about.",
			Take: func() ([]taken, error) { return exportAlone(ctx, p, lite) },
		},
	}
	for _, e := range all {
		counts = append(counts, count{
			Package: "privacy", What: fmt.Sprintf("boot gate at %d entries, %s", fullLedger, e.name),
			Note: "Desk.Ready, half of 21 times; the ledger is on the disk, and its files in the cache of the machine. Warm is a process that has asked before. Cold is a desk that was just opened, and the processor time of the whole process.",
			Take: func() ([]taken, error) { return gates(ctx, p, e) },
		}, count{
			Package: "privacy", What: "replay of 200 among 100,000 persons, " + e.name,
			Note: databaseNote(e) + "100,000 people have a contact, and 200 who were erased come back with their 19 rows each. The ledger is on the disk. Half of five replays took at most so long.",
			Take: func() ([]taken, error) { return replays(ctx, p, e) },
		})
	}
	return counts, nil
}

// ledgerCosts erases 50 people with the ledger on the disk, and in memory.
func ledgerCosts(ctx context.Context, p *bench, e engine) ([]taken, error) {
	const line = 700 // bytes, about those of an entry
	rounds := 50
	if p.small {
		rounds = 2
	}
	appends := func(folder func(string) (string, error)) (float64, error) {
		dir, err := folder("ledger")
		if err != nil {
			return 0, err
		}
		people, err := populate(ctx, e, "desk", bystanders)
		if err != nil {
			return 0, err
		}
		medium := &watched{Medium: erasurelog.Folder(dir)}
		s := deskSetup{people: people, medium: medium}
		if err := s.install(ctx, dir, ""); err != nil {
			return 0, err
		}
		desk, err := s.open(ctx)
		if err != nil {
			return 0, err
		}
		var times []float64
		for range rounds {
			plan, err := people.approved(ctx, desk)
			if err != nil {
				return 0, err
			}
			medium.forget()
			if err := execute(ctx, desk, plan); err != nil {
				return 0, err
			}
			if medium.appends != 2 {
				return 0, fmt.Errorf("the ledger was appended to %d times", medium.appends)
			}
			times = append(times, medium.took.Seconds()*1e3)
		}
		return median(times), nil
	}
	disk, err := appends(p.folder)
	if err != nil {
		return nil, err
	}
	memory, err := appends(p.memory)
	if err != nil {
		return nil, err
	}
	alone, err := plainAppends(p, rounds, line)
	return []taken{
		{"two entries, ledger on the disk", disk, "ms", ""},
		{"two entries, ledger " + p.memoryNote(), memory, "ms", ""},
		{"two lines, a plain file on the disk", alone, "ms", ""},
	}, err
}

// plainAppends is what two flushed lines of a file cost, in milliseconds.
func plainAppends(p *bench, rounds, line int) (_ float64, err error) {
	dir, err := p.folder("plain")
	if err != nil {
		return 0, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lines"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // nobody wants what is in it
	var times []float64
	for range rounds {
		begun := time.Now()
		for range 2 {
			if _, err := file.Write(make([]byte, line)); err != nil {
				return 0, err
			}
			if err := file.Sync(); err != nil {
				return 0, err
			}
		}
		times = append(times, time.Since(begun).Seconds()*1e3)
	}
	return median(times), nil
}

// approved makes a person and approves the plan of erasing them.
func (c *population) approved(ctx context.Context, desk *privacy.Desk) (plan string, err error) {
	people, err := c.add(ctx, 1)
	if err != nil {
		return "", err
	}
	return approved(ctx, desk, people[0])
}

// gates asks a desk whether its database may be served.
func gates(ctx context.Context, p *bench, e engine) ([]taken, error) {
	full, err := p.ledgerOf(ctx, fullLedger)
	if err != nil {
		return nil, err
	}
	dir, err := p.folder("ledger")
	if err != nil {
		return nil, err
	}
	people, err := populate(ctx, e, "gate", bystanders)
	if err != nil {
		return nil, err
	}
	s := deskSetup{people: people, medium: erasurelog.Folder(dir)}
	if err := s.install(ctx, dir, full); err != nil {
		return nil, err
	}
	first, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := first.Replay(ctx); err != nil {
		return nil, err
	}
	var warm, cold, spent []float64
	for range 21 {
		begun := time.Now()
		if err := first.Ready(ctx); err != nil {
			return nil, err
		}
		warm = append(warm, time.Since(begun).Seconds()*1e3)

		heap() // what others have left is collected before
		used, err := processorTime()
		if err != nil {
			return nil, err
		}
		begun = time.Now()
		desk, err := s.open(ctx)
		if err != nil {
			return nil, err
		}
		if err := desk.Ready(ctx); err != nil {
			return nil, err
		}
		cold = append(cold, time.Since(begun).Seconds()*1e3)
		now, err := processorTime()
		if err != nil {
			return nil, err
		}
		spent = append(spent, (now-used).Seconds()*1e3)
	}
	return []taken{
		{"warm", median(warm), "ms", "<= 5 ms"},
		{"cold, processor time", median(spent), "ms", "<= 200 ms"},
		{"cold, by the clock", median(cold), "ms", ""},
	}, nil
}

// replays erases again whom a restore has brought back.
func replays(ctx context.Context, p *bench, e engine) ([]taken, error) {
	persons, erased := 100_000, 200
	if p.small {
		persons, erased = 200, 5
	}
	dir, err := p.folder("ledger")
	if err != nil {
		return nil, err
	}
	people, err := populate(ctx, e, "replay", 0)
	if err != nil {
		return nil, err
	}
	ids := make([]string, persons)
	for i := range ids {
		ids[i] = personID(i)
	}
	gone := ids[:0:0]
	for i := range erased { // one here, one there
		gone = append(gone, ids[i*(persons/erased)])
	}
	stay := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		_, found := slices.BinarySearch(gone, id)
		return found
	})
	if err := within(ctx, people.db, func(tx *sql.Tx) error { return people.insertContacts(ctx, tx, stay) }); err != nil {
		return nil, err
	}
	s := deskSetup{people: people, medium: erasurelog.Folder(dir)}
	if err := s.install(ctx, dir, ""); err != nil {
		return nil, err
	}
	ledger, err := openLedger(s.medium, nil)
	if err != nil {
		return nil, err
	}
	for i, id := range gone {
		plan := fmt.Sprintf("019a8f3e-6d2b-7c51-8f4e-%012d", i)
		for _, op := range []erasurelog.Op{erasurelog.Intent, erasurelog.Done} {
			if err := appendEntry(ctx, ledger, op, plan, id); err != nil {
				return nil, err
			}
		}
	}
	desk, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	var times []float64
	for range 5 {
		if err := people.insert(ctx, gone); err != nil {
			return nil, err
		}
		begun := time.Now()
		r, err := desk.Replay(ctx)
		if err != nil {
			return nil, err
		}
		times = append(times, time.Since(begun).Seconds())
		if r.Erased != erased || r.People != persons {
			return nil, fmt.Errorf("%d of %d people were erased again", r.Erased, r.People)
		}
	}
	return []taken{{fmt.Sprintf("%d among %d", erased, persons), median(times), "s", "<= 0.5 s"}}, nil
}

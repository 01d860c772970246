package main

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// verified is a published log of its own: nobody needs its tables.
type verified struct {
	dir, key string
	entries  int
}

func newVerified(ctx context.Context, p *bench) (*verified, error) {
	entries := 1 << 17
	if p.small {
		entries = 600
	}
	log, press, err := newPressed(ctx, p, sqliteShop(p), entries)
	if err != nil {
		return nil, err
	}
	return &verified{log.dir, log.key, entries}, press.publish(ctx, entries, false)
}

type verifier func(ctx context.Context, dir, key string) (entries int64, root [32]byte, err error)

// on is a contestant that reads the log on some cores.
func (v *verified) on(ctx context.Context, name string, role role, cores int, read verifier, must ...string) contestant {
	before := runtime.GOMAXPROCS(0)
	return contestant{
		Name: name, Role: role, Must: must,
		Answer: func() (string, error) {
			entries, root, err := read(ctx, v.dir, v.key)
			return fmt.Sprintf("%d entries, root %x", entries, root), err
		},
		Setup: func(int) error {
			runtime.GOMAXPROCS(cores)
			return nil
		},
		Run: func(n int) error {
			for range n {
				entries, _, err := read(ctx, v.dir, v.key)
				if err != nil || entries != int64(v.entries) {
					return fmt.Errorf("%d entries of %d: %w", entries, v.entries, err)
				}
			}
			return nil
		},
		Clean: func() error {
			runtime.GOMAXPROCS(before)
			return nil
		},
	}
}

// verifyContests read a log that is in the page cache. What everybody must find is
// the root of all entries.
func verifyContests(ctx context.Context, p *bench) ([]contest, error) {
	v, err := newVerified(ctx, p)
	if err != nil {
		return nil, err
	}
	const note = "The folder is in the page cache for both. Ours reads hashes, and of the leaves only those that are about the log itself; the peer proves each entry against the signed root by its hash tiles, in one thread (GOMAXPROCS=1)."
	var out []contest
	for _, one := range []struct {
		cores      int
		name, must string
	}{{1, "one core", ">= 1"}, {2, "two cores", ">= 1.6"}} {
		out = append(out, contest{
			Package: "audit", What: fmt.Sprintf("verify a published log of %d entries, hashes only, %s", v.entries, one.name), Note: note, Time: 15 * time.Second,
			Contestants: []contestant{
				v.on(ctx, fmt.Sprintf("VerifyHashes, GOMAXPROCS=%d", one.cores), ours, one.cores, verifyHashes),
				v.on(ctx, "torchwood AllEntries, GOMAXPROCS=1", peer, 1, torchwoodReads, one.must),
			},
		})
	}
	return out, nil
}

func verifyCounts(ctx context.Context, p *bench) ([]count, error) {
	return []count{{
		Package: "audit", What: "VerifyLog, every leaf parsed and checked",
		Note: "The median of three verifications of a log in the page cache.",
		Take: func() ([]taken, error) { return parsedEntries(ctx, p) },
	}}, nil
}

func parsedEntries(ctx context.Context, p *bench) ([]taken, error) {
	v, err := newVerified(ctx, p)
	if err != nil {
		return nil, err
	}
	rounds := 3
	if p.small {
		rounds = 1
	}
	var out []taken
	for _, cores := range []int{1, 2} {
		c := v.on(ctx, "VerifyLog", ours, cores, verify)
		var times []float64
		for range rounds {
			err := c.block(1, func() error {
				begun := time.Now()
				err := c.Run(1)
				times = append(times, float64(time.Since(begun))/float64(v.entries)/1e3)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		out = append(out, taken{fmt.Sprintf("%d entries, GOMAXPROCS=%d", v.entries, cores), median(times), "µs/entry", ""})
	}
	out[0].Must = "<= 4 µs/entry"
	return out, nil
}

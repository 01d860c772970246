// Peers measures the six packages of crmguard against other systems, all in
// one run, and writes RESULTS.md and results.json beside itself:
//
//	./run                      everything, about twenty minutes
//	./run -only audit,backup   some packages, printed only
//
// Its tests let foreign programs judge what the packages write. It is a module
// of its own, so that nobody who imports crmguard meets what is compared here.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	var (
		r      = newRunner(os.Stdout)
		only   = flag.String("only", "", "packages to measure, or parts of encryption (fields, statements, reseal, pages, counts), accesscontrol (checks, filters, lists, joins, reloads), audit (sales, filing, verifying, million) and privacy (erasures, desk), with commas between; the files are not written then")
		out    = flag.String("out", ".", "folder for RESULTS.md and results.json")
		commit = flag.String("commit", "unknown", "the commit that is measured, for the report")
	)
	flag.IntVar(&r.pairs, "pairs", r.pairs, "pairs of blocks in a contest")
	flag.IntVar(&r.runs, "runs", r.runs, "pairs of single runs, where a run is longer than a block")
	flag.Parse()
	if os.Getenv(exportOnly) != "" {
		if err := exportHere(context.Background(), os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "peers:", err)
			os.Exit(1)
		}
		return
	}
	if err := measureAll(context.Background(), r, *only, *out, *commit); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func measureAll(ctx context.Context, r *runner, only, out, commit string) error {
	if r.pairs < 200 || r.runs < r.wanted {
		return fmt.Errorf("at least 200 pairs of blocks and %d of runs", r.wanted)
	}
	begun, load := time.Now(), machineLoad()
	var outcomes []outcome
	var tallies []tally
	for _, s := range stages() {
		if only != "" && !slices.ContainsFunc(strings.Split(only, ","), func(o string) bool { return o == s.Package || o == s.Name }) {
			continue
		}
		some, counted, err := s.measure(ctx, r)
		if err != nil {
			return err
		}
		outcomes, tallies = append(outcomes, some...), append(tallies, counted...)
	}
	took := time.Since(begun)
	r.say("%d contests in %s\n", len(outcomes), took.Round(time.Second))
	if only != "" {
		r.say("a part only: RESULTS.md and results.json stay as they are\n")
		return nil
	}
	return writeResults(out, r, outcomes, tallies, provenanceOf(r, commit, took, load))
}

func (s stage) measure(ctx context.Context, r *runner) (out []outcome, counted []tally, err error) {
	p, err := newBench(false)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if closing := p.close(); err == nil {
			err = closing
		}
	}()
	contests, err := s.Set(ctx, p)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.Package, err)
	}
	for _, c := range contests {
		o, err := r.run(c)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, o)
	}
	if s.Counts == nil {
		return out, nil, nil
	}
	counts, err := s.Counts(ctx, p)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.Package, err)
	}
	for _, c := range counts {
		t, err := r.count(c)
		if err != nil {
			return nil, nil, err
		}
		counted = append(counted, t)
	}
	return out, counted, nil
}

// Peers measures the six packages of crmguard against other systems, all in
// one run, and writes RESULTS.md and results.json beside itself:
//
//	./run                      everything, about five minutes
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
	"testing"
	"time"
)

func main() {
	testing.Init()
	var (
		only   = flag.String("only", "", "packages to measure, with commas between; the files are not written then")
		rounds = flag.Int("rounds", 5, "rounds of each contest")
		round  = flag.String("time", "200ms", "how long one contestant runs in a round")
		out    = flag.String("out", ".", "folder for RESULTS.md and results.json")
		commit = flag.String("commit", "unknown", "the commit that is measured, for the report")
	)
	flag.Parse()
	r := &runner{rounds: *rounds, benchTime: *round, progress: os.Stdout}
	if err := measureAll(context.Background(), r, *only, *out, *commit); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func measureAll(ctx context.Context, r *runner, only, out, commit string) error {
	if r.rounds < 1 {
		return fmt.Errorf("no rounds, no figures")
	}
	begun := time.Now()
	var outcomes []outcome
	for _, s := range stages() {
		if only != "" && !slices.Contains(strings.Split(only, ","), s.Package) {
			continue
		}
		some, err := s.measure(ctx, r)
		if err != nil {
			return err
		}
		outcomes = append(outcomes, some...)
	}
	took := time.Since(begun)
	r.say("%d contests in %s\n", len(outcomes), took.Round(time.Second))
	if only != "" {
		r.say("a part only: RESULTS.md and results.json stay as they are\n")
		return nil
	}
	return writeResults(out, outcomes, provenanceOf(r, commit, took))
}

func (s stage) measure(ctx context.Context, r *runner) (out []outcome, err error) {
	p, err := newBench(false)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closing := p.close(); err == nil {
			err = closing
		}
	}()
	contests, err := s.Set(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Package, err)
	}
	for _, c := range contests {
		o, err := r.run(c)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

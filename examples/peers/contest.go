package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A contest is one thing measured: ours, the others that do the same, and the
// floor, which is what the work costs when nothing is promised.
type contest struct {
	Package     string       // the room of the library that is measured
	What        string       // one line, the same in every run
	Note        string       // what a reader must know to judge the figures
	Contestants []contestant // ours first
	// Limits are what is demanded of ours by itself. See [limit].
	Limits []string
	// Time is how long its rounds may take; 0 is what the runner allows. Fewer
	// rounds than wanted are said.
	Time time.Duration
}

// A contestant is one way to do the work.
type contestant struct {
	Name string
	Role role
	// Answer does the work once, in the open, and says what came out. All
	// contestants of a contest must say the same: a benchmark of a wrong
	// answer does not count. It is asked before the first and after the last
	// round.
	Answer func() (string, error)
	// Run does the work n times and is measured. An error voids the contest.
	Run func(n int) error
	// Setup makes ready for n runs and Clean tidies up after them, both off
	// the clock; nil where there is nothing to do.
	Setup func(n int) error
	Clean func() error
	// Must is what is demanded of ours against this contestant, a row of the
	// results each; nil if the ratio is only printed. See [demand].
	Must []string
}

// block does n runs by way of work, with all that belongs to them.
func (c contestant) block(n int, work func() error) (err error) {
	if c.Setup != nil {
		err = c.Setup(n)
	}
	if err == nil {
		err = work()
	}
	if c.Clean != nil {
		err = errors.Join(err, c.Clean())
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", c.Name, err)
	}
	return err
}

type role string

const (
	ours  role = "ours"
	peer  role = "peer"
	floor role = "floor"
)

// A bench is the place in which contests are set up.
type bench struct {
	dir     string // temporary, for databases and repositories
	small   bool   // tests want a run that is right, not one that tells much
	folders int
	server  *server // of PostgreSQL, once it is wanted
	closers []func() error
}

func newBench(small bool) (*bench, error) {
	dir, err := os.MkdirTemp("", "crmguard-peers-")
	if err != nil {
		return nil, err
	}
	p := &bench{dir: dir, small: small}
	p.atEnd(func() error { return os.RemoveAll(dir) })
	return p, nil
}

// folder makes a new empty folder.
func (p *bench) folder(name string) (string, error) {
	p.folders++
	dir := filepath.Join(p.dir, fmt.Sprintf("%03d-%s", p.folders, name))
	return dir, os.Mkdir(dir, 0o700)
}

func (p *bench) atEnd(f func() error) { p.closers = append(p.closers, f) }

func (p *bench) close() error {
	var first error
	for i := len(p.closers) - 1; i >= 0; i-- {
		if err := p.closers[i](); err != nil && first == nil {
			first = err
		}
	}
	p.closers = nil
	return first
}

// A stage sets up contests that share their material.
type stage struct {
	Package string
	Name    string // of a part of the package's contests, which can be run alone
	Set     func(ctx context.Context, p *bench) ([]contest, error)
	Counts  func(ctx context.Context, p *bench) ([]count, error) // nil where there are none
}

// stages are in the order of the report.
func stages() []stage {
	return []stage{
		{Package: "encryption", Name: "fields", Set: encryptionContests},
		// apart, since what these have in memory makes the garbage collector come
		// less often, which those who allocate profit from
		{Package: "encryption", Name: "statements", Set: statementContests},
		{Package: "encryption", Name: "reseal", Set: resealContests},
		{Package: "encryption", Name: "pages", Set: pageContests},
		{Package: "encryption", Name: "counts", Set: nobody, Counts: encryptionCounts},
		{Package: "accesscontrol", Name: "checks", Set: checkContests},
		{Package: "accesscontrol", Name: "filters", Set: filterContests},
		{Package: "accesscontrol", Name: "lists", Set: listContests},
		{Package: "accesscontrol", Name: "joins", Set: joinContests},
		{Package: "accesscontrol", Name: "reloads", Set: reloadContests, Counts: reloadCounts},
		{Package: "audit", Name: "sales", Set: saleContests},
		{Package: "audit", Name: "filing", Set: filingContests, Counts: filingCounts},
		{Package: "audit", Name: "verifying", Set: verifyContests, Counts: verifyCounts},
		{Package: "audit", Name: "million", Set: nobody, Counts: millionCounts},
		{Package: "backup", Set: backupContests},
		{Package: "integrity", Set: integrityContests},
		{Package: "privacy", Name: "erasures", Set: privacyContests},
		{Package: "privacy", Name: "desk", Set: nobody, Counts: privacyCounts},
	}
}

// agree asks every contestant for its answer and compares them.
func (c contest) agree() error {
	want := ""
	for i, one := range c.Contestants {
		got, err := one.Answer()
		if err != nil {
			return fmt.Errorf("%s, %s: %s: %w", c.Package, c.What, one.Name, err)
		}
		if got == "" {
			return fmt.Errorf("%s, %s: %s gives no answer", c.Package, c.What, one.Name)
		}
		if i == 0 {
			want = got
		}
		if got != want {
			return fmt.Errorf("%s, %s: %s answers %q, %s answers %q", c.Package, c.What, c.Contestants[0].Name, want, one.Name, got)
		}
	}
	return nil
}

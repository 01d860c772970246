package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// searchForGhosts looks for the forgotten person in every byte below the
// folder. The same search, run before the erasure, found every canary: a
// search that cannot find proves nothing.
func searchForGhosts(ctx context.Context, c *crm) error {
	after, err := c.hunt(ctx)
	if err != nil {
		return err
	}
	c.after = after
	c.figures["found_before"], c.figures["found_after"] = c.before.total(), after.total()
	c.figures["files"], c.figures["snapshots"] = after.files, after.snapshots
	c.figures["own_values"] = len(c.ownValues)
	c.out.say("searched: %d values, %d canaries and %d wrapped keys in %s forms that nothing else produces, raw and through every key that exists",
		len(c.ownValues), len(c.canaries), len(c.wrapped), thousands(len(c.ghosts.patterns)))
	c.figures["from_file"] = c.tracesOfFile()
	if c.figures["from_file"] == 0 {
		c.partNotShown("search", "values", "no value of the file tells the forgotten person from the others: only the planted canaries and the keys were searched")
	}
	c.out.say("before the erasure: found %s times; now: %d in %d files and %d snapshots", thousands(c.before.total()), after.total(), after.files, after.snapshots)
	must := append(canaryNames(), "wrapped key")
	for _, what := range sealedFields() {
		if c.ownValues[what] {
			must = append(must, what)
		}
	}
	var blind []string
	for _, what := range must {
		if c.before.count[what] == 0 {
			blind = append(blind, what)
		}
	}
	for _, what := range canaryNames() {
		for _, place := range []string{"live", "snapshot " + c.snapshot[:8] + " of store a", "snapshot " + c.snapshot[:8] + " of store b"} {
			if !c.before.places[what][place] {
				blind = append(blind, what+" in "+place)
			}
		}
	}
	if err := expectThat(len(blind) == 0, "the search before the erasure to find everything that it searches", "nothing of: %s", strings.Join(blind, ", ")); err != nil {
		return err
	}
	var places []string
	for what, count := range after.count {
		places = append(places, fmt.Sprintf("%s %d times, last in %s", what, count, after.where[what]))
	}
	slices.Sort(places)
	return expectThat(after.total() == 0, "nothing of the forgotten person", "%s", strings.Join(places, "; "))
}

// tracesOfFile counts the values that came with the file and are searched,
// without what the tour planted in place of them.
func (c *crm) tracesOfFile() int {
	n := 0
	for label := range c.ownValues {
		switch label {
		case "custom", "job_title", freeText, "former value of the tour", ownColumn:
		default:
			n++
		}
	}
	return n
}

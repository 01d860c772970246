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
	c.out.say("searched: %d values, canaries and wrapped keys in %s forms, raw and through every key that exists", len(c.uniqueValues(c.gone))+len(c.canaries)+len(c.wrapped), thousands(len(c.ghosts.patterns)))
	c.out.say("before the erasure: found %s times; now: %d in %d files and %d snapshots", thousands(c.before.total()), after.total(), after.files, after.snapshots)
	must := append(canaryNames(), "email", "phone", "street", "username", "wrapped key")
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

package randomschema

import (
	"slices"

	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// merge draws who was merged into whom, and who kept that one's address.
func (c *Case) merge(d *drawer) {
	c.into, c.oneAddress, c.same = make([]int, len(c.People)), make([]bool, len(c.People)), make([]int, len(c.People))
	for n := range c.People {
		c.into[n], c.same[n] = wholedb.Nobody, wholedb.Nobody
		if d.opts.Shared && d.shared && !d.twins && n >= 2 && d.upTo(0, 3, "an address of somebody else") == 0 {
			c.same[n] = n - 2
			continue
		}
		if d.tables[0].mapped.Merged == "" || n < 2 || !d.yes("was merged") {
			continue
		}
		if into := d.upTo(0, n-1, "into"); into%2 == n%2 {
			c.into[n] = into
			c.oneAddress[n] = d.shared && d.yes("one address")
		}
	}
}

// sole reports whether nobody has the person's address who is not erased with them:
// only then does it lead to anything.
func (c *Case) sole(person int) bool {
	group := c.Group(person)
	for n := range c.People {
		if c.email(n) == c.email(person) && !slices.Contains(group, n) {
			return false
		}
	}
	return true
}

// Shared reports whether persons who are not merged have one address.
func (c *Case) Shared() bool {
	return slices.ContainsFunc(c.same, func(n int) bool { return n != wholedb.Nobody })
}

// Group are the persons who are erased with this one, and this one, sorted:
// merged into each other, however often.
func (c *Case) Group(person int) []int {
	all := []int{person}
	for more := true; more; {
		more = false
		for n, into := range c.into {
			if into == wholedb.Nobody || slices.Contains(all, n) == slices.Contains(all, into) {
				continue
			}
			if more = true; slices.Contains(all, n) {
				n = into
			}
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

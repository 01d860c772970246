package testdb

// Counts is what was said to a database through a Cutter, and what came back.
type Counts struct {
	Statements int // their texts, COMMIT not among them
	Rows       int // that were read
	Commits    int
}

// Counts returns what there was since it was asked last.
func (c *Cutter) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.counts
	c.counts = Counts{}
	return out
}

func (c *Cutter) count(more Counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Statements += more.Statements
	c.counts.Rows += more.Rows
	c.counts.Commits += more.Commits
}

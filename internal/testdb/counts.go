package testdb

// Counts is what was said to a database through a Cutter, and what came back.
type Counts struct {
	Statements int // their texts, COMMIT not among them
	Rows       int // that were read
}

// Counts returns what there was since it was asked last.
func (c *Cutter) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.counts
	c.counts = Counts{}
	return out
}

func (c *Cutter) count(statements, rows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Statements += statements
	c.counts.Rows += rows
}

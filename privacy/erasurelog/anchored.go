package erasurelog

import "context"

// Anchored is the ledger with what its anchors answered at one moment: for whoever
// reads and appends within a transaction of a database in which an anchor may
// stand. Asked within it, an anchor could wait for the connection that the
// transaction has. It is used soon: what an anchor has kept since is not compared.
// Safe for concurrent use.
type Anchored struct {
	log   *Log
	heads []Kept
}

// Anchored asks the anchors. One that does not answer is an [*AnchorError].
func (l *Log) Anchored(ctx context.Context) (Anchored, error) {
	heads, err := l.Anchors(ctx)
	return Anchored{l, heads}, err
}

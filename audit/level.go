package audit

import "context"

// level refuses where the database is behind the published log: what is recorded
// there about a person is not all that there is, and what CatchUp brings back would
// not be erased. The state row is believed without its tag, because who damages it
// must hold up no erasure, and so must a sink that does not answer, where this
// process has seen what is published before.
func (t *Trail) level(ctx context.Context) error {
	head, err := t.head(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	known := t.memory.published()
	if err != nil && known.N == 0 {
		return err
	}
	s, err := t.stored(ctx, t.db)
	if err != nil {
		return nil // there is none: RebuildTiles, and no restore
	}
	if n := max(head.N, known.N, t.memory.recall().N); n > s.N {
		return &BehindError{Database: s.N, Published: n}
	}
	return nil
}

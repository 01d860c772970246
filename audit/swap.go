package audit

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// swaps bounds how often a checkpoint is tried that another process replaces
// at the same time: each time, that one has published.
const swaps = 8

// replace puts a signed checkpoint into the sink, unless a larger one is there:
// it never goes backwards. What keeps a process from it that stood still since
// it signed, for however long, is the sink's own comparison. No lock of the
// database is held while the sink works: sales wait for those.
func (t *Trail) replace(ctx context.Context, tree tlog.Tree, signed []byte, r *Result) error {
	for range swaps {
		old, head, found, err := t.checkpoint(ctx)
		if err != nil {
			return err
		}
		s, err := t.state(ctx, t.db) // after the head: it is never behind in a sound system
		if err != nil {
			return err
		}
		if err := t.guard(ctx, s, head); err != nil {
			return err
		}
		if err := t.contains(ctx, s, tree); err != nil {
			return err
		}
		if head.N < tree.N {
			err := t.swapCheckpoint(ctx, old, found, signed)
			if errors.Is(err, ErrChanged) {
				continue
			}
			if err != nil {
				return err
			}
			head = tree
		}
		// Also where the checkpoint is there already: the transaction of the one
		// who wrote it may not have committed.
		r.Published = head.N
		return t.markPublished(ctx, head.N)
	}
	return fmt.Errorf("%w: others kept replacing the checkpoint", ErrChanged)
}

// swapCheckpoint replaces what was read under the checkpoint's name.
func (t *Trail) swapCheckpoint(ctx context.Context, old []byte, found bool, signed []byte) error {
	switch {
	case !found:
		old = nil
	case old == nil:
		old = []byte{} // a file without bytes is there
	}
	return t.config.Sink.SwapFile(ctx, auditlog.CheckpointFile, old, signed)
}

// contains refuses a tree that the database has lost since it was signed: it
// was restored meanwhile.
func (t *Trail) contains(ctx context.Context, s state, tree tlog.Tree) error {
	if s.Tree == tree {
		return nil
	}
	if s.N < tree.N {
		return &BehindError{Database: s.N, Published: tree.N}
	}
	root, err := tlog.TreeHash(tree.N, t.rows(t.db).Reader(ctx, s.Tree))
	if err == nil && root != tree.Hash {
		err = fmt.Errorf("%w: the database's first %d entries are not those that were signed", auditlog.ErrForked, tree.N)
	}
	return err
}

// markPublished remembers in the database that this much was published, which
// tells a lost log from a new one.
func (t *Trail) markPublished(ctx context.Context, size int64) error {
	return t.advance(ctx, t.memory.recall, func(s state) (state, func(tx HandoverTx) error, error) {
		if s.published >= size {
			return s, nil, nil
		}
		s.published = size
		return s, func(HandoverTx) error { return nil }, nil
	})
}

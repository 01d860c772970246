package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// Republish makes the published log whole again from the database: a folder
// that is gone, a checkpoint that is lost or torn, tiles and bundles that are
// missing or damaged. Each file is compared and written where it differs, then
// a checkpoint is signed unless the one that stands is of as many entries.
//
// It needs a kept checkpoint (Config.Kept, else [ErrUnanchored]), and proves
// before it writes that the database continues what was kept and what is still
// published: auditlog.ErrRolledBack, ErrBehind and auditlog.ErrForked mean that it does not, and
// nothing was written. For entries newer than the kept checkpoint the tag of the
// state row vouches; that the last of them are missing shows only where a newer
// checkpoint was kept. auditlog.ErrTampered means that the database is damaged
// itself: [Trail.RebuildTiles] mends its tiles. Whatever is written leaves an
// event audit.republish. It can be interrupted and repeated.
func (t *Trail) Republish(ctx context.Context) (r Repair, err error) {
	if err := t.ready(); err != nil {
		return r, err
	}
	record := sync.OnceValue(func() error { return t.recordRepair(ctx, "audit.republish", &r) })
	for range swaps {
		if err = t.republish(ctx, &r, record); !errors.Is(err, ErrChanged) {
			break
		}
	}
	if err != nil {
		return r, fmt.Errorf("audit: republish: %w", err)
	}
	return r, nil
}

func (t *Trail) republish(ctx context.Context, r *Repair, record func() error) error {
	seen := t.memory.recall()
	kept, err := t.keptTree(ctx) // first, then the head, then the state: none is behind the one before in a sound system
	if err != nil {
		return err
	}
	old, head, found, err := t.standing(ctx)
	if err != nil {
		return err
	}
	s, err := t.state(ctx, t.db)
	if err != nil {
		return err
	}
	r.Kept, r.Size = kept.N, s.N
	if err := s.notRewound(kept, head, seen); err != nil {
		return err
	}
	if head.N == 0 && found {
		if err := s.notCut(t.origin, old); err != nil {
			return err
		}
	}
	reader := t.rows(t.db).Reader(ctx, s.Tree)
	if err := s.proves(kept, head, seen, func(n int64) (tlog.Hash, error) { return tlog.TreeHash(n, reader) }); err != nil {
		return err
	}
	if err := t.mendFiles(ctx, s, r, record); err != nil {
		return err
	}
	if head.N < s.N {
		if err := record(); err != nil {
			return err
		}
		signed, err := t.sign(s.Tree)
		if err != nil {
			return err
		}
		if err := t.swapCheckpoint(ctx, old, found, signed); err != nil {
			return err
		}
		r.Signed = true
	}
	if err := t.prunedSince(ctx, s.pruned); err != nil {
		return err
	}
	return t.markPublished(ctx, s.N)
}

// mendFiles writes what the sink does not have as the database has it. What
// cannot be read is written anew, too.
func (t *Trail) mendFiles(ctx context.Context, s state, r *Repair, record func() error) error {
	for f, err := range t.files(ctx, s.Tree, 0, s.pruned) {
		if err != nil {
			if err = t.unlessPruned(ctx, s, err, ErrChanged); errors.Is(err, ErrChanged) {
				err = cmp.Or(t.prunedSince(ctx, s.pruned), err)
			}
			return err
		}
		r.Checked++
		data, err := t.config.Sink.ReadFile(ctx, f.name)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && bytes.Equal(data, f.data) {
			continue
		}
		if err := record(); err != nil {
			return err
		}
		if err := t.config.Sink.WriteFile(ctx, f.name, f.data); err != nil {
			return err
		}
		r.Written++
	}
	return nil
}

package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// A copy is a sink that gets what is published after it is published: the same
// files, and the same checkpoint in place of the older one of the same log. It
// is worked for beside the passes of the sequencer, by one goroutine at a time:
// what hangs without an end can be waited for by nobody else.

// copyCall bounds one call of the sink of a copy or of the mirror.
const copyCall = 30 * time.Second

// duplicate is what this process knows of a copy.
type duplicate struct {
	sink Sink
	name string // as Config names it

	lane
	head   tlog.Tree // its checkpoint, as last read
	unread error     // why Status could not read it the last time

	full int64 // tiles of level 0 that stand, full, and their bundles: it goes on from there
}

// declareCopies makes the list of copies.
func (t *Trail) declareCopies() error {
	for i, sink := range t.config.Copies {
		if sink == nil {
			return invalid("open: Copies[%d] is nil", i)
		}
		t.copies = append(t.copies, &duplicate{sink: sink, name: "Copies[" + strconv.Itoa(i) + "]"})
	}
	return nil
}

// copyAll gives each copy its turn. It waits for them, but no longer than a pause
// between two passes is; turns go on without it, until the context ends, and no
// copy has two.
func (t *Trail) copyAll(ctx context.Context) {
	turns := make([]<-chan struct{}, 0, len(t.copies))
	for _, c := range t.copies {
		if turn := c.begin(t.now(), false, func() { t.copyTurn(ctx, c) }); turn != nil {
			turns = append(turns, turn)
		}
	}
	t.await(ctx, turns)
}

// copyTurn fills a copy, and remembers how that went.
func (t *Trail) copyTurn(ctx context.Context, c *duplicate) {
	err := t.fillCopy(ctx, c)
	if ctx.Err() != nil {
		return // who cut it short is no fault of the copy
	}
	c.went(err, t.now())
	if err != nil {
		t.observe(ctx, "audit.copy.failed", 1, slog.String("copy", c.name))
	}
}

// fillCopy brings a copy to where the published log is. What contradicts is looked at
// once more, as everywhere: a store may have answered late.
func (t *Trail) fillCopy(ctx context.Context, c *duplicate) error {
	sink := timed{Sink: c.sink, back: func() { c.saw(t.now()) }}
	for try := range swaps {
		old, theirs, _, err := t.checkpointIn(ctx, sink) // first: it is never ahead of what is published
		if err != nil {
			return err
		}
		c.reached(theirs)
		signed, head, _, err := t.checkpoint(ctx)
		if err != nil {
			return err
		}
		if err := t.continues(ctx, theirs, head); err != nil {
			if contradicts(err) && try == 0 {
				continue
			}
			return err
		}
		if head.N == 0 || bytes.Equal(old, signed) {
			return nil
		}
		if err := t.copyTiles(ctx, c, sink, theirs, head); err != nil {
			return err
		}
		err = sink.SwapFile(ctx, auditlog.CheckpointFile, old, signed)
		if errors.Is(err, ErrChanged) {
			continue
		}
		if err != nil {
			return err
		}
		c.reached(head)
		return t.dropPartial(ctx, sink, theirs.N, head.N)
	}
	return fmt.Errorf("%w: others kept replacing the checkpoint of the copy", ErrChanged)
}

// continues refuses a copy that the published log does not continue: it knows of
// entries that are not there any more, and is what proves that.
func (t *Trail) continues(ctx context.Context, theirs, head tlog.Tree) error {
	if theirs == head {
		return nil
	}
	if theirs.N > head.N {
		return fmt.Errorf("%w: a copy has %d entries, the published log %d", auditlog.ErrRolledBack, theirs.N, head.N)
	}
	same, err := extends(t.rows(t.db).Reader(ctx, head), theirs)
	if err == nil && !same {
		err = fmt.Errorf("%w: a copy and the published log differ within the first %d entries", auditlog.ErrForked, theirs.N)
	}
	return err
}

// copyTiles writes what a copy of the tree theirs lacks of head. What it wrote
// before it failed the last time it does not write again.
func (t *Trail) copyTiles(ctx context.Context, c *duplicate, sink Sink, theirs, head tlog.Tree) error {
	done, err := c.stands(ctx, sink)
	if err != nil {
		return err
	}
	for _, tile := range tlog.NewTiles(c2sp.TileHeight, theirs.N, head.N) {
		if tile.L == 0 && tile.N < done {
			continue
		}
		write := []tlog.Tile{tile}
		if tile.L == 0 {
			write = append(write, c2sp.Tile(-1, tile.N, tile.W))
		}
		for _, tile := range write {
			data, err := t.publishedTile(ctx, head, tile)
			if err == nil {
				err = sink.WriteFile(ctx, c2sp.TilePath(tile), data)
			}
			if err != nil {
				return err
			}
		}
		if tile.L == 0 && tile.W == c2sp.TileWidth {
			c.wrote(tile.N + 1)
		}
	}
	return nil
}

// stands says how many tiles of level 0 this process wrote to a copy: they go
// there in their order. Where the last of them is gone, somebody emptied it: none.
func (c *duplicate) stands(ctx context.Context, sink Sink) (int64, error) {
	c.mu.Lock()
	full := c.full
	c.mu.Unlock()
	if full == 0 {
		return 0, nil
	}
	_, err := sink.ReadFile(ctx, c2sp.TilePath(c2sp.Tile(-1, full-1, c2sp.TileWidth)))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return full, err
}

func (c *duplicate) wrote(full int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = full
}

// reached notes the checkpoint of the copy.
func (c *duplicate) reached(head tlog.Tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head, c.unread = head, nil
}

// timed bounds each call of the sink of a copy or of the mirror, and tells when one came back.
type timed struct {
	Sink
	back func()
}

func (s timed) ReadFile(ctx context.Context, name string) ([]byte, error) {
	defer s.back()
	ctx, cancel := context.WithTimeout(ctx, copyCall)
	defer cancel()
	return s.Sink.ReadFile(ctx, name)
}

func (s timed) WriteFile(ctx context.Context, name string, data []byte) error {
	defer s.back()
	ctx, cancel := context.WithTimeout(ctx, copyCall)
	defer cancel()
	return s.Sink.WriteFile(ctx, name, data)
}

func (s timed) SwapFile(ctx context.Context, name string, old, data []byte) error {
	defer s.back()
	ctx, cancel := context.WithTimeout(ctx, copyCall)
	defer cancel()
	return s.Sink.SwapFile(ctx, name, old, data)
}

// RemoveAll removes a folder where the sink can.
func (s timed) RemoveAll(ctx context.Context, name string) error {
	remover, ok := s.Sink.(Remover)
	if !ok {
		return nil
	}
	defer s.back()
	ctx, cancel := context.WithTimeout(ctx, copyCall)
	defer cancel()
	return remover.RemoveAll(ctx, name)
}

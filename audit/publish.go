package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// checkpoint reads and verifies the published checkpoint; found is false where
// there is none.
func (t *Trail) checkpoint(ctx context.Context) (signed []byte, tree tlog.Tree, found bool, err error) {
	return t.checkpointIn(ctx, t.config.Sink)
}

func (t *Trail) checkpointIn(ctx context.Context, sink Sink) (signed []byte, tree tlog.Tree, found bool, err error) {
	signed, err = sink.ReadFile(ctx, auditlog.CheckpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tlog.Tree{}, false, nil
	}
	if err != nil {
		return nil, tlog.Tree{}, false, fmt.Errorf("audit: read checkpoint: %w", err)
	}
	tree, err = t.trust().Checkpoint(signed)
	return signed, tree, true, err
}

func (t *Trail) head(ctx context.Context) (tlog.Tree, error) {
	_, tree, _, err := t.checkpoint(ctx)
	return tree, err
}

// trust is what the trail believes of a checkpoint: its own keys.
func (t *Trail) trust() auditlog.Trust {
	return auditlog.Trust{Key: t.config.Verifier, Former: t.config.Former}
}

// Checkpoint returns the newest published checkpoint, a signed note. Keep it
// in another administrative domain: it is what shows later that entries were
// cut off or the log rewritten.
func (t *Trail) Checkpoint(ctx context.Context) ([]byte, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	signed, _, found, err := t.checkpoint(ctx)
	if err == nil && !found {
		err = ErrNotPublished
	}
	return signed, err
}

// publish writes what the sink lacks of the committed tree, then signs, then
// replaces the checkpoint. Each step can be repeated by anyone.
func (t *Trail) publish(ctx context.Context, r *Result) error {
	v, err := t.look(ctx, false)
	r.Size, r.Published = v.state.N, v.head.N
	if err != nil {
		return err
	}
	if v.state.N == v.head.N && v.state.published >= v.head.N {
		return nil
	}
	if t.config.Kept != nil { // something is to be signed
		if v, err = t.look(ctx, true); err != nil {
			return err
		}
	}
	s, head := v.state, v.head
	var over overwritten
	write := func() error { return t.writeTiles(ctx, s.Tree, head.N, &over) }
	if err := t.findBeside(ctx, s.N-head.N, r.ahead, write); err != nil {
		t.giveBack(ctx, over, err)
		return fmt.Errorf("audit: publish: %w", err)
	}
	t.mirror(ctx)
	signed, err := t.sign(s.Tree)
	if err != nil {
		return fmt.Errorf("audit: publish: %w", err)
	}
	if err := t.keepHead(ctx, s.Tree, signed); err != nil {
		return fmt.Errorf("audit: publish: %w", err)
	}
	if err := t.replace(ctx, s.Tree, signed, r); err != nil {
		t.giveBack(ctx, over, err)
		return fmt.Errorf("audit: publish: %w", err)
	}
	t.memory.remember(s.Tree, s.Tree) // it, or one that extends it, is published
	return t.dropPartial(ctx, t.config.Sink, head.N, s.N)
}

// file is a file of the published log.
type file struct {
	name string
	data []byte
}

// files yields what a tree looks like from entry from on, as the database has
// it and proved against the tree's root: entry bundles, but those below pruned, then
// hash tiles.
func (t *Trail) files(ctx context.Context, tree tlog.Tree, from, pruned int64) iter.Seq2[file, error] {
	return func(yield func(file, error) bool) {
		reader := t.rows(t.db).Reader(ctx, tree)
		for n := max(from, pruned) / c2sp.TileWidth; n*c2sp.TileWidth < tree.N; n++ {
			tile := c2sp.Tile(-1, n, int(min(c2sp.TileWidth, tree.N-n*c2sp.TileWidth)))
			data, err := t.bundle(ctx, tile, reader)
			if !yield(file{c2sp.TilePath(tile), data}, err) || err != nil {
				return
			}
		}
		for _, tile := range tlog.NewTiles(c2sp.TileHeight, from, tree.N) {
			data, err := tlog.ReadTileData(tile, reader)
			if !yield(file{c2sp.TilePath(tile), data}, err) || err != nil {
				return
			}
		}
	}
}

func (t *Trail) writeTiles(ctx context.Context, tree tlog.Tree, from int64, over *overwritten) error {
	for f, err := range t.files(ctx, tree, from, 0) {
		if err == nil {
			err = t.putFile(ctx, f, over)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bundle reads the leaves of an entry bundle and checks each against the tree:
// what was changed in the database after sequencing is never published. Nor is
// what the sequencer did not put there: the tree is that of the state's tag.
func (t *Trail) bundle(ctx context.Context, tile tlog.Tile, reader tlog.HashReader) ([]byte, error) {
	first := tile.N * c2sp.TileWidth
	indexes := make([]int64, tile.W)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
	}
	hashes, err := reader.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	var out []byte
	next := first
	hash := merkle.NewHasher()
	err = t.query(ctx, t.db, func(rows answer) error {
		var (
			index int64
			leaf  sql.RawBytes // nothing of it is kept
		)
		if err := rows.Scan(&index, &leaf); err != nil {
			return err
		}
		if index != next || hash.Leaf(leaf) != hashes[index-first] {
			return fmt.Errorf("%w: entry %d was changed in the database before it was published", auditlog.ErrTampered, next)
		}
		if next++; out == nil { // others will be about as long
			out = make([]byte, 0, min(tile.W*(len(leaf)+len(leaf)/8+2), statementBytes))
		}
		out, err = c2sp.AppendEntry(out, leaf)
		return err
	}, `SELECT idx, `+upTo(auditlog.MaxLeaf, "leaf")+` FROM crmguard_audit_entries WHERE idx >= ? AND idx < ? ORDER BY idx`, first, first+int64(tile.W))
	if err == nil && next != first+int64(tile.W) {
		err = fmt.Errorf("%w: entry %d is gone from the database before it was published", auditlog.ErrTampered, next)
	}
	return out, err
}

// sign makes a checkpoint of a committed tree and reads it back.
func (t *Trail) sign(tree tlog.Tree) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: c2sp.FormatCheckpoint(t.origin, tree)}, t.signers()...)
	if err != nil {
		return nil, err
	}
	back, err := t.trust().Checkpoint(signed)
	if err == nil && (back != tree || len(t.key.SignedBy(signed)) != len(t.signers())) {
		err = fmt.Errorf("%w: a signer signed another tree", auditlog.ErrTampered)
	}
	return signed, err
}

// dropPartial removes the partial versions of tiles that are full now; a
// reader with an older checkpoint takes the full one instead.
func (t *Trail) dropPartial(ctx context.Context, sink Sink, before, after int64) error {
	remover, ok := sink.(Remover)
	if !ok {
		return nil
	}
	for _, tile := range tlog.NewTiles(c2sp.TileHeight, before, after) {
		if tile.W < c2sp.TileWidth || tile.N != before>>(c2sp.TileHeight*(tile.L+1)) {
			continue
		}
		names := []string{c2sp.TilePath(tile) + ".p"}
		if tile.L == 0 {
			tile.L = -1
			names = append(names, c2sp.TilePath(tile)+".p")
		}
		for _, name := range names {
			if err := remover.RemoveAll(ctx, name); err != nil {
				return fmt.Errorf("audit: publish: %w", err)
			}
		}
	}
	return nil
}

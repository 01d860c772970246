package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// checkpointFile is the name of the signed tree head in a published log.
const checkpointFile = "checkpoint"

// checkpoint reads and verifies the published checkpoint; found is false where
// there is none.
func (t *Trail) checkpoint(ctx context.Context) (signed []byte, tree tlog.Tree, found bool, err error) {
	signed, err = t.config.Sink.ReadFile(ctx, checkpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tlog.Tree{}, false, nil
	}
	if err != nil {
		return nil, tlog.Tree{}, false, fmt.Errorf("audit: read checkpoint: %w", err)
	}
	tree, err = openCheckpoint(t.key, signed)
	return signed, tree, true, err
}

func (t *Trail) head(ctx context.Context) (tlog.Tree, error) {
	_, tree, _, err := t.checkpoint(ctx)
	return tree, err
}

func openCheckpoint(keys logKeys, signed []byte) (tlog.Tree, error) {
	tree, err := c2sp.OpenCheckpoint(signed, keys.verifiers()...)
	if err != nil {
		return tlog.Tree{}, signature(err)
	}
	return tree, nil
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
	head, err := t.head(ctx)
	if err != nil {
		return err
	}
	s, err := t.state(ctx, t.db) // after the head: it is never behind in a sound system
	if err != nil {
		return err
	}
	r.Size, r.Published = s.N, head.N
	if err := t.guard(ctx, s, head); err != nil {
		return err
	}
	if s.N == head.N && s.published >= head.N {
		return nil
	}
	if err := t.writeTiles(ctx, s.Tree, head.N); err != nil {
		return fmt.Errorf("audit: publish: %w", err)
	}
	signed, err := t.sign(s.Tree)
	if err != nil {
		return fmt.Errorf("audit: publish: %w", err)
	}
	if err := t.replace(ctx, s.Tree, signed, r); err != nil {
		return fmt.Errorf("audit: publish: %w", err)
	}
	return t.dropPartial(ctx, head.N, s.N)
}

func (t *Trail) writeTiles(ctx context.Context, tree tlog.Tree, from int64) error {
	reader := t.rows(t.db).reader(ctx, tree)
	for n := from / c2sp.TileWidth; n*c2sp.TileWidth < tree.N; n++ {
		tile := c2sp.Tile(-1, n, int(min(c2sp.TileWidth, tree.N-n*c2sp.TileWidth)))
		data, err := t.bundle(ctx, tile, from, reader)
		if err != nil {
			return err
		}
		if err := t.config.Sink.WriteFile(ctx, c2sp.TilePath(tile), data); err != nil {
			return err
		}
	}
	for _, tile := range tlog.NewTiles(c2sp.TileHeight, from, tree.N) {
		data, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return err
		}
		if err := t.config.Sink.WriteFile(ctx, c2sp.TilePath(tile), data); err != nil {
			return err
		}
	}
	return nil
}

// bundle reads the leaves of an entry bundle and checks each against the tree:
// what was changed in the database after sequencing is never published. Nor is
// what the sequencer did not put there: those from index from on are new.
func (t *Trail) bundle(ctx context.Context, tile tlog.Tile, from int64, reader tlog.HashReader) ([]byte, error) {
	first := tile.N * c2sp.TileWidth
	indexes := make([]int64, tile.W)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
	}
	hashes, err := reader.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	var (
		out   []byte
		fresh []queued
	)
	next := first
	err = t.query(ctx, t.db, func(rows answer) error {
		var (
			index int64
			q     queued
		)
		if err := rows.Scan(&index, &q.leaf, &q.id, &q.tenant, &q.tag); err != nil {
			return err
		}
		if index != next || tlog.RecordHash(q.leaf) != hashes[index-first] {
			return fmt.Errorf("%w: entry %d was changed in the database before it was published", ErrTampered, next)
		}
		if index >= from {
			fresh = append(fresh, q)
		}
		next++
		out, err = c2sp.AppendEntry(out, q.leaf)
		return err
	}, `SELECT idx, leaf, id, tenant, tag FROM crmguard_audit_events WHERE idx >= ? AND idx < ? ORDER BY idx`, first, first+int64(tile.W))
	if err == nil && next != first+int64(tile.W) {
		err = fmt.Errorf("%w: entry %d is gone from the database before it was published", ErrTampered, next)
	}
	if err == nil {
		err = t.entered(ctx, fresh, max(first, from))
	}
	return out, err
}

// entered looks at the tags of entries again before they are published for the
// first time, at index and behind it. Whoever may write the tables can compute
// the tree, too, and put an entry where the sequencer would have; the tag is what
// they cannot make. Beats have none.
func (t *Trail) entered(ctx context.Context, rows []queued, index int64) error {
	for i, q := range rows {
		if leaf, err := ParseLeaf(q.leaf); err == nil && leaf.Kind == KindBeat {
			continue
		}
		what := t.refusal(ctx, q)
		if what == "" {
			continue
		}
		if err := errors.Join(ctx.Err(), t.tags(ctx, q.tenant)); err != nil {
			return err
		}
		return fmt.Errorf("%w: entry %d was put into the database by somebody else than the sequencer: %s", ErrTampered, index+int64(i), what)
	}
	return nil
}

// tags says whether the key of the tags works at the moment: where it does not,
// nothing is known of a tag.
func (t *Trail) tags(ctx context.Context, tenant string) error {
	data := queueData(tenant, nil)
	tag, err := t.config.Tag.Tag(ctx, tenant, data)
	if err == nil {
		err = t.config.Tag.Verify(ctx, tenant, data, tag)
	}
	if err != nil {
		return fmt.Errorf("audit: tag: %w", err)
	}
	return nil
}

// sign makes a checkpoint of a committed tree and reads it back.
func (t *Trail) sign(tree tlog.Tree) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: c2sp.FormatCheckpoint(t.origin, tree)}, t.signers()...)
	if err != nil {
		return nil, err
	}
	back, err := openCheckpoint(t.key, signed)
	if err == nil && (back != tree || len(t.key.signedBy(signed)) != len(t.signers())) {
		err = fmt.Errorf("%w: a signer signed another tree", ErrTampered)
	}
	return signed, err
}

// replace puts the checkpoint into the sink under the lock, unless a larger one
// is there: it never goes backwards.
func (t *Trail) replace(ctx context.Context, tree tlog.Tree, signed []byte, r *Result) error {
	return t.locked(ctx, func(tx Tx, s state) error {
		head, err := t.head(ctx)
		if err != nil {
			return err
		}
		if s.N < tree.N {
			return &BehindError{Database: s.N, Published: tree.N}
		}
		if head.N < tree.N {
			if err := t.config.Sink.WriteFile(ctx, checkpointFile, signed); err != nil {
				return err
			}
			head = tree
		}
		// Also where the checkpoint is there already: the transaction of the one
		// who wrote it may not have committed.
		r.Published = head.N
		_, err = t.exec(ctx, tx, `UPDATE crmguard_audit_state SET published = ? WHERE id = 1 AND published < ?`, head.N, head.N)
		return err
	})
}

// dropPartial removes the partial versions of tiles that are full now; a
// reader with an older checkpoint takes the full one instead.
func (t *Trail) dropPartial(ctx context.Context, before, after int64) error {
	remover, ok := t.config.Sink.(Remover)
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

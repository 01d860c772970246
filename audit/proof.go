package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Trust is what a verifier needs, and all that it trusts.
type Trust struct {
	Key    string   // verifier key of the log; its name is the origin
	Kept   []byte   // a checkpoint kept in another administrative domain, nil if there is none
	Former []string // verifier keys that signed before Key, or sign beside it; one signature of any is enough
}

// resolve reads the keys and the kept checkpoint.
func (t Trust) resolve() (key logKeys, kept *tlog.Tree, err error) {
	if key, err = newKeys("trust", t.Key, t.Former); err != nil {
		return nil, nil, err
	}
	if t.Kept == nil {
		return key, nil, nil
	}
	tree, err := openCheckpoint(key, t.Kept)
	if err != nil {
		return nil, nil, invalid("trust: Kept: %w", err)
	}
	return key, &tree, nil
}

// Leaf returns the exact bytes of a recorded event: what [Verify] takes.
func (t *Trail) Leaf(ctx context.Context, id string) ([]byte, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	leaf, _, err := t.entry(ctx, id)
	return leaf, err
}

// entry reads an event by its id, and its place where it has one. One that waits
// must be what the sequencer would take.
func (t *Trail) entry(ctx context.Context, id string) (leaf []byte, index sql.NullInt64, err error) {
	key, err := parseID(id)
	if err != nil {
		return nil, index, ErrNotFound
	}
	w := waiting{id: key[:]}
	found, err := t.one(ctx, t.db, []any{&w.seq, &w.body, &index, &leaf}, `SELECT v.seq, v.body, v.idx, e.leaf FROM crmguard_audit_events v LEFT JOIN crmguard_audit_entries e ON e.idx = v.idx WHERE v.id = ?`, key[:])
	switch {
	case err != nil:
		return nil, index, err
	case !found || index.Valid && index.Int64 < 0:
		return nil, index, ErrNotFound
	case index.Valid && leaf == nil:
		return nil, index, fmt.Errorf("%w: entry %d is gone from the database", ErrTampered, index.Int64)
	case index.Valid:
		return leaf, index, nil
	}
	keys := newPassKeys()
	defer keys.wipe()
	good, _, err := t.verify(ctx, []waiting{w}, keys)
	if err == nil && len(good) == 0 {
		err = fmt.Errorf("%w: the row of a waiting event", ErrTampered)
	}
	if err != nil {
		return nil, index, err
	}
	return good[0].raw, index, nil
}

// Proof returns the proof that an event is in the published log, in the format
// c2sp.org/tlog-proof. It holds for ever, whatever is erased later.
func (t *Trail) Proof(ctx context.Context, id string) ([]byte, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	leaf, index, err := t.entry(ctx, id)
	if err != nil {
		return nil, err
	}
	signed, head, _, err := t.checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if !index.Valid || index.Int64 >= head.N {
		return nil, ErrNotPublished
	}
	s, err := t.state(ctx, t.db)
	if err != nil {
		return nil, err
	}
	if err := t.guard(ctx, s, head); err != nil {
		return nil, err
	}
	hashes, err := tlog.ProveRecord(head.N, index.Int64, t.rows(t.db).reader(ctx, s.Tree))
	if err != nil {
		return nil, err
	}
	if err := tlog.CheckRecord(hashes, head.N, head.Hash, index.Int64, tlog.RecordHash(leaf)); err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", ErrTampered, index.Int64, err)
	}
	return c2sp.FormatProof(index.Int64, hashes, signed), nil
}

// Verify checks offline, without any store, that leaf is in the log that trust
// names, and returns what it says. A wrong leaf, proof or signature is
// ErrTampered, a signature of another key besides ErrNotSigned, bytes of
// another format ErrMalformed. A proof whose checkpoint
// has the size of the kept one and another root is ErrForked; other sizes
// cannot be compared by one proof, use [VerifyLog].
func Verify(trust Trust, leaf, proof []byte) (Leaf, error) {
	key, kept, err := trust.resolve()
	if err != nil {
		return Leaf{}, err
	}
	tree, err := c2sp.VerifyProof(key.verifiers(), tlog.RecordHash(leaf), proof)
	if err != nil {
		var unverified *note.UnverifiedNoteError
		var signature *note.InvalidSignatureError
		if errors.As(err, &unverified) {
			return Leaf{}, unsignedError{}
		}
		if errors.Is(err, c2sp.ErrRecord) || errors.As(err, &signature) {
			return Leaf{}, fmt.Errorf("%w: proof: %w", ErrTampered, err)
		}
		return Leaf{}, fmt.Errorf("%w: proof: %w", ErrMalformed, err)
	}
	if kept != nil && tree.N == kept.N && tree.Hash != kept.Hash {
		return Leaf{}, fmt.Errorf("%w: two checkpoints of %d entries", ErrForked, tree.N)
	}
	return ParseLeaf(leaf)
}

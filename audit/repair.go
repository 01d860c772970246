package audit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Repair is what [Trail.Republish] or [Trail.RebuildTiles] found and did.
type Repair struct {
	Kept    int64 // entries that the kept checkpoint proves
	Size    int64 // entries of the log; for those beyond Kept the database and the tags vouch
	Checked int64 // files, or rows of tiles, that were compared
	Written int64 // those of them, and the state row, that were missing or wrong, and are right now
	Signed  bool  // a checkpoint was signed and published
}

// keptTree is the kept checkpoint that a repair is proved against.
func (t *Trail) keptTree(ctx context.Context) (tlog.Tree, error) {
	if t.config.Kept == nil {
		return tlog.Tree{}, fmt.Errorf("%w: set Config.Kept", ErrUnanchored)
	}
	kept, found, err := t.kept(ctx)
	if err == nil && !found {
		err = fmt.Errorf("%w: Config.Kept has none, or one of no entries", ErrUnanchored)
	}
	return kept, err
}

// standing is what stands under the checkpoint's name: no tree where the file is
// absent, torn or damaged. A whole one that another key signed is an error: the
// folder is another log's, or the key of this one was changed and this process was
// not told.
func (t *Trail) standing(ctx context.Context) (old []byte, head tlog.Tree, found bool, err error) {
	old, head, found, err = t.checkpoint(ctx)
	if !found || err == nil {
		return old, head, found, err
	}
	if errors.Is(err, auditlog.ErrNotSigned) {
		return nil, tlog.Tree{}, false, fmt.Errorf("%w: where the key was changed, start this process with the key of today; if this is the folder of this log all the same, remove its checkpoint first", err)
	}
	return old, tlog.Tree{}, true, nil
}

// notCut refuses a database that has fewer entries than a checkpoint says which
// nobody can verify any more. What it says proves nothing, and is a reason to look.
func (s state) notCut(origin string, damaged []byte) error {
	first, rest, _ := strings.Cut(string(damaged), "\n")
	size, _, whole := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(size, 10, 64)
	if !whole || err != nil || first != origin || n <= s.N {
		return nil
	}
	return fmt.Errorf("%w: the damaged checkpoint in the folder says %d entries, the database has %d; where that is not so, remove the file first", auditlog.ErrRolledBack, n, s.N)
}

// notRewound refuses a database that knows fewer entries than there were: a
// repair from it would be the rewind itself.
func (s state) notRewound(kept, head, seen tlog.Tree) error {
	switch {
	case head.N > s.N:
		return &BehindError{Database: s.N, Published: head.N}
	case kept.N > s.N:
		return fmt.Errorf("%w: kept %d entries, the database has %d", auditlog.ErrRolledBack, kept.N, s.N)
	case s.published > s.N:
		return fmt.Errorf("%w: %d entries were published, the database has %d", auditlog.ErrRolledBack, s.published, s.N)
	case seen.N > s.N:
		return fmt.Errorf("%w: this process has seen %d entries, the database has %d", auditlog.ErrRolledBack, seen.N, s.N)
	}
	return nil
}

// proves compares the roots that the database gives with the kept, the published
// and the seen one; of is the root of its first n entries.
func (s state) proves(kept, head, seen tlog.Tree, of func(n int64) (tlog.Hash, error)) error {
	for _, known := range []struct {
		tree tlog.Tree
		name string
	}{{kept, "kept"}, {head, "published"}, {seen, "seen by this process"}} {
		if known.tree.N == 0 {
			continue
		}
		root, err := of(known.tree.N)
		if err != nil {
			return err
		}
		if root != known.tree.Hash {
			return fmt.Errorf("%w: the database's first %d entries are not those that were %s", auditlog.ErrForked, known.tree.N, known.name)
		}
	}
	return nil
}

// recordRepair leaves an event before anything is changed: whoever reads the
// log sees when files were made anew, and which entries were not proved by a
// kept checkpoint then.
func (t *Trail) recordRepair(ctx context.Context, action string, r *Repair) error {
	leaf, err := t.ownLeaf(ctx, auditlog.KindEvent, t.config.Tenant, action)
	if err != nil {
		return err
	}
	leaf.Object = auditlog.Object(recovered(r.Kept, r.Size))
	row, err := t.own(ctx, leaf)
	if err != nil {
		return err
	}
	return t.within(ctx, func(tx HandoverTx) error { return t.putRow(ctx, tx, row) })
}

package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// CatchUp brings a database that was restored from a backup level with the
// published log, under the same origin: the missing entries are read from the
// tiles, each proved against the signed root, and a recover event names them.
// Their openings, which the log never held, come from Config.Mirror; those that it
// does not have are lost. Events that were queued in the backup and published later
// keep theirs. What went with retention since the backup goes again; of entries that
// the log had lost to it already, and the backup never had, the hashes alone come back
// ([Trail.Prune]).
// Erasures that the missing entries tell of are done again; the application's own
// rows of these persons are back with the backup, and are its own to delete.
//
// Before anything is written the published log is compared with the kept
// checkpoint (Config.Kept) and with what the database has: auditlog.ErrRolledBack,
// auditlog.ErrForked and ErrLogLost mean that the folder is not the log that was kept.
// A database that is level or ahead is left alone. It can be interrupted and
// repeated. [ErrMirrorLost] says that Config.Mirror is not what it was, and [ErrHeld],
// after a few seconds, which events it waits for because an open sale repeats them.
//
// Where the keys of the tags were changed (Config.Keys, Tag or Tenant), call it
// once, with everything published: it tags the state row anew, if that says what
// the published log says. Rows of surrogates that somebody has changed without the key
// of the tags it sets right, too, on a level database: they say what the log says
// again, and are whose their heads say, or nobody's until somebody is named for whom
// they open.
//
// [Trail.CatchUpReport] does the same, and says what came back.
func (t *Trail) CatchUp(ctx context.Context) error {
	_, err := t.CatchUpReport(ctx)
	return err
}

func (t *Trail) catchUp(ctx context.Context, sum *recovering) error {
	if err := t.ready(); err != nil {
		return err
	}
	kept, _, err := t.kept(ctx) // first: it is never ahead of what is published
	if err != nil {
		return err
	}
	_, head, found, err := t.checkpoint(ctx)
	if err != nil {
		return err
	}
	read := merkle.Files(t.config.Sink.ReadFile)
	reader := merkle.Source(read.Hashes).Reader(ctx, head)
	if err := anchored(reader, head, kept); err != nil {
		return err
	}
	s, err := t.stored(ctx, t.db)
	if err != nil {
		return err
	}
	why := t.genuine(ctx, s)
	if why != nil && !errors.Is(why, auditlog.ErrTampered) {
		return why
	}
	if s, err = t.stateOf(ctx, s, kept, head, reader, why); err != nil {
		return err
	}
	if !found || head.N <= s.N {
		t.restored()
		if _, err := t.look(ctx, false); err != nil {
			return err
		}
		if err := t.setRight(ctx, head, reader, s.pruned); err != nil {
			return err
		}
		return t.caughtUp(ctx, toldLog{}, t.memory.recall)
	}
	if err := t.behind(reader, s, head); err != nil {
		return err
	}
	told, err := t.toldInLog(ctx, read, reader, s.N, head.N, head.N)
	if err == nil {
		err = t.mirrorThere(ctx, s, told.to)
	}
	if err != nil {
		return fmt.Errorf("audit: catch up: %w", err)
	}
	t.restored()
	keys := newPassKeys()
	defer keys.wipe()
	if sum.People, err = t.peopleBack(ctx, keys); err != nil {
		return fmt.Errorf("audit: catch up: %w", err)
	}
	told.behind = true
	from := s.N
	lost, err := t.lostTo(ctx, s, told.to)
	if err == nil {
		s, err = t.over(ctx, reader, s, lost)
	}
	if err != nil {
		return fmt.Errorf("audit: catch up: %w", err)
	}
	if told.rules, err = t.rulesAgain(ctx, s, told.rules); err != nil {
		return fmt.Errorf("audit: catch up: %w", err)
	}
	sum.rules = told.rules
	left := t.caughtUp(ctx, told, olderOne) // while it is behind: who is stopped begins anew
	if left != nil && (ctx.Err() != nil || !retentionWaits(left)) {
		return left
	}
	first := s.N
	for s.N < head.N {
		next := min(head.N, s.N+batch)
		if err := t.readBack(ctx, read, reader, head.N, s.N, next, s.N == first, keys, sum); err != nil {
			return fmt.Errorf("audit: catch up: %w", err)
		}
		if s, err = t.state(ctx, t.db); err != nil {
			return err
		}
	}
	t.observe(ctx, "audit.caught_up", float64(head.N-from))
	if _, err := t.look(ctx, false); err != nil {
		return err
	}
	if err := t.setRight(ctx, head, reader, s.pruned); err != nil {
		return err
	}
	return cmp.Or(left, t.caughtUp(ctx, toldLog{}, t.memory.recall))
}

// caughtUp ends it: what went with retention goes from an older database, too.
func (t *Trail) caughtUp(ctx context.Context, told toldLog, known func() tlog.Tree) error {
	if err := t.pruneAgain(ctx, told, known); err != nil {
		return fmt.Errorf("audit: catch up: %w", err)
	}
	return nil
}

// behind says whether a database can catch up: it is the beginning of the
// published log, which is not an older one than this process has seen.
func (t *Trail) behind(reader tlog.HashReader, s state, head tlog.Tree) error {
	shown := t.memory.published()
	if shown.N > head.N {
		return fmt.Errorf("%w: published %d entries, and %d before", auditlog.ErrRolledBack, head.N, shown.N)
	}
	for _, older := range []tlog.Tree{s.Tree, shown} {
		same, err := extends(reader, older)
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("%w: the database's %d entries are not the first of the published log", auditlog.ErrForked, older.N)
		}
	}
	return nil
}

// stateOf is the state that CatchUp goes on from. Where the row alone is an older
// one, whoever put it back, and the entries are there, it becomes that of the
// published log; otherwise one without a true tag gets one.
func (t *Trail) stateOf(ctx context.Context, s state, kept, head tlog.Tree, reader tlog.HashReader, why error) (state, error) {
	if s.N < head.N {
		lost, err := t.lost(ctx, s, nil, head)
		if err != nil {
			return s, err
		}
		if lost {
			if err := t.behind(reader, s, head); err != nil {
				if why != nil && errors.Is(err, auditlog.ErrForked) { // what the row says was said by nobody
					err = why
				}
				return s, err
			}
			if s, err = t.stateBack(ctx, head, []tlog.Tree{kept, t.memory.published()}, func() error {
				return t.recordRepair(ctx, "audit.rebuild", &Repair{Kept: kept.N, Size: head.N})
			}); err != nil || why == nil {
				return s, err
			}
			return s, t.tagRest(ctx, head, reader, s.pruned)
		}
	}
	if why == nil {
		return s, nil
	}
	return t.tagAnew(ctx, s, head, reader, why)
}

// tagAnew gives the state row a tag of the keys of today, if it says nothing but
// what the published log says: then the signature vouches for it. Of entries that
// were never published nobody does.
func (t *Trail) tagAnew(ctx context.Context, s state, head tlog.Tree, reader tlog.HashReader, why error) (state, error) {
	if head.N == 0 && t.memory.recall().N == 0 && s.N == 0 && s.published == 0 {
		if err := t.tagEmpty(ctx, s); err != nil { // events wait, and never had a place
			return s, err
		}
		if s, err := t.state(ctx, t.db); err == nil {
			return s, nil
		}
	}
	if head.N == 0 || s.N > head.N || t.memory.published().N > head.N {
		return s, why
	}
	same, err := extends(reader, s.Tree)
	if err != nil {
		return s, err
	}
	if !same {
		return s, why
	}
	anew := state{Tree: s.Tree, published: s.N} // when the newest beat was is not known: one is due
	if s.N == 0 {
		anew.Tree = noEntries()
	}
	told, err := t.toldInLog(ctx, merkle.Files(t.config.Sink.ReadFile), reader, 0, s.N, head.N)
	if err != nil {
		return s, err
	}
	if anew.pruned, err = t.markOf(ctx, told.to); err != nil {
		return s, err
	}
	anew.found = anew.pruned
	if anew, err = t.tagState(ctx, anew); err != nil {
		return s, err
	}
	err = t.exclusive(ctx, func(tx HandoverTx) error {
		now, err := t.stored(ctx, tx)
		if err != nil {
			return err
		}
		if !now.same(s) {
			return why // by another process meanwhile: look again
		}
		return t.putState(ctx, tx, anew)
	})
	if err != nil {
		return s, err
	}
	return anew, t.tagRest(ctx, head, reader, anew.pruned)
}

// proven reads published entries and proves each against the signed root.
func proven(ctx context.Context, read merkle.Files, reader tlog.HashReader, from, to, size int64) ([][]byte, error) {
	indexes := make([]int64, 0, to-from)
	for i := from; i < to; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, i))
	}
	hashes, err := reader.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for e, err := range auditlog.EntriesOf(ctx, read, from, to, size) {
		if err != nil {
			return nil, err
		}
		if tlog.RecordHash(e.Leaf) != hashes[e.Index-from] {
			return nil, fmt.Errorf("%w: published entry %d", auditlog.ErrTampered, e.Index)
		}
		out = append(out, e.Leaf)
	}
	return out, nil
}

package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// All that a trail believes about how far its log has come stands in this file:
// the checkpoint kept elsewhere, the published one, the state row of the
// database and what this process has seen itself. The rule is one: what is
// signed next extends every one of them.

// memory is what this process knows by itself. A database that went back, under
// a row that was genuine once, agrees with everything but this and the kept
// checkpoint.
type memory struct {
	mu       sync.Mutex
	tree     tlog.Tree // the largest tree that it found in the database, or committed
	head     tlog.Tree // the largest checkpoint that it found published, or published
	kept     tlog.Tree // the largest kept checkpoint that all agreed with
	anchored time.Time // when all was last compared with the kept checkpoint
}

func (m *memory) recall() (tree tlog.Tree) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tree
}

func (m *memory) published() (head tlog.Tree) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head
}

// remember adds what was found to be true.
func (m *memory) remember(tree, head tlog.Tree) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if tree.N > m.tree.N {
		m.tree = tree
	}
	if head.N > m.head.N {
		m.head = head
	}
}

// restored forgets what was in the database only: somebody said that it is an
// older one.
func (m *memory) restored() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tree = m.head
}

// keptDue says whether it is time to look at the kept checkpoint, though nothing
// is signed: in the first pass of a process, and after Config.KeptEvery. A clock
// that was set back does not put it off.
func (t *Trail) keptDue() bool {
	t.memory.mu.Lock()
	defer t.memory.mu.Unlock()
	return t.memory.anchored.IsZero() || away(t.now(), t.memory.anchored) >= t.config.KeptEvery
}

func (m *memory) compared(kept tlog.Tree, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.anchored = now
	if kept.N > m.kept.N {
		m.kept = kept
	}
}

func (m *memory) anchor() (kept tlog.Tree) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept
}

// view is what was found to agree.
type view struct {
	head  tlog.Tree // published; of no entries where nothing is
	read  bool      // the published checkpoint could be read
	back  bool      // it is an older one than was published before
	state state
}

// look compares everything that is known about the log: the database with the
// published checkpoint, with what this process has seen and, if asked, with the
// kept checkpoint. What contradicts is looked at once more: a store may have
// answered late, and an error of these ends the sequencer.
func (t *Trail) look(ctx context.Context, kept bool) (view, error) {
	v, err := t.lookOnce(ctx, kept)
	if contradicts(err) && ctx.Err() == nil {
		v, err = t.lookOnce(ctx, kept)
	}
	if contradicts(err) {
		t.tickets.forgetAll()
	}
	return v, err
}

// restored is what an operator's word does that the database is an older one. Tickets
// are of the one before: whose surrogate it has, and under which head, they do not say.
func (t *Trail) restored() {
	t.memory.restored()
	t.tickets.forgetAll()
}

// olderOne is what is known of a database by that word: nothing.
func olderOne() tlog.Tree { return tlog.Tree{} }

func contradicts(err error) bool {
	for _, sentinel := range []error{auditlog.ErrForked, auditlog.ErrRolledBack, ErrBehind, ErrLogLost, auditlog.ErrTampered} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// lookOnce reads in the order memory, kept, published, database: everybody
// commits a tree, then publishes it, then keeps its checkpoint, so that what is
// read later is never behind what was read before, however many processes work
// meanwhile.
func (t *Trail) lookOnce(ctx context.Context, kept bool) (v view, err error) {
	known, shown := t.memory.recall(), t.memory.published()
	var anchor tlog.Tree
	if kept {
		if anchor, _, err = t.kept(ctx); err != nil {
			return v, err
		}
	}
	if v.head, err = t.head(ctx); err != nil {
		return v, err
	}
	v.read = true
	if v.state, err = t.state(ctx, t.db); err != nil {
		return v, err
	}
	published := max(v.state.published, shown.N)
	if v.head.N < published { // somebody may have published between the two
		if v.head, err = t.head(ctx); err != nil {
			return v, err
		}
		if v.state, err = t.state(ctx, t.db); err != nil {
			return v, err
		}
	}
	v.back = v.head.N < published
	if v.head.N == 0 && published > 0 {
		return v, late(fmt.Errorf("%w: %d entries were published; bring the folder back (is its disk mounted?), or Republish it", ErrLogLost, published))
	}
	if err := t.guard(ctx, v.state, v.head); err != nil {
		return v, err
	}
	reader := t.rows(t.db).Reader(ctx, v.state.Tree)
	if err := remembers(reader, v.state.Tree, known); err != nil {
		return v, err
	}
	if kept {
		for _, one := range []tlog.Tree{anchor, t.memory.anchor()} { // what was kept once was kept
			if err := anchored(reader, v.head, one); err != nil {
				return v, err
			}
		}
		t.memory.compared(anchor, t.now())
	}
	t.memory.remember(v.state.Tree, v.head)
	return v, nil
}

// guard refuses to go on where the database does not hold what is published:
// what would be signed now would be a fork.
func (t *Trail) guard(ctx context.Context, s state, head tlog.Tree) error {
	if head.N > s.N {
		return &BehindError{Database: s.N, Published: head.N}
	}
	same, err := extends(t.rows(t.db).Reader(ctx, s.Tree), head)
	if err == nil && !same {
		err = fmt.Errorf("%w: database and published log differ within the first %d entries", auditlog.ErrForked, head.N)
	}
	return err
}

// extends reports whether a tree, read by reader, begins with an older one that
// is not larger.
func extends(reader tlog.HashReader, older tlog.Tree) (bool, error) {
	if older.N == 0 {
		return true, nil
	}
	root, err := tlog.TreeHash(older.N, reader)
	return root == older.Hash, err
}

// remembers compares the database with what this process has seen of it.
func remembers(reader tlog.HashReader, tree, known tlog.Tree) error {
	if tree == known {
		return nil
	}
	if known.N > tree.N {
		return fmt.Errorf("%w: the database has %d entries and had %d; CatchUp where a backup or a replica took its place, and otherwise find out who put it back", auditlog.ErrRolledBack, tree.N, known.N)
	}
	same, err := extends(reader, known)
	if err == nil && !same {
		err = fmt.Errorf("%w: the database is not the one whose %d entries this process has seen", auditlog.ErrForked, known.N)
	}
	return err
}

// kept reads the checkpoint that is kept elsewhere; found is false where none is,
// or one that says nothing. A store that has none any more is one that is down:
// nothing is signed until it has one again.
func (t *Trail) kept(ctx context.Context) (tree tlog.Tree, found bool, err error) {
	if t.config.Kept == nil {
		return tlog.Tree{}, false, nil
	}
	signed, err := t.config.Kept(ctx)
	if err == nil && signed != nil {
		tree, err = t.trust().Checkpoint(signed)
	}
	if err != nil {
		return tlog.Tree{}, false, fmt.Errorf("audit: kept checkpoint: %w", err)
	}
	if was := t.memory.anchor(); tree.N == 0 && was.N > 0 {
		return tlog.Tree{}, false, fmt.Errorf("%w: Config.Kept has none any more, and had one of %d entries: bring its store back, or keep the newest checkpoint there", ErrUnanchored, was.N)
	}
	return tree, tree.N > 0, nil
}

// anchored compares the published log, or a database that holds it, with the
// kept checkpoint.
func anchored(reader tlog.HashReader, head, kept tlog.Tree) error {
	if kept.N > head.N {
		return late(fmt.Errorf("%w: kept %d entries, published %d", auditlog.ErrRolledBack, kept.N, head.N))
	}
	same, err := extends(reader, kept)
	if err == nil && !same {
		err = fmt.Errorf("%w: the published log is not the one whose %d entries were kept", auditlog.ErrForked, kept.N)
	}
	return err
}

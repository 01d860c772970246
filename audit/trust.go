package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// All that a trail believes about how far its log has come stands in this file:
// the checkpoint kept elsewhere, the published one, the state row of the
// database and what this process has seen itself. The rule is one: what is
// signed next extends every one of them.

// state is the tree as the database has it.
type state struct {
	tlog.Tree
	published int64  // the largest checkpoint known to be published, for telling a lost log from a new one
	beat      int64  // when the newest beat was made, microseconds
	beatSize  int64  // entries in the log after it
	tag       []byte // over all of these
}

const stateTable = "crmguard_audit_state"

// stateData is what the tag of the state row is over. Who may write the tables
// and has no key can put back a row that was true once, and no other.
func stateData(origin string, s state) []byte {
	out := frame.Join("crmguard/audit/state/v1", origin)
	out = binary.BigEndian.AppendUint64(out, uint64(s.N))
	out = append(out, s.Hash[:]...)
	for _, n := range []int64{s.published, s.beat, s.beatSize} {
		out = binary.BigEndian.AppendUint64(out, uint64(n))
	}
	return out
}

// claim writes the origin into empty tables, or compares it.
func (t *Trail) claim(ctx context.Context) error {
	read := func() (origin string, found bool, err error) {
		found, err = t.one(ctx, t.db, []any{&origin}, `SELECT origin FROM crmguard_audit_state WHERE id = 1`)
		return origin, found, err
	}
	origin, found, err := read()
	if err != nil {
		return err
	}
	if !found {
		if err := t.begin(ctx); err != nil {
			return err
		}
		if origin, found, err = read(); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%w: the tables hold sequenced events, and their state row is gone", auditlog.ErrTampered)
	}
	if origin != t.origin {
		return fmt.Errorf("%w: the tables hold %q, this log is %q", ErrOrigin, origin, t.origin)
	}
	return t.beginAgain(ctx)
}

// unused says whether no event ever had a place in these tables: one that lost
// its place has no tag any more.
func (t *Trail) unused(ctx context.Context) (bool, error) {
	var n int64
	_, err := t.one(ctx, t.db, []any{&n}, `SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NOT NULL OR LENGTH(tag) = 0`)
	return n == 0, err
}

// begin writes the first state row, of an empty log. Tables that were used had
// one: a new one would let the log begin again without what is in them.
func (t *Trail) begin(ctx context.Context) error {
	unused, err := t.unused(ctx)
	if err != nil || !unused {
		return err
	}
	s, err := t.tagState(ctx, state{Tree: noEntries()})
	if err != nil {
		return err
	}
	return t.within(ctx, func(tx Tx) error {
		return t.add(ctx, tx, sqldb.Insert{
			Table:   stateTable,
			Columns: []string{"id", "origin", "size", "root", "published", "beat", "beat_size", "drains", "tag"}, Key: []string{"id"},
		}, []any{1, t.origin, 0, s.Hash[:], 0, 0, 0, 0, s.tag})
	})
}

// beginAgain tags the state row of a log without entries anew, where other keys
// were taken before the first one came.
func (t *Trail) beginAgain(ctx context.Context) error {
	s, err := t.stored(ctx, t.db)
	if err != nil || s.N > 0 || s.published > 0 || !errors.Is(t.genuine(ctx, s), auditlog.ErrTampered) {
		return nil // the sequencer says what there is to say
	}
	unused, err := t.unused(ctx)
	if err != nil || !unused {
		return err
	}
	next, err := t.tagState(ctx, state{Tree: noEntries()})
	if err != nil {
		return err
	}
	return t.exclusive(ctx, func(tx Tx) error {
		now, err := t.stored(ctx, tx)
		if err != nil || !now.same(s) {
			return err // another process was first
		}
		return t.putState(ctx, tx, next)
	})
}

// noEntries is the tree of an empty log.
func noEntries() tlog.Tree { return tlog.Tree{Hash: tlog.Hash(sha256.Sum256(nil))} }

// stored reads the state row as it lies there.
func (t *Trail) stored(ctx context.Context, q sqldb.Querier) (state, error) {
	var (
		s    state
		root []byte
	)
	found, err := t.one(ctx, q, []any{&s.N, &root, &s.published, &s.beat, &s.beatSize, &s.tag},
		`SELECT size, root, published, beat, beat_size, tag FROM crmguard_audit_state WHERE id = 1`)
	if err != nil {
		return s, err
	}
	if !found || len(root) != tlog.HashSize || s.N < 0 || s.N > c2sp.MaxSize {
		return s, fmt.Errorf("%w: the state row is gone or damaged", auditlog.ErrTampered)
	}
	s.Hash = tlog.Hash(root)
	return s, nil
}

// genuine says whether a state row is one that a sequencer wrote. A key that does
// not answer is that, and no forgery.
func (t *Trail) genuine(ctx context.Context, s state) error {
	if t.config.Tag.Verify(ctx, t.config.Tenant, stateData(t.origin, s), s.tag) == nil {
		return nil
	}
	if err := errors.Join(ctx.Err(), t.tags(ctx, t.config.Tenant)); err != nil {
		return err
	}
	return fmt.Errorf("%w: the state row was changed by somebody without the key of the tags; where the keys were changed, CatchUp tags it anew", auditlog.ErrTampered)
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

// state reads the state row, and believes it by its tag alone.
func (t *Trail) state(ctx context.Context, q sqldb.Querier) (state, error) {
	s, err := t.stored(ctx, q)
	if err == nil {
		err = t.genuine(ctx, s)
	}
	return s, err
}

// tagState is a state with its tag.
func (t *Trail) tagState(ctx context.Context, s state) (state, error) {
	var err error
	if s.tag, err = t.config.Tag.Tag(ctx, t.config.Tenant, stateData(t.origin, s)); err != nil {
		return s, fmt.Errorf("audit: tag: %w", err)
	}
	return s, nil
}

// putState writes a tagged state row; nothing else does.
func (t *Trail) putState(ctx context.Context, tx Tx, s state) error {
	_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_state SET size = ?, root = ?, published = ?, beat = ?, beat_size = ?, tag = ? WHERE id = 1`,
		s.N, s.Hash[:], s.published, s.beat, s.beatSize, s.tag)
	return err
}

// exclusive runs fn in a transaction that excludes every other one like it: an
// UPDATE of the one state row is a lock in every database, and the first
// statement, so that SQLite never has to turn a read into a write.
func (t *Trail) exclusive(ctx context.Context, fn func(tx Tx) error) error {
	return t.within(ctx, func(tx Tx) error {
		n, err := t.exec(ctx, tx, `UPDATE crmguard_audit_state SET drains = drains + 1 WHERE id = 1`)
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: the state row is gone", auditlog.ErrTampered)
		}
		if err != nil {
			return err
		}
		return fn(tx)
	})
}

// errMoved says that somebody else wrote what a plan was made for.
var errMoved = errors.New("audit: other sequencers were first each time")

// plans is how often a plan is made anew; each time another sequencer got on.
const plans = 100

// plan says how the state moves on from s, and what else is written with it; a
// nil write is nothing to do. It may be asked again.
type plan func(s state) (next state, write func(tx Tx) error, err error)

// advance moves the state on. The plan is made and tagged outside of any
// transaction, with a state that is genuine and extends what is known: keys and
// tiles may need a connection, and a lock should not wait for them. Under the lock
// it is carried out if the state row is still the same to the byte.
func (t *Trail) advance(ctx context.Context, known func() tlog.Tree, planned plan) error {
	for range plans {
		before := known() // first: what others commit meanwhile only adds to it
		s, err := t.state(ctx, t.db)
		if err == nil {
			err = remembers(t.rows(t.db).Reader(ctx, s.Tree), s.Tree, before)
		}
		if err != nil {
			return err
		}
		next, write, err := planned(s)
		if err != nil || write == nil {
			return err
		}
		if next, err = t.tagState(ctx, next); err != nil {
			return err
		}
		err = t.exclusive(ctx, func(tx Tx) error {
			now, err := t.stored(ctx, tx)
			if err == nil && !now.same(s) {
				err = errMoved
			}
			if err == nil {
				err = write(tx)
			}
			if err == nil {
				err = t.putState(ctx, tx, next)
			}
			return err
		})
		if !errors.Is(err, errMoved) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return errMoved
}

func (s state) same(as state) bool {
	return s.Tree == as.Tree && s.published == as.published && s.beat == as.beat && s.beatSize == as.beatSize && bytes.Equal(s.tag, as.tag)
}

// memory is what this process knows by itself. A database that went back, under
// a row that was genuine once, agrees with everything but this and the kept
// checkpoint.
type memory struct {
	mu       sync.Mutex
	tree     tlog.Tree // the largest tree that it found in the database, or committed
	head     tlog.Tree // the largest checkpoint that it found published, or published
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

func (m *memory) compared(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.anchored = now
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
	return v, err
}

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
		return v, fmt.Errorf("%w: %d entries were published; bring the folder back (is its disk mounted?), or Republish it", ErrLogLost, published)
	}
	if err := t.guard(ctx, v.state, v.head); err != nil {
		return v, err
	}
	reader := t.rows(t.db).Reader(ctx, v.state.Tree)
	if err := remembers(reader, v.state.Tree, known); err != nil {
		return v, err
	}
	if kept {
		if err := anchored(reader, v.head, anchor); err != nil {
			return v, err
		}
		t.memory.compared(t.now())
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
// or one that says nothing.
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
	return tree, tree.N > 0, nil
}

// anchored compares the published log, or a database that holds it, with the
// kept checkpoint.
func anchored(reader tlog.HashReader, head, kept tlog.Tree) error {
	if kept.N > head.N {
		return fmt.Errorf("%w: kept %d entries, published %d", auditlog.ErrRolledBack, kept.N, head.N)
	}
	same, err := extends(reader, kept)
	if err == nil && !same {
		err = fmt.Errorf("%w: the published log is not the one whose %d entries were kept", auditlog.ErrForked, kept.N)
	}
	return err
}

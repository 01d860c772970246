package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// state is the tree as the database has it.
type state struct {
	tlog.Tree
	published int64  // the largest checkpoint known to be published, for telling a lost log from a new one
	beat      int64  // when the newest beat was made, microseconds
	beatSize  int64  // entries in the log after it
	found     int64  // entries whose query keys are filed
	mirrored  int64  // entries whose openings are in the mirror
	people    int64  // the last row of surrogates that is there, too
	drained   int64  // SQLite: no row up to this one waits
	pruned    int64  // the first entry that is there
	swept     int64  // entries whose retry tags have gone
	tag       []byte // over all of these
}

// batch is how many entries are read at once where a whole log is read.
const batch = 1000

const stateTable = "crmguard_audit_state"

// stateData is what the tag of the state row is over. Who may write the tables
// and has no key can put back a row that was true once, and no other.
func stateData(origin string, s state) []byte {
	out := frame.Join("crmguard/audit/state/v2", origin)
	out = binary.BigEndian.AppendUint64(out, uint64(s.N))
	out = append(out, s.Hash[:]...)
	for _, n := range s.numbers() {
		out = binary.BigEndian.AppendUint64(out, uint64(*n))
	}
	return out
}

// stateNumbers are the columns of the state row besides the tree, in the order of
// its tag.
const stateNumbers = "published, beat, beat_size, found, mirrored, people, drained, pruned, swept"

// numbers are what stands in those columns.
func (s *state) numbers() []*int64 {
	return []*int64{&s.published, &s.beat, &s.beatSize, &s.found, &s.mirrored, &s.people, &s.drained, &s.pruned, &s.swept}
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
	if !found { // the sequencer says so, and RebuildTiles makes it anew
		return t.named(ctx)
	}
	if origin != t.origin {
		return fmt.Errorf("%w: the tables hold %q, this log is %q", ErrOrigin, origin, t.origin)
	}
	if err := t.named(ctx); err != nil {
		return err
	}
	return t.beginAgain(ctx)
}

// logRow is the number of the one row that names the log to whoever records: the
// state row, which does, too, is a lock.
const logRow = 1

var logTable = sqldb.Insert{Table: "crmguard_audit_log", Columns: []string{"id", "name"}, Key: []string{"id"}}

// named compares the row that names the log, or brings it back.
func (t *Trail) named(ctx context.Context) error {
	var name string
	found, err := t.one(ctx, t.db, []any{&name}, `SELECT name FROM crmguard_audit_log WHERE id = ?`, logRow)
	if err == nil && !found {
		return t.within(ctx, func(tx HandoverTx) error { return t.add(ctx, tx, logTable, []any{logRow, t.origin}) })
	}
	if err == nil && name != t.origin {
		err = fmt.Errorf("%w: crmguard_audit_log names another log than the state row: events would be recorded for that one", auditlog.ErrTampered)
	}
	return err
}

// unused says whether no event ever had a place in these tables: one that lost
// its place has no body any more.
func (t *Trail) unused(ctx context.Context) (bool, error) {
	used, err := t.any(ctx, t.db, `SELECT 1 FROM crmguard_audit_entries`)
	if err == nil && !used { // an entry was taken away by hand, its event not
		used, err = t.any(ctx, t.db, `SELECT 1 FROM crmguard_audit_events WHERE body IS NULL`)
	}
	return !used, err
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
	in, row := t.stateInsert(s)
	return t.within(ctx, func(tx HandoverTx) error {
		if err := t.add(ctx, tx, logTable, []any{logRow, t.origin}); err != nil {
			return err
		}
		return t.add(ctx, tx, in, row)
	})
}

// beginAgain tags the state row of a log without entries anew, where other keys
// were taken before the first one came.
func (t *Trail) beginAgain(ctx context.Context) error {
	s, err := t.stored(ctx, t.db)
	if err != nil || s.N > 0 || s.published > 0 || !errors.Is(t.genuine(ctx, s), auditlog.ErrTampered) {
		return nil // the sequencer says what there is to say
	}
	waits, err := t.any(ctx, t.db, `SELECT 1 FROM crmguard_audit_events`)
	if err != nil || waits { // under the first keys, of a process that may be at work: CatchUp, if these are the right ones
		return err
	}
	return t.tagEmpty(ctx, s)
}

// tagEmpty tags the state row of a log that never had an entry.
func (t *Trail) tagEmpty(ctx context.Context, s state) error {
	unused, err := t.unused(ctx)
	if err != nil || !unused {
		return err
	}
	next, err := t.tagState(ctx, state{Tree: noEntries()})
	if err != nil {
		return err
	}
	return t.exclusive(ctx, func(tx HandoverTx) error {
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
	return t.storedWith(ctx, q, "")
}

// storedWith reads more columns in the same statement, which are of the same moment.
func (t *Trail) storedWith(ctx context.Context, q sqldb.Querier, columns string, more ...any) (state, error) {
	var (
		s    state
		root []byte
	)
	dest := []any{&s.N, &root, &s.tag}
	for _, n := range s.numbers() {
		dest = append(dest, n)
	}
	dest = append(dest, more...)
	found, err := t.one(ctx, q, dest, `SELECT size, `+upTo(tlog.HashSize, "root")+`, `+upTo(mostSmall, "tag")+`, `+stateNumbers+columns+` FROM crmguard_audit_state WHERE id = 1`)
	if err != nil {
		return s, err
	}
	if !found || len(root) != tlog.HashSize || s.N < 0 || s.N > c2sp.MaxSize {
		return s, fmt.Errorf("%w: the state row is gone or damaged: RebuildTiles makes it anew", auditlog.ErrTampered)
	}
	s.Hash = tlog.Hash(root)
	return s, nil
}

// genuine says whether a state row is one that a sequencer wrote.
func (t *Trail) genuine(ctx context.Context, s state) error {
	if right, err := t.tagged(ctx, stateData(t.origin, s), s.tag); err != nil || right {
		return err
	}
	return fmt.Errorf("%w: the state row was changed by somebody without the key of the tags; where the keys were changed, CatchUp tags it anew, and otherwise RebuildTiles makes it anew", auditlog.ErrTampered)
}

// tagged says whether a tag of the trail's own is one of data. A key that does not
// answer is that, and no forgery; nor is one call that failed beside others that did not.
func (t *Trail) tagged(ctx context.Context, data, tag []byte) (bool, error) {
	verify := func() bool { return t.config.Keys.Verify(ctx, t.config.Tenant, data, tag) == nil }
	if verify() {
		return true, nil
	}
	if err := errors.Join(ctx.Err(), t.tags(ctx, t.config.Tenant)); err != nil {
		return false, err
	}
	return verify(), ctx.Err()
}

// tags says whether the key of the tags works at the moment: where it does not,
// nothing is known of a tag.
func (t *Trail) tags(ctx context.Context, tenant string) error {
	data := frame.Join("crmguard/audit/prepare/v1")
	tag, err := t.config.Keys.Tag(ctx, tenant, data)
	if err == nil {
		err = t.config.Keys.Verify(ctx, tenant, data, tag)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errTags, err)
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
	if s.tag, err = t.config.Keys.Tag(ctx, t.config.Tenant, stateData(t.origin, s)); err != nil {
		return s, fmt.Errorf("%w: %w", errTags, err)
	}
	return s, nil
}

// putState writes a tagged state row; nothing else does.
func (t *Trail) putState(ctx context.Context, tx sqldb.Execer, s state) error {
	args := []any{s.N, s.Hash[:], s.tag}
	for _, n := range s.numbers() {
		args = append(args, *n)
	}
	_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_state SET size = ?, root = ?, tag = ?, `+strings.ReplaceAll(stateNumbers, ",", " = ?,")+` = ? WHERE id = 1`, args...)
	return err
}

// exclusive runs fn in a transaction that excludes every other one like it: an
// UPDATE of the one state row is a lock in every database, and the first
// statement, so that SQLite never has to turn a read into a write. Nothing is
// counted: whatever somebody wrote into the column, the next value fits.
func (t *Trail) exclusive(ctx context.Context, fn func(tx HandoverTx) error) error {
	return t.within(ctx, func(tx HandoverTx) error {
		if err := t.lock(ctx, tx); err != nil {
			return err
		}
		return fn(tx)
	})
}

func (t *Trail) lock(ctx context.Context, tx HandoverTx) error {
	n, err := t.exec(ctx, tx, `UPDATE crmguard_audit_state SET drains = CASE WHEN drains = 0 THEN 1 ELSE 0 END WHERE id = 1`)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: the state row is gone: RebuildTiles makes it anew", auditlog.ErrTampered)
	}
	return err
}

// errMoved says that somebody else wrote what a plan was made for.
var errMoved = errors.New("audit: other sequencers were first each time")

// plans is how often a plan is made anew; each time another sequencer got on.
const plans = 100

// plan says how the state moves on from s, and what else is written with it; a
// nil write is nothing to do. It may be asked again.
type plan func(s state) (next state, write func(tx HandoverTx) error, err error)

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
		err = t.exclusive(ctx, func(tx HandoverTx) error {
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
	return bytes.Equal(stateData("", s), stateData("", as)) && bytes.Equal(s.tag, as.tag)
}

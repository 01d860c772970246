package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// The state row is one row, and all depends on it. Where it is gone, changed or an
// older one, while the entries are there, signed checkpoints say what it must be:
// it is made anew of the largest tree that one of them proves, or that this process
// has seen. For entries beyond that tree nobody vouches any more.

// stateInsert is the first state row of these tables.
func (t *Trail) stateInsert(s state) (sqldb.Insert, []any) {
	columns := append([]string{"id", "origin", "size", "root", "drains", "tag"}, strings.Split(stateNumbers, ", ")...)
	row := []any{1, t.origin, s.N, s.Hash[:], 0, s.tag}
	for _, n := range s.numbers() {
		row = append(row, *n)
	}
	return sqldb.Insert{Table: stateTable, Columns: columns, Key: []string{"id"}}, row
}

// lost says whether the state row is not what it must be, which the entries can
// tell: it has no true tag, or is one of fewer entries than a signed checkpoint
// while their rows are there.
func (t *Trail) lost(ctx context.Context, s state, why error, proven tlog.Tree) (bool, error) {
	if why != nil || s.N >= proven.N {
		return errors.Is(why, auditlog.ErrTampered), nil
	}
	return t.any(ctx, t.db, `SELECT 1 FROM crmguard_audit_entries WHERE idx >= ?`, s.N)
}

// stateBack makes the state row anew, of a tree that is proven and has entries;
// record leaves an event before it.
func (t *Trail) stateBack(ctx context.Context, proven tlog.Tree, others []tlog.Tree, record func() error) (state, error) {
	beyond := func(q sqldb.Querier) error {
		var n, first int64
		if _, err := t.one(ctx, q, []any{&n, &first}, `SELECT COUNT(*), COALESCE(MIN(idx), 0) FROM crmguard_audit_entries WHERE idx >= ?`, proven.N); err != nil || n == 0 {
			return err
		}
		return fmt.Errorf("%w: the state row is lost, and no checkpoint proves the last %d entries of the database, from %d on: restore the database and CatchUp", auditlog.ErrTampered, n, first)
	}
	if err := beyond(t.db); err != nil {
		return state{}, err
	}
	roots := map[int64]tlog.Hash{proven.N: {}}
	for _, o := range others {
		roots[o.N] = tlog.Hash{}
	}
	nothing := func(tlog.Tile, []byte) error { return nil }
	pruned, err := t.toldAmong(ctx, proven.N) // by entries that the root proves, or nothing is done
	if err == nil {
		pruned, err = t.markOf(ctx, pruned)
	}
	if err != nil {
		return state{}, err
	}
	if err := t.regrow(ctx, proven.N, t.gone(ctx, pruned, proven), roots, nothing, nothing); err != nil {
		return state{}, err
	}
	for _, o := range append([]tlog.Tree{proven}, others...) {
		if o.N > 0 && roots[o.N] != o.Hash {
			return state{}, fmt.Errorf("%w: the first %d entries of the database are not those that a checkpoint proves", auditlog.ErrForked, o.N)
		}
	}
	if err := record(); err != nil {
		return state{}, err
	}
	was, _ := t.stored(ctx, t.db)                                                   // however it lies there
	next := state{Tree: proven, published: proven.N, pruned: pruned, found: pruned} // what else it said is found out again
	next, err = t.tagState(ctx, next)
	if err != nil {
		return next, err
	}
	return next, t.within(ctx, func(tx HandoverTx) error {
		in, row := t.stateInsert(next)
		if err := t.add(ctx, tx, in, row); err != nil { // where there is none
			return err
		}
		if err := t.lock(ctx, tx); err != nil {
			return err
		}
		if now, _ := t.stored(ctx, tx); !now.same(was) && !now.same(next) {
			return errMoved
		}
		if err := beyond(tx); err != nil {
			return err
		}
		return t.putState(ctx, tx, next)
	})
}

// largest is the largest of some trees.
func largest(trees ...tlog.Tree) (of tlog.Tree) {
	for _, one := range trees {
		if one.N > of.N {
			of = one
		}
	}
	return of
}

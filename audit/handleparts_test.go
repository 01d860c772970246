package audit

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
)

// Handles as applications make them. Each has an ExecContext, and most a Commit,
// from what is embedded or of their own.
type (
	execFunc func() sql.Result
	execMap  map[string]sql.Result
	inner    struct{ *sql.Tx }
	outer    struct{ inner }
	withPool struct { // a transaction that knows where it came from
		*sql.Tx
		pool *sql.DB
	}
	withParent struct { // and one that has none above it
		*sql.Tx
		parent *sql.Tx
	}
	ring struct { // a handle whose type goes round in a circle
		*ring
		tx *sql.Tx
	}
	aroundFunc struct{ execFunc }
)

func (f execFunc) ExecContext(context.Context, string, ...any) (sql.Result, error) { return f(), nil }

func (m execMap) ExecContext(context.Context, string, ...any) (sql.Result, error) { return m[""], nil }
func (execFunc) Commit() error                                                    { return nil }
func (execMap) Commit() error                                                     { return nil }
func (r *ring) Commit() error                                                     { return r.tx.Commit() }

func (i *inner) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return i.Tx.ExecContext(ctx, query, args...)
}

func (r *ring) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return r.tx.ExecContext(ctx, query, args...)
}

// What is nothing, or around nothing, is no transaction, however it is wrapped; what
// merely names a database or nothing in a field of its own is one all the same.
func TestWhatAHandleIsMadeOf(t *testing.T) {
	s := newSQLiteTill(t)
	for name, nothing := range map[string]Tx{
		"nil": nil, "a nil transaction": (*sql.Tx)(nil), "a nil func": execFunc(nil), "a nil map": execMap(nil), "around a nil func": aroundFunc{},
		"its own method, around nil": &inner{}, "the same, embedded": &outer{}, "a nil pointer to it": (*outer)(nil), "an empty ring": &ring{},
	} {
		require.ErrorIs(t, s.inTransaction(t.Context(), nothing), ErrNoTransaction, name)
	}
	tx := s.begin()
	round := &ring{tx: tx}
	round.ring = round
	for name, handle := range map[string]Tx{
		"a transaction": tx, "a func": execFunc(func() sql.Result { return nil }), "a map": execMap{}, "its own method": &inner{tx}, "embedded": &outer{inner{tx}},
		"beside its pool": withPool{tx, s.db.DB}, "without a parent": withParent{tx, nil}, "a ring": round,
	} {
		require.NoError(t, s.inTransaction(t.Context(), handle), name)
	}
}

package sqlkeys

import (
	"context"
	"database/sql"
	"errors"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// The two kinds of change meet at one lock. Create shares it, Update has it
// alone, and it is held until the transaction has ended, so that whoever gets
// it sees everything that others wrote under it.
//
// It has to be fair: creations never stop coming, and an erasure that waits for
// a moment without any would wait for ever. PostgreSQL queues for a table, so
// there it is the table of the state row, which also keeps two schemas with the
// same tables apart and lasts as long as the transaction, through a pooler, too.
// Locks of its rows would not do: whoever shares one is let in past those who
// wait. InnoDB queues for a row. SQLite has one writer at a time.

// Create runs f in a transaction that shares the store with others of its
// kind.
func (s *Store) Create(ctx context.Context, f func(keystore.Tx) error) error {
	var inside error
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		t := &keyTx{tx: tx, dialect: s.db.Dialect, mode: creating}
		if inside = t.share(ctx); inside == nil {
			inside = f(t)
		}
		return inside
	})
	return failed(err, inside)
}

// share takes the lock together with others.
func (t *keyTx) share(ctx context.Context) error {
	lock := ""
	if err := checkPragmas(ctx, t.dialect, t.tx); err != nil {
		return err
	}
	switch t.dialect.Kind {
	case sqldb.Postgres:
		if err := t.exec(ctx, `LOCK TABLE crmguard_encryption_store IN ROW SHARE MODE`); err != nil {
			return err
		}
	case sqldb.MariaDB, sqldb.MySQL:
		lock = ` LOCK IN SHARE MODE`
	case sqldb.SQLite: // has begun with the write lock
	}
	state, err := readState(ctx, t.tx, lock)
	t.state = &state // nobody changes it meanwhile
	return err
}

var errNothing = errors.New("sqlkeys: nothing was written")

// Update runs f in a transaction that has the store for itself and begins by
// raising the sequence.
func (s *Store) Update(ctx context.Context, f func(keystore.Tx) error) (state keystore.State, err error) {
	var inside error
	err = s.db.Write(ctx, func(tx *sql.Tx) error {
		state, inside = update(ctx, &keyTx{tx: tx, dialect: s.db.Dialect, mode: updating}, f)
		return inside
	})
	if errors.Is(err, errNothing) {
		return s.State(ctx)
	}
	if err != nil {
		return keystore.State{}, failed(err, inside)
	}
	return state, nil
}

func update(ctx context.Context, t *keyTx, f func(keystore.Tx) error) (state keystore.State, err error) {
	if err := t.begin(ctx); err != nil {
		return state, err
	}
	if err := f(t); err != nil {
		return state, err
	}
	if !t.wrote {
		return state, errNothing
	}
	return t.State(ctx)
}

// begin takes the lock alone, raises the sequence and writes its mark.
func (t *keyTx) begin(ctx context.Context) error {
	t.mark = keystore.NewMark()
	if err := checkPragmas(ctx, t.dialect, t.tx); err != nil {
		return err
	}
	if t.dialect.Kind == sqldb.Postgres {
		if err := t.exec(ctx, `LOCK TABLE crmguard_encryption_store IN EXCLUSIVE MODE`); err != nil {
			return err
		}
	}
	if err := t.exec(ctx, `UPDATE crmguard_encryption_store SET sequence = sequence + 1, mark = ? WHERE one = 1`, t.mark); err != nil {
		return err
	}
	state, err := t.State(ctx)
	if err != nil {
		return err
	}
	t.sequence, t.narrows = state.Sequence, keystore.NarrowsNothing
	return t.insert(ctx, keystore.Rows{Marks: []keystore.MarkRow{{Sequence: state.Sequence, Mark: t.mark, Created: now(), Narrows: t.narrows}}}, true)
}

// adopt gives the store the sequence of a history that was put into it, and
// takes away what this update itself has written there.
func (t *keyTx) adopt(ctx context.Context, sequence int64) error {
	if err := t.exec(ctx, `DELETE FROM crmguard_encryption_mark WHERE sequence = ? AND mark = ?`, t.sequence, t.mark); err != nil {
		return err
	}
	return t.exec(ctx, `UPDATE crmguard_encryption_store SET sequence = ?,
		mark = COALESCE((SELECT m.mark FROM crmguard_encryption_mark m WHERE m.sequence = ?), '') WHERE one = 1`, sequence, sequence)
}

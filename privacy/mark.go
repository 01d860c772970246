package privacy

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// mark is the high-water mark inside the database: the ledger head up to which
// every erasure has been carried out in this database.
type mark struct {
	head head
	seen time.Time // when the ledger last verified
}

func (m mark) named() namedHead { return namedHead{"the application database", m.head} }

// loadMark returns the mark; ok is false where none was ever set.
func (d *Desk) loadMark(ctx context.Context) (m mark, ok bool, err error) {
	var seen int64
	err = sqldb.One(ctx, d.db, []any{&m.head.N, &m.head.Hash, &seen}, `SELECT n, hash, seen FROM crmguard_privacy_mark WHERE id = 1`)
	if errors.Is(err, sql.ErrNoRows) || err == nil && m.head.N < 0 {
		return mark{head: emptyHead()}, false, nil
	}
	m.seen = time.UnixMicro(seen).UTC()
	return m, err == nil, mute("reading the high-water mark", err)
}

// lockMark makes transactions that raise the mark come one after the other:
// each must see which erasures the one before has carried out. It is the first
// thing in such a transaction. A mark of -1 is none.
func (d *Desk) lockMark(ctx context.Context, tx datastore.Tx) error {
	in := sqldb.Insert{Table: "crmguard_privacy_mark", Columns: []string{"id", "n", "hash", "seen"}, Key: []string{"id"}}
	if err := d.db.Insert(ctx, tx, in, [][]any{{1, -1, "", 0}}); err != nil {
		return mute("locking the high-water mark", err)
	}
	if d.db.Kind == sqldb.SQLite { // its writers are serial
		return nil
	}
	var n int64
	return mute("locking the high-water mark", sqldb.One(ctx, tx, []any{&n}, `SELECT n FROM crmguard_privacy_mark WHERE id = 1 FOR UPDATE`))
}

// raise sets the mark to h; it never lowers it. The mark is locked.
func (d *Desk) raise(ctx context.Context, tx datastore.Tx, h head) error {
	_, err := d.exec(ctx, tx, "raising the high-water mark", `UPDATE crmguard_privacy_mark SET n = ?, hash = ?, seen = ? WHERE id = 1 AND n <= ?`,
		h.N, h.Hash, d.now().UnixMicro(), h.N)
	return err
}

// settle raises the mark over the entries of plans that have been carried out
// in this database, and stops before the first of one that has not. plan is
// the one whose stores have just erased. The mark is locked.
func (d *Desk) settle(ctx context.Context, tx datastore.Tx, c *chain, plan string) error {
	var n int64
	if err := sqldb.One(ctx, tx, []any{&n}, `SELECT n FROM crmguard_privacy_mark WHERE id = 1`); err != nil {
		return mute("reading the high-water mark", err)
	}
	n = max(n, 0)
	for _, e := range c.after(n) {
		if e.Plan != plan {
			_, settled, err := d.progress(ctx, tx, e)
			if err != nil {
				return err
			}
			if !settled {
				break
			}
		}
		n = e.N
	}
	if h, ok := c.at(n); ok {
		return d.raise(ctx, tx, h)
	}
	return nil
}

// catchUp settles again where the ledger has grown since it was read: an
// erasure that began later and has ended already found this one unfinished. The
// ledger is not read inside the transaction, because its keys and anchors may
// want a connection.
func (x *execution) catchUp(ctx context.Context) error {
	for {
		m, _, err := x.d.loadMark(ctx)
		if err != nil {
			return err
		}
		c, err := x.d.cfg.Ledger.read(ctx, m.named())
		if err != nil || c.head().N <= x.chain.head().N {
			return err
		}
		x.chain = c
		err = x.d.inTx(ctx, func(tx *sql.Tx) error {
			if err := x.d.lockMark(ctx, tx); err != nil {
				return err
			}
			return x.d.settle(ctx, tx, c, x.plan.ID)
		})
		if err != nil {
			return err
		}
	}
}

// behind reports entries after the mark that this database knows nothing of:
// it was restored, and erasing on would hide that. What it began itself and
// has not finished yet is no such sign: the mark stays before that.
func (d *Desk) behind(ctx context.Context, c *chain, m mark, plan string) error {
	for _, e := range c.after(m.head.N) {
		if e.Plan == plan {
			continue
		}
		begun, settled, err := d.progress(ctx, d.db, e)
		if err != nil {
			return err
		}
		if !begun && !settled {
			return &GateError{Mark: m.head.N, Head: c.head().N, Err: ErrBehind}
		}
	}
	return nil
}

// progress says whether this database has begun the plan of an entry, and
// whether every store has erased. It has done neither with a plan that is done
// in the ledger while it runs here.
func (d *Desk) progress(ctx context.Context, q sqldb.Querier, e entry) (begun, settled bool, err error) {
	var state string
	var erased sql.NullInt64
	err = sqldb.One(ctx, q, []any{&state, &erased}, d.db.Bind(`SELECT state, erased FROM crmguard_privacy_plan WHERE id = ?`), e.Plan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, false, nil
	case err != nil:
		return false, false, mute("reading the plan", err)
	case state == stateRunning:
		return e.Op != opDone, e.Op != opDone && erased.Valid, nil
	}
	return false, state == stateDone || erased.Valid, nil
}

// setErased notes when every store had erased, or that it is not so.
func (d *Desk) setErased(ctx context.Context, tx datastore.Tx, id string, at sql.NullInt64) error {
	_, err := d.exec(ctx, tx, "storing the plan's state", `UPDATE crmguard_privacy_plan SET erased = ? WHERE id = ?`, at, id)
	return err
}

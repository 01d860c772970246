package privacy

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// mark is the high-water mark inside the database: the ledger head up to which
// every erasure has been carried out in this database.
type mark struct {
	head erasurelog.Head
	seen time.Time // when the ledger last verified
}

// kept is the mark as the ledger compares it. The mark of a database where none
// was ever set is before every entry.
func (m mark) kept() []erasurelog.Kept {
	if m.head.N == 0 {
		return nil
	}
	return []erasurelog.Kept{{Name: "the application database", Head: m.head}}
}

// loadMark returns the mark; ok is false where none was ever set.
func (d *Desk) loadMark(ctx context.Context) (m mark, ok bool, err error) { return d.markIn(ctx, d.db) }

// markIn is loadMark within a transaction.
func (d *Desk) markIn(ctx context.Context, q sqldb.Querier) (m mark, ok bool, err error) {
	var seen int64
	err = sqldb.One(ctx, q, []any{&m.head.N, &m.head.Hash, &seen}, `SELECT n, hash, seen FROM crmguard_privacy_mark WHERE id = 1`)
	if errors.Is(err, sql.ErrNoRows) || err == nil && m.head.N < 0 {
		return mark{}, false, nil
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
func (d *Desk) raise(ctx context.Context, tx datastore.Tx, h erasurelog.Head) error {
	_, err := d.exec(ctx, tx, "raising the high-water mark", `UPDATE crmguard_privacy_mark SET n = ?, hash = ?, seen = ? WHERE id = 1 AND n <= ?`,
		h.N, h.Hash, d.now().UnixMicro(), h.N)
	return err
}

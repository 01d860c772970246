package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// Flush takes what ANALYZE has copied of rows out of SQLite's samples, until the
// next ANALYZE, and truncates its write-ahead log, which still holds the pages as
// they were. Open readers delay it: the error then wraps datastore.ErrLater.
func (s *Store) Flush(ctx context.Context) error {
	if !s.sqlite() {
		return nil
	}
	if err := s.forgetSamples(ctx); err != nil {
		return dbError("flush", "sqlite_stat4", err)
	}
	var busy, log, done int
	if err := sqldb.One(ctx, s.db, []any{&busy, &log, &done}, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return dbError("flush", "(write-ahead log)", err)
	}
	if busy != 0 {
		return fmt.Errorf("sqlstore: flush: readers are in the way of the checkpoint: %w", datastore.ErrLater)
	}
	return nil
}

// forgetSamples: sqlite_stat4 holds values of indexed columns as they were when
// ANALYZE, or PRAGMA optimize, was called.
func (s *Store) forgetSamples(ctx context.Context) error {
	var samples bool
	if err := sqldb.One(ctx, s.db, []any{&samples}, `SELECT COUNT(*) > 0 FROM main.sqlite_master WHERE name = 'sqlite_stat4'`); err != nil || !samples {
		return err
	}
	var names []any
	for _, e := range s.entities {
		if names = append(names, e.Name); e.Link != nil {
			names = append(names, e.Link.Table)
		}
	}
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		return s.exec(ctx, tx, `DELETE FROM main.sqlite_stat4 WHERE tbl COLLATE NOCASE IN (`+marks("?", len(names))+`)`, names...)
	})
}

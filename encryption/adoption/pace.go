package adoption

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// pacemaker remembers what the pace goes by.
type pacemaker struct {
	since time.Time // of the write-ahead log that was measured last
	log   int64
	known bool

	logged []logged // what standbys have not replayed, the oldest first
}

// pace waits between batches for as long as the options want, and makes batches
// as large as they take BatchTime.
func (p *pass) pace(ctx context.Context, took time.Duration) error {
	pause := time.Duration(0)
	switch {
	case took > p.options.BatchTime:
		p.batch = max(p.batch/2, min(10, p.options.Batch))
		pause = between(took/2, 0, 10*time.Second)
	case took < p.options.BatchTime/2:
		p.batch = min(p.batch+p.batch/4+1, p.options.Batch)
	}
	now := p.progress()
	if p.options.Progress != nil {
		p.options.Progress(now)
	}
	if p.options.RowsPerSecond > 0 {
		done := now.Rows - p.before
		due := time.Duration(float64(done) / float64(p.options.RowsPerSecond) * float64(time.Second))
		pause = max(pause, due-p.terms.Now().Sub(p.resumed))
	}
	wal, err := p.walPause(ctx)
	if err != nil {
		return err
	}
	pause = max(pause, wal)
	if p.options.Pause != nil {
		more, err := p.options.Pause(ctx, now)
		if err != nil {
			return fmt.Errorf("adoption: %s of %s was paused for good; called again it goes on: %w", p.job, p.def.Name, err)
		}
		pause = max(pause, more)
	}
	if pause > 0 {
		if err := p.terms.Wait(ctx, pause); err != nil {
			return err
		}
	}
	return p.lag(ctx)
}

// walPause is how long to wait until the log that was written since the last batch
// is what MaxWAL allows for the time.
func (p *pass) walPause(ctx context.Context) (time.Duration, error) {
	if p.options.MaxWAL <= 0 || p.db.Kind != sqldb.Postgres {
		return 0, nil
	}
	var log int64
	if err := sqldb.One(ctx, p.db, []any{&log}, `SELECT CAST(pg_current_wal_lsn() - '0/0'::pg_lsn AS bigint)`); err != nil {
		return 0, fmt.Errorf("adoption: how much PostgreSQL has logged: %w", sqldb.Safe(err))
	}
	m, now := &p.pacemaker, p.terms.Now()
	defer func() { m.since, m.log, m.known = now, log, true }()
	if !m.known {
		return 0, nil
	}
	due := time.Duration(float64(log-m.log) / float64(p.options.MaxWAL) * float64(time.Second))
	return between(due-now.Sub(m.since), 0, time.Minute), nil
}

// logged is how far the write-ahead log was at a time.
type logged struct {
	at       time.Time
	position int64
}

// maxLogged bounds the positions that are remembered.
const maxLogged = 1000

// lag waits until no standby lags further behind than MaxLag. PostgreSQL measures
// by what a standby answers; of one that replays nothing any more it goes on showing
// the last figure, or none. So the job remembers where the log was itself: what was
// logged then, and is not replayed yet, is as old as that.
func (p *pass) lag(ctx context.Context) error {
	if p.options.MaxLag <= 0 || p.db.Kind != sqldb.Postgres {
		return nil
	}
	for {
		var measured float64
		var position int64
		var replayed sql.NullInt64
		err := sqldb.One(ctx, p.db, []any{&measured, &position, &replayed}, `SELECT COALESCE(MAX(EXTRACT(epoch FROM replay_lag)), 0)::float8,
			CAST(pg_current_wal_lsn() - '0/0'::pg_lsn AS bigint), CAST(MIN(replay_lsn) - '0/0'::pg_lsn AS bigint) FROM pg_stat_replication`)
		if err != nil {
			return fmt.Errorf("adoption: how far standbys lag: %w", sqldb.Safe(err))
		}
		behind := max(time.Duration(measured*float64(time.Second)), p.pacemaker.behind(p.terms.Now(), position, replayed))
		if behind <= p.options.MaxLag {
			return nil
		}
		if err := p.terms.Wait(ctx, time.Second); err != nil {
			return err
		}
	}
}

// behind is the age of the oldest position that no standby has replayed, of those
// that were seen; without a standby there is none.
func (m *pacemaker) behind(now time.Time, position int64, replayed sql.NullInt64) time.Duration {
	if !replayed.Valid {
		m.logged = nil
		return 0
	}
	if n := len(m.logged); n == 0 || m.logged[n-1].position < position && n < maxLogged {
		m.logged = append(m.logged, logged{now, position})
	}
	m.logged = slices.DeleteFunc(m.logged, func(l logged) bool { return l.position <= replayed.Int64 })
	if len(m.logged) == 0 {
		return 0
	}
	return now.Sub(m.logged[0].at)
}

// estimate is how many rows the table has, as the database knows it without
// counting; 0 where it does not.
func (l *live) estimate(ctx context.Context) (n int64, err error) {
	schema, name := l.parts()
	query, args := `SELECT COALESCE(MAX(TABLE_ROWS), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ?`, []any{schema, name}
	switch l.db.Kind {
	case sqldb.Postgres:
		query, args = `SELECT GREATEST(COALESCE(MAX(reltuples), 0), 0)::bigint FROM pg_catalog.pg_class WHERE oid = to_regclass(?)`, []any{l.sql}
	case sqldb.SQLite:
		query, args = `SELECT COUNT(*) FROM `+l.sql, nil
	case sqldb.MariaDB, sqldb.MySQL:
	}
	err = l.db.Read(ctx, func(q sqldb.Querier) error { return sqldb.One(ctx, q, []any{&n}, l.db.Bind(query), args...) })
	if err != nil {
		return 0, l.wrong(err)
	}
	return n, nil
}

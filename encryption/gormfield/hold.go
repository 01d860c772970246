package gormfield

import (
	"context"
	"database/sql"
	"time"

	"gorm.io/gorm"
)

// lookEvery is how often somebody who waits for keys looks whether it waits for itself.
const lookEvery = 2 * time.Millisecond

// pooled is the pool that the connections of a *gorm.DB come from; nil where it
// is none of database/sql.
func pooled(db *gorm.DB) *sql.DB {
	switch pool := db.ConnPool.(type) {
	case *sql.DB:
		return pool
	case gorm.GetDBConnector: // of prepared statements
		if found, err := pool.GetDBConn(); err == nil {
			return found
		}
	}
	return nil
}

// full says whether who asks the pool for a connection now has to wait for one.
func full(pool *sql.DB) bool {
	if pool == nil {
		return false
	}
	stats := pool.Stats()
	return stats.MaxOpenConnections > 0 && stats.InUse >= stats.MaxOpenConnections
}

// single is the pool where it has one connection, otherwise nil.
func single(pool *sql.DB) *sql.DB {
	if pool != nil && pool.Stats().MaxOpenConnections == 1 {
		return pool
	}
	return nil
}

// held is the pool whose only connection the transaction of a statement holds; nil
// where there is none, or where others are left.
func held(stmt *gorm.Statement) *sql.DB {
	conn := stmt.ConnPool
	if ours, ok := conn.(*pool); ok {
		conn = ours.ConnPool
	}
	_, inTransaction := conn.(gorm.TxCommitter)
	_, pinned := conn.(*sql.Conn)
	if !inTransaction && !pinned {
		return nil
	}
	return single(pooled(stmt.DB))
}

// firstGrace is how long somebody goes on before it is asked whether it waits for
// itself; twice as long at each further attempt.
const firstGrace = 25 * time.Millisecond

// fetch runs what may ask the key store, for KeyWait at most. Where the caller
// holds the only connection of a pool (only), and the key store waits for that
// very connection, it would never get it: this fails soon, with ErrPool.
func (p *Plugin) fetch(ctx context.Context, only *sql.DB, run func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.config.KeyWait)
	defer cancel()
	if only == nil {
		return run(ctx)
	}
	// A wait of others may end in the moment in which ours is asked, so that it
	// takes two attempts to say that it was ours.
	waited := 0
	for grace := firstGrace; ; grace *= 2 {
		stopped, ours, err := attempt(ctx, only, grace, run)
		if !stopped || err == nil || ctx.Err() != nil {
			return err
		}
		if ours {
			waited++
		}
		if waited == 2 {
			return ErrPool
		}
	}
}

// attempt runs something that does not get the connection of a pool, and stops it
// where somebody has been waiting for that for long enough. Nobody gets it, so a
// wait ends by its context only: one of that length that ends with ours was ours,
// or that of somebody who gave up in the same moment.
func attempt(ctx context.Context, only *sql.DB, grace time.Duration, run func(context.Context) error) (stopped, ours bool, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	waiting := only.Stats().WaitCount
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for only.Stats().WaitCount == waiting {
		select {
		case err := <-done:
			return false, false, err
		case <-tick.C:
		}
	}
	enough := time.NewTimer(grace)
	defer enough.Stop()
	select {
	case err := <-done:
		return false, false, err
	case <-enough.C:
	}
	before := only.Stats().WaitDuration
	stop()
	err = <-done
	return true, only.Stats().WaitDuration-before >= grace/2, err
}

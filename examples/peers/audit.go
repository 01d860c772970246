package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/encryption"
)

// A journal is a database with a business table and some record of changes.
type journal struct {
	name   string
	role   role
	must   []string
	db     *sql.DB
	next   atomic.Int64
	events string // counts the events
	before func(ctx context.Context) error
	note   func(ctx context.Context, tx *sql.Tx, deal string) error
	// beside is done over and over while changes are made, and once after them.
	beside func(ctx context.Context) error
	sound  func(ctx context.Context) error // what was recorded is whole
}

// A shop is where journals are kept: a kind of database.
type shop struct {
	name     string
	database func(ctx context.Context, name string, statements ...string) (*sql.DB, error)
	deals    string // the business table
	blob     string // type of a column
	rest     string // what is done before a run, off the clock
}

const deals = 10_000 // so many that no two clients meet at one

func sqliteShop(p *bench) shop {
	return shop{
		name: "SQLite FULL", database: p.database, blob: "BLOB", rest: `PRAGMA wal_checkpoint(TRUNCATE)`,
		deals: fmt.Sprintf(`CREATE TABLE deals (id TEXT PRIMARY KEY, stage TEXT NOT NULL, version INTEGER NOT NULL) STRICT;
			WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO deals SELECT printf('deal-%%06d', i), 'lead', 0 FROM n`, deals-1),
	}
}

func postgresShop(p *bench, s *server) shop {
	return shop{
		name: "PostgreSQL", blob: "bytea", rest: `CHECKPOINT`,
		deals: fmt.Sprintf(`CREATE TABLE deals (id text COLLATE "C" PRIMARY KEY, stage text NOT NULL, version integer NOT NULL);
			INSERT INTO deals SELECT 'deal-' || lpad(i::text, 6, '0'), 'lead', 0 FROM generate_series(0, %d) AS i`, deals-1),
		database: func(ctx context.Context, _ string, statements ...string) (*sql.DB, error) {
			dsn, err := s.database(ctx)
			if err != nil {
				return nil, err
			}
			db, err := p.connect(dsn, clients+4)
			if err != nil {
				return nil, err
			}
			for _, statement := range statements {
				if _, err := db.ExecContext(ctx, statement); err != nil {
					return nil, err
				}
			}
			return db, nil
		},
	}
}

const clients = 16

// saleContests are what a sale pays for its event.
func saleContests(ctx context.Context, p *bench) ([]contest, error) {
	each := 100
	if p.small {
		each = 3
	}
	vault, err := newVault(ctx, p)
	if err != nil {
		return nil, err
	}
	lite, err := saleContest(ctx, p, vault, sqliteShop(p), 1, each, 15*time.Second)
	if err != nil {
		return nil, err
	}
	more, err := onServer(p, func() ([]contest, error) {
		one, err := saleContest(ctx, p, vault, postgresShop(p, p.server), 1, each, 15*time.Second)
		if err != nil {
			return nil, err
		}
		many, err := saleContest(ctx, p, vault, postgresShop(p, p.server), clients, each, 20*time.Second)
		if err != nil {
			return nil, err
		}
		chain, err := chainContest(ctx, p, vault, each)
		return []contest{one, many, chain}, err
	})
	return append([]contest{lite}, more...), err
}

const saleNote = "A sale is BEGIN, UPDATE of one of 10,000 rows, the event, COMMIT. The event is about one person, with one field; ours is prepared before BEGIN, on the clock. "

func saleContest(ctx context.Context, p *bench, vault *encryption.Vault, s shop, clients, each int, limit time.Duration) (contest, error) {
	ours, _, err := ourJournal(ctx, p, vault, s)
	if err != nil {
		return contest{}, err
	}
	size, err := eventSize(ctx, ours)
	if err != nil {
		return contest{}, err
	}
	bare, err := bareJournal(ctx, s, size)
	if err != nil {
		return contest{}, err
	}
	bare.must = []string{"<= 1.15"}
	none, err := noJournal(ctx, s)
	if err != nil {
		return contest{}, err
	}
	who := "one client"
	if clients > 1 {
		who = fmt.Sprintf("%d clients", clients)
	}
	return contest{
		Package: "audit", What: fmt.Sprintf("%d sales with their events, %s, %s", clients*each, s.name, who),
		Note:        saleNote + fmt.Sprintf("Ours is %d bytes of columns, the peer inserts one row of just as many, its id in the same order; statements go through the transaction in the same way. Keys are warm, no sequencer runs, and what the database has in its log is written into its files before each run (%s), off the clock. The floor records nothing.", size, s.rest),
		Contestants: contestants(ctx, s, clients, each, ours, bare, none), Time: limit,
	}, nil
}

// chainContest lets the log grow while its events are recorded.
func chainContest(ctx context.Context, p *bench, vault *encryption.Vault, each int) (contest, error) {
	s := postgresShop(p, p.server)
	ours, log, err := ourJournal(ctx, p, vault, s)
	if err != nil {
		return contest{}, err
	}
	size, err := eventSize(ctx, ours)
	if err != nil {
		return contest{}, err
	}
	ours.name = "Trail.Record, sequencer beside, until all is filed and signed"
	ours.beside = func(ctx context.Context) error {
		_, err := log.file(ctx)
		return err
	}
	ours.sound = func(ctx context.Context) error {
		if n, err := log.waiting(ctx); err != nil || n > 0 {
			return errors.Join(err, fmt.Errorf("%d events wait", n))
		}
		_, _, err := verify(ctx, log.dir, log.key)
		return err
	}
	chain, err := chainJournal(ctx, s, size)
	if err != nil {
		return contest{}, err
	}
	chain.must = []string{">= 3"}
	return contest{
		Package: "audit", What: fmt.Sprintf("%d sales with their events in a log, PostgreSQL, %d clients", clients*each, clients),
		Note:        saleNote + fmt.Sprintf("Ours is filed and signed by a sequencer that runs all the time, and a run ends when nothing waits any more. The peer keeps a chain of hashes as it is usually done: the transaction takes an advisory lock, reads the last hash, and inserts its event (%d bytes, as ours) with the next one.", size),
		Contestants: contestants(ctx, s, clients, each, ours, chain), Time: 25 * time.Second,
	}, nil
}

func contestants(ctx context.Context, s shop, clients, each int, journals ...*journal) (out []contestant) {
	for _, j := range journals {
		out = append(out, contestant{
			Name: j.name, Role: j.role, Must: j.must,
			Answer: func() (string, error) { return j.answer(ctx) },
			Setup: func(int) error {
				_, err := j.db.ExecContext(ctx, s.rest)
				return err
			},
			Run: func(n int) error {
				for range n {
					if err := j.crowd(ctx, clients, each); err != nil {
						return err
					}
				}
				return nil
			},
		})
	}
	return out
}

// crowd lets clients make changes all at once, each to deals of its own.
func (j *journal) crowd(ctx context.Context, clients, each int) error {
	first := int(j.next.Add(int64(each))) - each
	errs := make([]error, clients)
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			for i := range each {
				if errs[client] = j.change(ctx, (first+i)*clients+client, nil); errs[client] != nil {
					return
				}
			}
		})
	}
	if j.beside == nil {
		all.Wait()
		return errors.Join(errs...)
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	for {
		if err := j.beside(ctx); err != nil {
			<-done
			return err
		}
		select {
		case <-done: // what was committed during the last pass
			return errors.Join(append(errs, j.beside(ctx))...)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (j *journal) change(ctx context.Context, i int, fail error) error {
	if err := j.before(ctx); err != nil {
		return err
	}
	deal := dealID(i % deals)
	return within(ctx, j.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE deals SET stage = $1, version = version + 1 WHERE id = $2`, "won", deal); err != nil {
			return err
		}
		if err := j.note(ctx, tx, deal); err != nil {
			return err
		}
		return fail
	})
}

// answer proves that change and event come and go together.
func (j *journal) answer(ctx context.Context) (string, error) {
	count := func() (versions, events int, err error) {
		if versions, err = one[int](ctx, j.db, `SELECT SUM(version) FROM deals`); err != nil || j.events == "" {
			return versions, versions, err
		}
		events, err = one[int](ctx, j.db, j.events)
		return versions, events, err
	}
	versions, events, err := count()
	if err != nil {
		return "", err
	}
	stop := errors.New("the application changes its mind")
	if err := j.change(ctx, 1, stop); !errors.Is(err, stop) {
		return "", fmt.Errorf("a transaction that should fail: %w", err)
	}
	if err := j.crowd(ctx, 3, 1); err != nil {
		return "", err
	}
	moreVersions, moreEvents, err := count()
	if err == nil && j.sound != nil {
		err = j.sound(ctx)
	}
	return fmt.Sprintf("%d changes kept, %d recorded, %t", moreVersions-versions, moreEvents-events, moreVersions == moreEvents || j.events == ""), err
}

func (s shop) open(ctx context.Context, name string, statements ...string) (*sql.DB, error) {
	return s.database(ctx, name, append(strings.Split(s.deals, ";"), statements...)...)
}

func nothingBefore(context.Context) error { return nil }

func ourJournal(ctx context.Context, p *bench, vault *encryption.Vault, s shop) (*journal, *ourLog, error) {
	db, err := s.open(ctx, "trail")
	if err != nil {
		return nil, nil, err
	}
	dir, err := p.folder("log")
	if err != nil {
		return nil, nil, err
	}
	log, err := openLog(ctx, vault, db, dir)
	if err != nil {
		return nil, nil, err
	}
	return &journal{name: "Trail.Record", role: ours, db: db, events: recordedEvents, before: log.prepare, note: log.record}, log, nil
}

// eventSize is how many bytes of columns one recorded event adds.
func eventSize(ctx context.Context, j *journal) (int, error) {
	var sizes [2]int
	for i := range sizes { // the first one makes a surrogate
		err := j.change(ctx, 0, nil)
		if err == nil {
			sizes[i], err = one[int](ctx, j.db, recordedBytes)
		}
		if err != nil {
			return 0, err
		}
	}
	return sizes[1] - sizes[0], nil
}

// newID is 16 bytes in the order of time, as the ids of our events are.
func newID() ([]byte, error) {
	id, err := uuid.NewV7()
	return id[:], err
}

func bareJournal(ctx context.Context, s shop, size int) (*journal, error) {
	db, err := s.open(ctx, "bare", fmt.Sprintf(`CREATE TABLE events (id %s PRIMARY KEY, body %s NOT NULL)`, s.blob, s.blob))
	body := randomBytes(size - 16)
	return &journal{
		name: "bare INSERT of as many bytes", role: peer, db: db, events: `SELECT COUNT(*) FROM events`, before: nothingBefore,
		note: func(ctx context.Context, tx *sql.Tx, _ string) error {
			id, err := newID()
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO events (id, body) VALUES ($1, $2)`, id, body)
			return err
		},
	}, err
}

func noJournal(ctx context.Context, s shop) (*journal, error) {
	db, err := s.open(ctx, "nothing")
	return &journal{
		name: "the UPDATE alone, nothing recorded", role: floor, db: db, before: nothingBefore,
		note: func(context.Context, *sql.Tx, string) error { return nil },
	}, err
}

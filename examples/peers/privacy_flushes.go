package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// watched is the place of a ledger that is watched while it is written to.
type watched struct {
	erasurelog.Medium
	appends, notes int
	took           time.Duration // in appends
}

func (w *watched) Append(ctx context.Context, at erasurelog.Position, last, line []byte) error {
	begun := time.Now()
	err := w.Medium.Append(ctx, at, last, line)
	w.took += time.Since(begun)
	w.appends++
	return err
}

func (w *watched) PutNotes(ctx context.Context, notes ...erasurelog.SealedNote) error {
	w.notes += len(notes)
	return w.Medium.PutNotes(ctx, notes...)
}

func (w *watched) forget() { w.appends, w.notes, w.took = 0, 0, 0 }

// emptying counts how often the write-ahead log is emptied.
type emptying struct {
	*sqlstore.Store
	times *int
}

func (e emptying) Flush(ctx context.Context) error {
	*e.times++
	return e.Store.Flush(ctx)
}

// flushes counts what an erasure waits for.
func flushes(ctx context.Context, p *bench, e engine) ([]taken, error) {
	people, err := populate(ctx, e, "flushes", bystanders)
	if err != nil {
		return nil, err
	}
	commits := 0
	if err := onCommit(ctx, people.db, func() { commits++ }); err != nil {
		return nil, err
	}
	dir, err := p.folder("ledger")
	if err != nil {
		return nil, err
	}
	medium, emptied := &watched{Medium: erasurelog.Folder(dir)}, 0
	s := deskSetup{people: people, medium: medium, database: func(store *sqlstore.Store) datastore.Transactional { return emptying{store, &emptied} }}
	if err := s.install(ctx, dir, ""); err != nil {
		return nil, err
	}
	desk, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	warm, err := people.approved(ctx, desk)
	if err != nil {
		return nil, err
	}
	if err := execute(ctx, desk, warm); err != nil {
		return nil, err
	}
	one, err := people.add(ctx, 1)
	if err != nil {
		return nil, err
	}
	sum := func() float64 { return float64(commits + 3*emptied + medium.appends + 2*medium.notes) }
	forget := func() {
		commits, emptied = 0, 0
		medium.forget()
	}
	forget()
	plan, err := approved(ctx, desk, one[0])
	if err != nil {
		return nil, err
	}
	before := sum()
	forget()
	if err := execute(ctx, desk, plan); err != nil {
		return nil, err
	}
	if commits == 0 || medium.appends == 0 {
		return nil, fmt.Errorf("%d commits and %d entries were seen", commits, medium.appends)
	}
	return []taken{
		{"Execute", sum(), "flushes", "<= 8 flushes"},
		{"of these: commits", float64(commits), "flushes", ""},
		{"of these: the emptied log", float64(3 * emptied), "flushes", ""},
		{"of these: the ledger", float64(medium.appends + 2*medium.notes), "flushes", ""},
		{"PlanErasure and Approve before", before, "flushes", ""},
	}, nil
}

// onCommit has the driver tell of each commit, and keeps one connection for it.
func onCommit(ctx context.Context, db *sql.DB, told func()) (err error) {
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return conn.Raw(func(driver any) error {
		hooks, ok := driver.(sqlite.HookRegisterer)
		if !ok {
			return errors.New("this driver tells of no commits")
		}
		hooks.RegisterCommitHook(func() int32 {
			told()
			return 0
		})
		return nil
	})
}

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/encryption"
)

const logName = "peers.crm.example/audit"

// A journal is a database with a business table and some record of changes.
type journal struct {
	name    string
	role    role
	db      *sql.DB
	changes int
	events  string // counts the events
	before  func(ctx context.Context) error
	note    func(ctx context.Context, tx *sql.Tx, deal string, version int) error
}

const dealsTable = `CREATE TABLE deals (id TEXT PRIMARY KEY, stage TEXT NOT NULL, version INTEGER NOT NULL) STRICT`

const deals = 1000

func auditContests(ctx context.Context, p *bench) ([]contest, error) {
	ours, err := ourJournal(ctx, p)
	if err != nil {
		return nil, err
	}
	size, err := eventSize(ctx, ours)
	if err != nil {
		return nil, err
	}
	bare, err := bareJournal(ctx, p, size)
	if err != nil {
		return nil, err
	}
	none, err := noJournal(ctx, p)
	if err != nil {
		return nil, err
	}
	out := contest{
		Package: "audit", What: "one business change with its event, in one transaction",
		Note: fmt.Sprintf("SQLite (modernc), WAL, synchronous=FULL, one connection's worth of work: BEGIN, UPDATE of one row, the event, COMMIT. Ours writes leaf, tag, surrogate, index row and one opening sealed under a person's key, %d bytes of columns in all; the peer inserts one row of just as many bytes. The last one records nothing.", size),
	}
	for _, j := range []*journal{ours, bare, none} {
		out.Contestants = append(out.Contestants, contestant{
			Name: j.name, Role: j.role,
			Answer: func() (string, error) { return j.answer(ctx) },
			Run: func(n int) error {
				for range n {
					if err := j.change(ctx, j.changes, nil); err != nil {
						return err
					}
					j.changes++
				}
				return nil
			},
		})
	}
	return []contest{out}, nil
}

func (j *journal) change(ctx context.Context, i int, fail error) error {
	if err := j.before(ctx); err != nil {
		return err
	}
	deal := fmt.Sprintf("deal-%d", i%deals)
	return within(ctx, j.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE deals SET stage = ?, version = version + 1 WHERE id = ?`, "won", deal); err != nil {
			return err
		}
		if err := j.note(ctx, tx, deal, i); err != nil {
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
	for i := range 3 {
		if err := j.change(ctx, i, nil); err != nil {
			return "", err
		}
	}
	moreVersions, moreEvents, err := count()
	return fmt.Sprintf("%d changes kept, %d recorded", moreVersions-versions, moreEvents-events), err
}

func dealsDatabase(ctx context.Context, p *bench, name string, statements ...string) (*sql.DB, error) {
	fill := fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO deals SELECT 'deal-' || i, 'lead', 0 FROM n`, deals-1)
	return p.database(ctx, name, append([]string{dealsTable, fill}, statements...)...)
}

func ourJournal(ctx context.Context, p *bench) (*journal, error) {
	vault, err := newVault(ctx, p)
	if err != nil {
		return nil, err
	}
	db, err := dealsDatabase(ctx, p, "trail")
	if err != nil {
		return nil, err
	}
	dir, err := p.folder("log")
	if err != nil {
		return nil, err
	}
	trail, _, err := newTrail(ctx, vault, db, dir)
	if err != nil {
		return nil, err
	}
	event := audit.Event{Tenant: tenant, Actor: "u7", Action: "deal.update", Persons: []string{person}, Changes: []audit.Change{
		{Path: "stage", Who: person, Old: "lead", New: "won"}, {Path: "amount", Who: person, Old: 120_000, New: 135_000},
	}}
	return &journal{
		name: "Trail.Record", role: ours, db: db, events: `SELECT COUNT(*) FROM crmguard_audit_events`,
		before: func(ctx context.Context) error { return trail.Prepare(ctx, tenant, person) },
		note: func(ctx context.Context, tx *sql.Tx, deal string, _ int) error {
			e := event
			e.Object = audit.Ref("deal", deal)
			_, err := trail.Record(ctx, tx, e)
			return err
		},
	}, nil
}

// newTrail opens a trail over db that publishes into the folder log below dir.
// The verifier key is what foreign programs are given.
func newTrail(ctx context.Context, vault *encryption.Vault, db *sql.DB, dir string) (*audit.Trail, string, error) {
	if err := sqltrail.Install(ctx, db); err != nil {
		return nil, "", err
	}
	store, err := sqltrail.Open(ctx, db)
	if err != nil {
		return nil, "", err
	}
	secret, verifier, err := audit.GenerateKey(logName, 0)
	if err != nil {
		return nil, "", err
	}
	sink, err := tilesink.Open(filepath.Join(dir, "log"))
	if err != nil {
		return nil, "", err
	}
	trail, err := audit.Open(ctx, store, audit.Config{
		Name: logName, Tenant: tenant, Key: secret, Sink: sink, Keys: vault.AuditKeys(),
		Fields: map[string][]string{"deal": {"stage", "amount"}},
	})
	return trail, verifier, err
}

// eventSize is how many bytes of columns one recorded event adds.
func eventSize(ctx context.Context, j *journal) (int, error) {
	const query = `SELECT COALESCE(SUM(LENGTH(id) + 8 + LENGTH(retry) + LENGTH(body)), 0) FROM crmguard_audit_events`
	before, err := one[int](ctx, j.db, query)
	if err != nil {
		return 0, err
	}
	if err := j.change(ctx, 0, nil); err != nil {
		return 0, err
	}
	after, err := one[int](ctx, j.db, query)
	return after - before, err
}

func bareJournal(ctx context.Context, p *bench, size int) (*journal, error) {
	db, err := dealsDatabase(ctx, p, "bare", `CREATE TABLE events (id BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT`)
	if err != nil {
		return nil, err
	}
	body := randomBytes(size - 16)
	return &journal{
		name: "bare INSERT of as many bytes", role: peer, db: db, events: `SELECT COUNT(*) FROM events`,
		before: func(context.Context) error { return nil },
		note: func(ctx context.Context, tx *sql.Tx, _ string, _ int) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO events (id, body) VALUES (?, ?)`, randomBytes(16), body)
			return err
		},
	}, nil
}

func noJournal(ctx context.Context, p *bench) (*journal, error) {
	db, err := dealsDatabase(ctx, p, "nothing")
	return &journal{
		name: "the UPDATE alone, nothing recorded", role: floor, db: db,
		before: func(context.Context) error { return nil },
		note:   func(context.Context, *sql.Tx, string, int) error { return nil },
	}, err
}

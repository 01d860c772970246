package main

import (
	"context"
	"fmt"
)

const (
	bystanders  = 500    // who stay
	perDatabase = 20     // erasures, after which a database is made anew
	fullLedger  = 10_000 // entries
)

// An eraser forgets people of a database of its own.
type eraser struct {
	people *population
	erase  func(ctx context.Context, person string) error
}

const erasingNote = "500 other people. Both sides plan, approve and execute. Ours finds by rehearsing and stores the plan; finds anew, erases, checks and marks in one transaction; writes an intent and a done to a ledger outside the database; reads back by key and by a fresh search; signs a certificate; the waiting times are configured away. The peer counts and stores a request, stores an approval, and deletes in one transaction that also closes the request, and counts what is left. The floor only deletes. Databases and ledgers are made anew after 20 erasures. "

func privacyContests(ctx context.Context, p *bench) ([]contest, error) {
	all, err := engines(p)
	if err != nil {
		return nil, err
	}
	full, err := p.ledgerOf(ctx, fullLedger)
	if err != nil {
		return nil, err
	}
	var out []contest
	for _, e := range all {
		against, err := erasing(ctx, p, e)
		if err != nil {
			return nil, err
		}
		grown, err := erasingLate(ctx, p, e, full)
		if err != nil {
			return nil, err
		}
		out = append(out, against, grown)
	}
	return out, nil
}

// erasing is ours against hand-written SQL.
func erasing(ctx context.Context, p *bench, e engine) (contest, error) {
	c := contest{
		Package: "privacy", What: "erase one person, 19 rows in 4 tables, " + e.name,
		Note: databaseNote(e) + erasingNote + "Ours keeps its ledger " + p.memoryNote() + ", so that the flushes of the ledger cost nothing: what they cost on the disk is counted below, and the second of ours has its ledger there. On SQLite ours empties the write-ahead log, in which the erased still stand: one of the peers does so, too.",
	}
	byHand := "hand-written SQL: request, approval, DELETEs, count afterwards"
	err := c.join(ctx, "Desk.PlanErasure, Approve, Execute", ours, nil, func(ctx context.Context) (*eraser, error) { return deskEraser(ctx, e, p.memory, "") })
	if err != nil {
		return c, err
	}
	must := []string{"<= 1.5"}
	if e.name == "SQLite" { // there the demand is on the peer after whom the erased stand nowhere, as after ours
		must = nil
	}
	if err := c.join(ctx, byHand, peer, must, func(ctx context.Context) (*eraser, error) { return carefulEraser(ctx, e, false) }); err != nil {
		return c, err
	}
	if e.name == "SQLite" {
		err := c.join(ctx, byHand+", the log emptied", peer, []string{"<= 1.5"}, func(ctx context.Context) (*eraser, error) { return carefulEraser(ctx, e, true) })
		if err != nil {
			return c, err
		}
	}
	if err := c.join(ctx, "the same Desk, its ledger on the disk", ours, nil, func(ctx context.Context) (*eraser, error) { return deskEraser(ctx, e, p.folder, "") }); err != nil {
		return c, err
	}
	err = c.join(ctx, "four DELETEs in a transaction", floor, nil, func(ctx context.Context) (*eraser, error) { return bareEraser(ctx, e) })
	return c, err
}

// erasingLate is ours with a full ledger against ours with an empty one.
func erasingLate(ctx context.Context, p *bench, e engine, full string) (contest, error) {
	c := contest{
		Package: "privacy", What: fmt.Sprintf("erase one person, %d entries in the ledger, %s", fullLedger, e.name),
		Note: databaseNote(e) + fmt.Sprintf("500 other people. Ours twice, ledger %s: one has %d entries of 30 days ago, which this process has read before. Databases and ledgers are made anew after 20 erasures.", p.memoryNote(), fullLedger),
	}
	err := c.join(ctx, "Desk.PlanErasure, Approve, Execute, a full ledger", ours, nil, func(ctx context.Context) (*eraser, error) { return deskEraser(ctx, e, p.memory, full) })
	if err != nil {
		return c, err
	}
	err = c.join(ctx, "the same, an empty ledger", ours, []string{"<= 1.1"}, func(ctx context.Context) (*eraser, error) { return deskEraser(ctx, e, p.memory, "") })
	return c, err
}

func databaseNote(e engine) string {
	if e.name == "SQLite" {
		return "SQLite (modernc), WAL, synchronous=FULL. "
	}
	return "PostgreSQL with the settings it is shipped with, over a socket: what is committed is on the disk. "
}

// join adds a contestant, whose database is made anew now and then.
func (c *contest) join(ctx context.Context, name string, as role, must []string, create func(ctx context.Context) (*eraser, error)) error {
	fresh := func() (*eraser, error) {
		e, err := create(ctx)
		if err != nil {
			return nil, err
		}
		warm, err := e.people.add(ctx, 1) // what is read for the first time is on no clock
		if err != nil {
			return nil, err
		}
		return e, e.eraseAll(ctx, warm)
	}
	e, err := fresh()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	erased, people := 0, []string(nil)
	c.Contestants = append(c.Contestants, contestant{
		Name: name, Role: as, Must: must,
		Answer: func() (string, error) { return e.answer(ctx) },
		Setup: func(n int) (err error) {
			if erased >= perDatabase {
				if err := e.people.db.Close(); err != nil {
					return err
				}
				if e, err = fresh(); err != nil {
					return err
				}
				erased = 0
			}
			erased += n
			people, err = e.people.add(ctx, n)
			return err
		},
		Run: func(int) error { return e.eraseAll(ctx, people) },
	})
	return nil
}

func (e *eraser) eraseAll(ctx context.Context, people []string) error {
	for _, id := range people {
		if err := e.erase(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// answer erases one person and counts who is left.
func (e *eraser) answer(ctx context.Context) (string, error) {
	people, err := e.people.add(ctx, 1)
	if err != nil {
		return "", err
	}
	found, err := e.people.found(ctx, people[0])
	if err != nil {
		return "", err
	}
	if err := e.erase(ctx, people[0]); err != nil {
		return "", err
	}
	left, err := e.people.found(ctx, people[0])
	if err != nil {
		return "", err
	}
	others, err := e.people.found(ctx, "")
	return fmt.Sprintf("%d rows found, %d left, others keep %d", found, left, others), err
}

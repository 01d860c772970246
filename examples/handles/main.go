// Command handles records what happened to a row in the transaction that changes
// the row, through the handle that each library has for a transaction:
//
//	go run .                    on SQLite, in a temporary folder
//	go run . postgres://…       on an empty PostgreSQL database, pgx without database/sql included
//
// What goes into Trail.Record, or into a func of Trail.Recorder:
//
//	database/sql   tx                       a *sql.Tx, of pgx/stdlib or any other driver
//	sqlx           tx                       a *sqlx.Tx
//	GORM           tx.Statement.ConnPool    in db.Transaction, nested or not, with PrepareStmt or without, and in hooks
//	bun            tx.Tx                    the *sql.Tx in a bun.Tx
//	pgx            handle{tx}               a pgx.Tx, by the lines in pgx.go
//
// A bun.Tx itself writes arguments into the text of a statement, in place of
// question marks; the statements of a trail have $1 on PostgreSQL, so it fails
// there. What is no transaction is refused with audit.ErrNoTransaction, and
// nothing is written: a *sql.DB, a *sqlx.DB, the ConnPool of GORM outside of a
// transaction (also in the hooks of a session with SkipDefaultTransaction), a
// bun.DB, connections. A savepoint of any of them takes its event with it when it
// is rolled back.
//
// A trail needs a *sql.DB for its own work: of a pgx pool it is
// stdlib.OpenDBFromPool(pool). Within the caller's transaction it uses the handle
// and nothing else, so that a pool of one connection is enough. With gormfield the
// hooks of a model record, and what comes behind a statement; a callback of GORM
// that records before gormfield's own has ended fails, and the statement with it.
//
// In crm.go stand the row and the trail, and each library has a file. In
// filter_test.go stand lists, counts, pages, changes and deletions under GORM that
// a filter of package accesscontrol bounds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/audit/auditlog"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var errChangedMind = errors.New("the customer has changed her mind")

func run(ctx context.Context, args []string) (err error) {
	dir, err := os.MkdirTemp("", "handles")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	driver, dsn := "sqlite", "file:"+filepath.Join(dir, "crm.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)"
	if len(args) == 1 {
		driver, dsn = "pgx", args[0]
	}
	c, err := openCRM(ctx, driver, dsn, dir)
	if err != nil {
		return err
	}
	defer c.db.Close()
	ways, closeAll, err := c.ways(ctx, driver, dsn)
	if err != nil {
		return err
	}
	defer closeAll()
	for i, w := range ways {
		id := fmt.Sprint("person-", i)
		if _, err := c.db.ExecContext(ctx, "INSERT INTO contacts (id, email) VALUES ('"+id+"', 'ann@a.example')"); err != nil {
			return err
		}
		if err := c.trail.Prepare(ctx, tenant, id); err != nil { // before the transaction
			return err
		}
		if err := w.move(ctx, id, "ann@b.example", func() error { return nil }); err != nil {
			return err
		}
		if err := w.move(ctx, id, "ann@c.example", func() error { return errChangedMind }); !errors.Is(err, errChangedMind) {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		done, err := c.trail.RunOnce(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%-20s two transactions, one was rolled back: %d event\n", w.name, done.Sequenced)
	}
	kept, err := c.trail.Checkpoint(ctx) // in another place than the log
	if err != nil {
		return err
	}
	report, err := auditlog.VerifyLog(ctx, os.DirFS(filepath.Join(dir, "log")), auditlog.Trust{Key: c.verifier, Kept: kept})
	fmt.Println(report.Verdict, report.Verified)
	return err
}

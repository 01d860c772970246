// Command adopt is what an operator calls to seal a column of a table that is in
// use (package encryption/adoption), and the beginning of your own: put your table
// into definition.go and your KMS into open.
//
//	go run . [flags] status|plan|sql|move STAGE|backfill|clear|back|restore|clear-erased|guard KIND
//
//	status        where the table stands, and what is wrong
//	plan          what is in the way, what the table lacks, what a Backfill would do; changes no row of it
//	sql           the statements that the table lacks, for its owner
//	move STAGE    one stage forward or back: plain, write-both, read-sealed, sealed-only
//	backfill      seal what stands in the clear
//	clear         take the clear away, at sealed-only
//	back          one stage back, with all that belongs to it
//	restore       the statements that bring back what was dropped on the way, for after back
//	clear-erased  take away what erased persons left
//	guard KIND    the statements of the trigger: reset, refuse, none
//
// The databases and the folder of the KEK come from the environment: CRM_URL,
// KEYS_URL, KEK_FOLDER. Whatever was interrupted, Ctrl-C included, goes on when it is
// called again. Statements go to stdout, for psql or a file, and words to stderr; status
// and the reports of jobs, which have no statements, go to stdout.
//
// The key store is made once and elsewhere, by encryption.Create and AddTenant: see the
// first lines of package encryption. The tables of the stages are made here by every
// verb (adoption.Install), until you make them with a tool of yours. Where an error says
// "state LoseChecks", the flag is -lose-checks, and so for the others; -lose-unique takes
// the name that stands behind it, and may be given more than once. Take the import of
// the driver away that you do not use.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := (&operator{out: os.Stdout, words: os.Stderr}).call(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "adopt:", err)
		os.Exit(1)
	}
}

// operator is one call of the program.
type operator struct {
	out    io.Writer                                        // statements, status and reports
	words  io.Writer                                        // all else
	wait   func(ctx context.Context, d time.Duration) error // nil waits
	a      *adoption.Adoption
	tenant string
	job    adoption.JobOptions
	move   adoption.MoveOptions
}

// call does what the arguments say.
func (o *operator) call(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("adopt", flag.ContinueOnError)
	flags.SetOutput(o.words)
	driver := flags.String("driver", "pgx", "pgx or sqlite, of both databases")
	flags.StringVar(&o.tenant, "tenant", "main", "whose rows")
	flags.IntVar(&o.job.RowsPerSecond, "rows", 0, "rows a second at most; 0 is as fast as it goes")
	flags.IntVar(&o.job.Workers, "workers", 1, "batches at once")
	flags.DurationVar(&o.job.MaxLag, "lag", 0, "wait while a standby lags further behind (PostgreSQL)")
	flags.BoolVar(&o.job.DryRun, "n", false, "change nothing")
	flags.BoolVar(&o.move.OldReleaseGone, "old-release-gone", false, "nothing runs any more that knows nothing of the adoption")
	flags.Int64Var(&o.move.Accept, "accept", 0, "rows that may stay behind")
	flags.Func("lose-unique", "`name` of an index or constraint whose uniqueness nothing has to keep, as plan says it; as often as there are such", func(name string) error {
		o.move.LoseUnique = append(o.move.LoseUnique, name)
		return nil
	})
	flags.BoolVar(&o.move.LoseChecks, "lose-checks", false, "what CHECKs over the column refuse is refused by the application, or by nobody")
	flags.BoolVar(&o.move.LoseSpellings, "lose-spellings", false, "a search may find fewer spellings than it does today")
	flags.BoolVar(&o.move.IgnoreCascades, "ignore-cascades", false, "no cascade of a foreign key ever changes the owner or tenant of a row (MariaDB, MySQL)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	end, err := o.open(ctx, *driver)
	if err != nil {
		return err
	}
	defer end()
	var last time.Time
	o.job.Progress = func(p adoption.Progress) {
		if now := time.Now(); now.Sub(last) >= time.Second {
			last = now
			fmt.Fprintln(o.words, p)
		}
	}
	o.move.Waiting = func(what string) { fmt.Fprintln(o.words, "waiting for", what) }
	return o.do(ctx, flags.Arg(0), flags.Arg(1))
}

// open opens both databases, the vault, and the adoption. Where your application sets
// Config.LongestTransaction, set the same here: a move waits for that of this vault.
func (o *operator) open(ctx context.Context, driver string) (end func(), err error) {
	crm, err := sql.Open(driver, os.Getenv("CRM_URL"))
	if err != nil {
		return nil, err
	}
	keyDB, err := sql.Open(driver, os.Getenv("KEYS_URL"))
	if err != nil {
		return nil, errors.Join(err, crm.Close())
	}
	end = func() { _, _ = crm.Close(), keyDB.Close() }
	defer func() {
		if err != nil {
			end()
		}
	}()
	keys, err := sqlkeys.Open(ctx, keyDB)
	if err != nil {
		return end, fmt.Errorf("the key store (KEYS_URL): %w", err)
	}
	vault, err := encryption.Open(ctx, encryption.Config{Keys: keys, KEK: insecurekeys.Folder(os.Getenv("KEK_FOLDER")), Wait: o.wait})
	if err != nil {
		return end, fmt.Errorf("the vault (KEYS_URL, KEK_FOLDER): %w", err)
	}
	if o.a, err = contacts(ctx, vault, crm); err != nil {
		return end, fmt.Errorf("the table (CRM_URL): %w", err)
	}
	return end, nil
}

func (o *operator) do(ctx context.Context, verb, what string) error {
	switch verb {
	case "status":
		return o.status(ctx)
	case "plan":
		return o.plan(ctx)
	case "sql":
		return o.statements(o.a.SQL(ctx))
	case "guard":
		return o.statements(o.a.GuardSQL(ctx, adoption.Guard(what)))
	case "move":
		return o.moveTo(ctx, adoption.Stage(what))
	case "backfill":
		return o.run(ctx, o.a.Backfill)
	case "clear":
		return o.run(ctx, o.a.Clear)
	case "clear-erased":
		return o.run(ctx, o.a.ClearErased)
	case "back":
		return o.back(ctx)
	case "restore":
		return o.statements(o.a.RestoreSQL(ctx, o.tenant))
	}
	return fmt.Errorf("%q is none of status, plan, sql, move, backfill, clear, back, restore, clear-erased, guard", verb)
}

// status prints one line for what is as it should be, and one for each finding.
func (o *operator) status(ctx context.Context) error {
	stage, settled, err := o.a.Stage(ctx, o.tenant)
	if err == nil {
		fmt.Fprintf(o.out, "%s, settled: %v\n", stage, settled)
	}
	findings, err := o.a.Status(ctx, o.tenant)
	if err != nil {
		return err
	}
	good := 0
	for _, f := range findings {
		if f.Level == encryption.HealthOK {
			good++
			continue
		}
		fmt.Fprintf(o.out, "%v %s: %.0f %s: %s\n", f.Level, f.Name, f.Value, f.Unit, f.Remedy)
	}
	fmt.Fprintf(o.out, "%d of %d findings are ok; mismatches, fallbacks and the like are those of this process: ask your application for its own\n", good, len(findings))
	return nil
}

// plan prints what lies ahead.
func (o *operator) plan(ctx context.Context) error {
	obstacles, err := o.a.Obstacles(ctx, o.tenant)
	if err != nil {
		return err
	}
	for _, obstacle := range obstacles {
		fmt.Fprintf(o.words, "before %s: %v\n", obstacle.Before, obstacle)
		o.list(obstacle.Listed)
		if len(obstacle.SQL) > 0 {
			if err := o.statements(obstacle.SQL, nil); err != nil {
				return err
			}
		}
	}
	statements, err := o.a.SQL(ctx)
	if err != nil {
		return err
	}
	if len(statements) > 0 {
		fmt.Fprintln(o.words, "the table lacks what its owner executes:")
		return o.statements(statements, nil)
	}
	if err := o.a.Check(ctx, o.tenant); err != nil {
		return err
	}
	stage, _, err := o.a.Stage(ctx, o.tenant)
	if err != nil {
		return err
	}
	if stage == adoption.Plain {
		fmt.Fprintln(o.words, "next: move write-both")
		return nil
	}
	o.job.DryRun = true
	return o.run(ctx, o.a.Backfill)
}

func (o *operator) statements(statements []string, err error) error {
	for _, statement := range statements {
		fmt.Fprintln(o.out, strings.TrimSpace(statement)+";")
	}
	if err == nil && len(statements) == 0 {
		fmt.Fprintln(o.out, "-- nothing is missing")
	}
	return err
}

// moveTo moves, and says how long that took.
func (o *operator) moveTo(ctx context.Context, to adoption.Stage) error {
	begin := time.Now()
	if err := o.a.Move(ctx, o.tenant, to, o.move); err != nil {
		return err
	}
	fmt.Fprintf(o.words, "at %s after %v\n", to, time.Since(begin).Round(time.Second))
	return nil
}

// run runs a job and prints what it did and left.
func (o *operator) run(ctx context.Context, job func(context.Context, string, adoption.JobOptions) (adoption.Report, error)) error {
	begin := time.Now()
	report, err := job(ctx, o.tenant, o.job)
	if err != nil {
		return err
	}
	verb := "changed"
	if o.job.DryRun {
		verb = "would be changed"
	}
	fmt.Fprintf(o.out, "%d rows in %v: %d %s, %d as they should be, %d empty\n", report.Rows, time.Since(begin).Round(time.Second), report.Changed, verb, report.Same, report.Empty)
	fmt.Fprintf(o.out, "left: %d differ, %d of erased persons, %d refused, %d locked; sealed for another owner: %d; clean: %v\n",
		report.Differ, report.Erased, report.Refused, report.Locked, report.Owners, report.Clean)
	o.list(report.Listed)
	return nil
}

// list prints rows, whose keys may tell who they are.
func (o *operator) list(rows []adoption.Left) {
	for _, left := range rows {
		fmt.Fprintf(o.words, "  row %q %s: %s\n", left.Row, left.Column, left.Why)
	}
}

// back goes one stage back, and first does what that one needs.
func (o *operator) back(ctx context.Context) error {
	stage, _, err := o.a.Stage(ctx, o.tenant)
	if err != nil {
		return err
	}
	switch stage {
	case adoption.SealedOnly:
		return o.moveTo(ctx, adoption.ReadSealed)
	case adoption.ReadSealed:
		if err := o.run(ctx, o.a.Unseal); err != nil {
			return err
		}
		return o.moveTo(ctx, adoption.WriteBoth)
	case adoption.WriteBoth:
		if err := o.moveTo(ctx, adoption.Plain); err != nil {
			return err
		}
		fmt.Fprintln(o.words, "next: restore")
		return nil
	case adoption.Plain:
	}
	fmt.Fprintln(o.words, "nothing lies behind", stage, "but what restore prints")
	return nil
}

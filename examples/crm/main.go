// The crm program is a small CRM that keeps every promise, in twelve steps.
//
//	go run ./examples/crm [-dir DIR] [-contacts FILE.csv] [-break NAME]
//
// It imports contacts, seals them, searches them, decides who sees what,
// records every change, finds tampering, changes its keys, makes backups,
// forgets one person, loses everything, comes back, and searches every byte
// for the person who asked to be forgotten. All six packages of crmguard take
// part; nothing is simulated. Each step checks itself: the program exits 1
// and names the step as soon as one does not hold.
//
// Any CSV file can be brought that has a heading for e-mail addresses or names
// (English, Chinese or German) and two contacts: UTF-8, or UTF-16 with its
// mark, separated by comma, semicolon, tab or bar. What a step cannot show with
// so little it says, and counts as not shown: in the table at the end, in
// report.json and in the last line. A file that cannot be shown at all is
// refused with exit code 2, before anything is written.
//
// The files read from top to bottom: main.go, then step01_import.go to
// step12_promise.go, one step a file. app.go is the CRM itself, schema.go its
// tables, source.go and layout.go read the file of contacts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
)

// settings are what the command line says.
type settings struct {
	dir      string  // where everything is left; "" is a temporary folder, removed at the end
	contacts string  // a CSV export; "" is the bundled people
	source   *source // that file, looked through; nil until it is needed
	mutant   string  // the protection to take out, see mutants.go
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: 0 when every promise held that could be
// shown, 1 when a step failed, 2 when the command line was wrong or the file of
// contacts cannot be shown; nothing was begun then.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	s, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(errs, "crm:", err, "(-h lists the flags)")
		return 2
	}
	// A file that cannot be shown is refused before anything is written.
	if s.source, err = findSource(ctx, s.contacts); err != nil {
		fmt.Fprintln(errs, "crm:", err)
		return 2
	}
	dir, remove, err := folder(s.dir)
	if err != nil {
		fmt.Fprintln(errs, "crm:", err)
		return 2
	}
	defer remove()

	screen := newScreen(out)
	err = tour(ctx, s, dir, screen)
	if err != nil {
		screen.failed(err)
		if s.mutant != "" {
			screen.say("-break %s was asked for: %s. The check noticed, as it must: this failure is the proof.", s.mutant, takenOut(s.mutant))
		}
		return 1
	}
	return 0
}

func parse(args []string, errs io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("crm", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is printed once, by run
	flags.Usage = func() {
		flags.SetOutput(errs)
		fmt.Fprintln(errs, "crm is a small CRM that keeps every promise, in twelve steps that check themselves.\nIt needs no flags. Bring your own contacts with -contacts: any CSV file with a heading for\ne-mail addresses or names, and at least 2 contacts. 3,000 of them take half a minute.")
		flags.PrintDefaults()
		flags.SetOutput(io.Discard)
	}
	flags.StringVar(&s.dir, "dir", "", "keep everything in this `folder` (made if missing; must be empty)")
	flags.StringVar(&s.contacts, "contacts", "", "import this CSV `file` instead of the bundled people: UTF-8 or UTF-16, separated by comma, semicolon, tab or bar")
	flags.StringVar(&s.mutant, "break", "", "take one protection out and watch the program find it: "+strings.Join(mutants(), ", "))
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q; a file is given with -contacts", flags.Arg(0))
	}
	if s.mutant != "" && !slices.Contains(mutants(), s.mutant) {
		return s, fmt.Errorf("-break knows %s", strings.Join(mutants(), ", "))
	}
	return s, nil
}

// folder makes the folder of the run. A folder that holds anything is
// refused: nothing of the user's is ever overwritten.
func folder(dir string) (string, func(), error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "crm-")
		return dir, func() { _ = os.RemoveAll(dir) }, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, err
	}
	if len(entries) > 0 {
		return "", nil, fmt.Errorf("%s is not empty; name a new folder, so that nothing of yours is overwritten", dir)
	}
	return dir, func() {}, nil
}

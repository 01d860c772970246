// Command auditverify checks the published log of package audit: every entry,
// every hash and the signature, without any database and without any key but the
// public one.
//
//	auditverify [-lang en|zh] [-former KEY]... DIR KEY [KEPT]
//
// DIR is the folder of the log. KEY is its verifier key, or a file that holds it.
// KEPT is a file with a checkpoint of the log that was kept where nobody who can
// write DIR can write: without one it cannot be seen that the newest entries were
// cut off, nor that everything was rewritten by whoever holds the signing key.
// -former names a key that signed before KEY, or beside it.
//
// The exit code is the verdict:
//
//	0    ok: sound, and it continues the kept checkpoint
//	10   unanchored: sound by itself; no KEPT was handed in, or one of no entries
//	11   incomplete: files are missing or unreadable, or the check was interrupted
//	12   rolled back: the log is older than KEPT
//	13   forked: the log is another one than KEPT is of
//	14   tampered: bytes do not match what was signed, or KEY is of another log (the fault says so)
//	64   nothing was checked: the arguments, the key or KEPT cannot be used
//
// The words are English, or Chinese where -lang, LC_ALL, LC_MESSAGES or LANG, the
// first that is set, begins with zh. The codes never change with them. Memory does
// not grow with the log.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/crmguard/crmguard/audit/auditlog"
)

const exitUsage = 64

// exitCode is the exit code of a verdict.
func exitCode(v auditlog.Verdict) int {
	switch v {
	case auditlog.OK:
		return 0
	case auditlog.Unanchored:
		return 10
	case auditlog.Incomplete:
		return 11
	case auditlog.RolledBack:
		return 12
	case auditlog.Forked:
		return 13
	default:
		return 14
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run does all of it and returns the exit code.
func run(ctx context.Context, args []string, env func(string) string, out, complain io.Writer) int {
	var former []string
	flags := flag.NewFlagSet("auditverify", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	lang := flags.String("lang", "", "")
	flags.Func("former", "", func(key string) error {
		former = append(former, key)
		return nil
	})
	err := flags.Parse(args)
	w, known := wordsOf(*lang, env)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, w.usage)
		return 0
	case err != nil || !known || flags.NArg() < 2 || flags.NArg() > 3:
		fmt.Fprint(complain, w.usage)
		return exitUsage
	}
	report, err := verify(ctx, flags.Args(), former)
	if err != nil && !errors.Is(err, ctx.Err()) {
		fmt.Fprintf(complain, "auditverify: %s: %s\n", w.unusable, printable(err.Error()))
		return exitUsage
	}
	w.print(out, &report)
	return exitCode(report.Verdict)
}

// verify reads what the arguments name. An error that is not of ctx says that
// nothing was checked.
func verify(ctx context.Context, args, former []string) (auditlog.Report, error) {
	trust := auditlog.Trust{}
	var err error
	if trust.Key, err = keyOf(args[1]); err != nil {
		return auditlog.Report{}, err
	}
	for _, one := range former {
		key, err := keyOf(one)
		if err != nil {
			return auditlog.Report{}, err
		}
		trust.Former = append(trust.Former, key)
	}
	if len(args) == 3 {
		if trust.Kept, err = readSmall(args[2]); err != nil {
			return auditlog.Report{}, err
		}
	}
	// Nothing outside of the folder is read, whatever the folder holds.
	root, err := os.OpenRoot(args[0])
	if err != nil {
		return auditlog.Report{}, err
	}
	report, err := auditlog.VerifyLog(ctx, root.FS(), trust)
	return report, errors.Join(err, root.Close())
}

// keyOf is a verifier key, or the one in the file of this name. Every key has a
// '+' and so may a name: a file that is there is one.
func keyOf(text string) (string, error) {
	data, err := readSmall(text)
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	if strings.Contains(text, "+") {
		return text, nil
	}
	return "", err
}

const small = 1 << 20

// readSmall reads a file that is no larger than a key or a checkpoint can be.
func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > small {
		return nil, fmt.Errorf("%s: no file of a key or a checkpoint", name)
	}
	return os.ReadFile(name)
}

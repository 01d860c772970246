// Command migrations writes the tables that crmguard's packages need as the
// files of a migration tool: those of all packages for one database into one
// folder, or the GRANT statements for the role of the application.
//
//	go run . sqlite|postgres|mysql folder [package …]
//	go run . -grants role postgres|mysql [package …]
//
// Packages are encryption, audit and the others that store rows; none named is
// all of them. The keys of encryption belong into a database of their own.
//
// An application that imports the packages has the same files at hand, by
// sqlkeys.Migrations() and its like.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/sqlledger"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// A shipped package has tables, rights on them, and two funcs that an
// application calls: Install where no tool applies the migrations, and Open.
type shipped struct {
	name               string
	migrations, grants fs.FS
	install, open      func(ctx context.Context, db *sql.DB) error
}

// packages are those that store rows: a line each.
func packages() []shipped {
	return []shipped{
		{"encryption", sqlkeys.Migrations(), sqlkeys.Grants(), sqlkeys.Install, opens(sqlkeys.Open)},
		{"audit", sqltrail.Migrations(), sqltrail.Grants(), sqltrail.Install, opens(sqltrail.Open)},
		{"privacy", privacy.Migrations(), privacy.Grants(), privacy.Install, opensPrivacy},
		{"adoption", adoption.Migrations(), adoption.Grants(), adoption.Install, opensAdoption},
		{"ledger", sqlledger.Migrations(), sqlledger.Grants(), sqlledger.Install, opens(sqlledger.Open)},
		{"accesscontrol", roles.Migrations(), roles.Grants(), roles.Install, opensRoles},
	}
}

func opens[T any](open func(context.Context, *sql.DB) (T, error)) func(context.Context, *sql.DB) error {
	return func(ctx context.Context, db *sql.DB) error {
		_, err := open(ctx, db)
		return err
	}
}

// opensPrivacy opens a store over the desk's tables. privacy.Open checks the
// same ones, and wants a ledger and a signing key, too.
func opensPrivacy(ctx context.Context, db *sql.DB) error {
	_, err := sqlstore.Open(ctx, sqlstore.Config{DB: db, Map: &datamap.Map{Tables: []datamap.Table{{Name: "contacts"}}}})
	return err
}

// opensAdoption asks whether a table was adopted; adoption.Open checks the same
// tables, and wants a vault, too.
func opensAdoption(ctx context.Context, db *sql.DB) error {
	err := adoption.Finished(ctx, db, "contacts")
	if errors.Is(err, adoption.ErrStage) {
		return nil // the tables are there, and none was adopted
	}
	return err
}

// opensRoles opens a store without roles: the tables are the same for any.
func opensRoles(ctx context.Context, db *sql.DB) error {
	none, err := roles.New(roles.Model{})
	if err == nil {
		_, err = roles.Open(ctx, db, none, roles.Options{})
	}
	return err
}

func main() {
	role := flag.String("grants", "", "print the GRANT statements for this role instead")
	flag.Parse()
	var err error
	switch {
	case *role != "" && flag.NArg() >= 1:
		err = writeGrants(os.Stdout, flag.Arg(0), *role, flag.Args()[1:]...)
	case *role == "" && flag.NArg() >= 2:
		err = writeMigrations(flag.Arg(0), flag.Arg(1), flag.Args()[2:]...)
	default:
		err = errors.New("usage: migrations sqlite|postgres|mysql folder [package …], or migrations -grants role postgres|mysql [package …]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// named are the packages of these names, all of them where none is named.
func named(names []string) ([]shipped, error) {
	if len(names) == 0 {
		return packages(), nil
	}
	var out []shipped
	for _, name := range names {
		i := slices.IndexFunc(packages(), func(p shipped) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no package %q stores rows", name)
		}
		out = append(out, packages()[i])
	}
	return out, nil
}

// writeMigrations puts the files of the packages into one folder. A file that
// is there already with another text stays, and is an error.
func writeMigrations(database, folder string, only ...string) error {
	wanted, err := named(only)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, p := range wanted {
		paths, err := fs.Glob(p.migrations, database+"/*.up.sql")
		if err != nil || len(paths) == 0 {
			return fmt.Errorf("%s has no migrations for %q; there are sqlite, postgres and mysql", p.name, database)
		}
		for _, path := range paths {
			text, err := fs.ReadFile(p.migrations, path)
			if err != nil {
				return err
			}
			if err := writeOnce(filepath.Join(folder, filepath.Base(path)), text); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeOnce(name string, text []byte) error {
	there, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.WriteFile(name, text, 0o644)
	case err != nil:
		return err
	case string(there) != string(text):
		return fmt.Errorf("%s is there with another text; it was left as it is", name)
	}
	return nil
}

// writeGrants prints what the role may do in the tables of the packages.
func writeGrants(w io.Writer, database, role string, only ...string) error {
	wanted, err := named(only)
	if err != nil {
		return err
	}
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(role) {
		return errors.New("the role's name is quoted differently on each database: replace crm_app in the files by hand")
	}
	for _, p := range wanted {
		text, err := fs.ReadFile(p.grants, database+".sql")
		if err != nil {
			return fmt.Errorf("%s has no grants for %q; there are postgres and mysql", p.name, database)
		}
		if _, err := io.WriteString(w, strings.ReplaceAll(string(text), "crm_app", role)); err != nil {
			return err
		}
	}
	return nil
}

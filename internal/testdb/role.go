package testdb

import (
	"crypto/rand"
	"fmt"
	"os"
	"testing"
)

// A login is the role as whom a database is opened; the zero value is the
// administrator.
type login struct{ role, password string }

// Role makes a role without rights and returns its name, for GRANT, and the
// same database as that role opens it: on MariaDB not before it has a right
// there. It goes with the test. SQLite has no roles.
func (d Database) Role(tb testing.TB) (role string, as Database) {
	tb.Helper()
	if d.on == nil {
		tb.Fatalf("testdb: %s has no roles", d.Name)
	}
	one := login{fmt.Sprintf("crmguard_r%d_%d", os.Getpid(), databases.Add(1)), rand.Text()}
	create, drop := []string{"CREATE ROLE " + one.role + " LOGIN PASSWORD '" + one.password + "'"}, []string{"DROP OWNED BY " + one.role, "DROP ROLE " + one.role}
	if d.Name == MariaDB {
		create, drop = []string{"CREATE USER " + one.role + " IDENTIFIED BY '" + one.password + "'"}, []string{"DROP USER " + one.role}
	}
	owner, err := handle(d.on.driver, d.dsn[d.on.driver])
	if err != nil {
		tb.Fatalf("testdb: open %s: %v", d.Name, err)
	}
	run := func(statements []string) error {
		for _, statement := range statements {
			if _, err := owner.Exec(statement); err != nil { // the test's context may be over
				return err
			}
		}
		return nil
	}
	tb.Cleanup(func() {
		defer func() { _ = owner.Close() }() // what counts is the answer of the statements
		if err := run(drop); err != nil {
			tb.Errorf("testdb: drop a role of %s: %v", d.Name, err)
		}
	})
	if err := run(create); err != nil {
		tb.Fatalf("testdb: make a role of %s: %v", d.Name, err)
	}
	return one.role, Database{Name: d.Name, dsn: d.on.dsn(d.database, one), on: d.on, database: d.database}
}

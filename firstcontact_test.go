package crmguard_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What a team reads first is what to do, on each of the databases: no statement
// is sent before the database was asked what it is.
func TestTheFirstMessageSaysWhatToDo(t *testing.T) {
	for _, s := range storingPackages() {
		for _, name := range testdb.Names() {
			for _, driver := range name.Drivers() {
				t.Run(s.name+"/"+string(name)+"/"+driver, func(t *testing.T) {
					db := testdb.New(t, name).OpenWith(t, driver)
					err := s.open(t.Context(), db)
					var schema *sqldb.SchemaError
					require.ErrorAs(t, err, &schema)
					require.Zero(t, schema.Have)
					require.ErrorContains(t, err, s.name+": tables are at version 0, this library needs ")
					require.ErrorContains(t, err, "call Install, or apply the migrations it ships")
					require.NoError(t, s.install(t.Context(), db))
					require.NoError(t, s.open(t.Context(), db))
				})
			}
		}
	}
}

// A database that speaks the protocol of another one and is none of the four is
// refused by the name that it gives itself.
func TestAnUnknownDatabaseIsRefusedByName(t *testing.T) {
	for _, answer := range []string{"CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu)", "8.0.11-TiDB-v7.5.0", "PostgreSQL 12.9", "Oracle Database 19c"} {
		db := sql.OpenDB(strange(answer))
		t.Cleanup(func() { _ = db.Close() })
		for _, s := range storingPackages() {
			for verb, err := range map[string]error{"open": s.open(t.Context(), db), "install": s.install(t.Context(), db)} {
				require.ErrorIs(t, err, errors.ErrUnsupported, "%s: %s", s.name, verb)
				require.ErrorContains(t, err, answer[:12])
				require.ErrorContains(t, err, "SQLite, PostgreSQL, MariaDB and MySQL are")
			}
		}
	}
}

// strange is a database that answers version() with itself and refuses all else.
type strange string

func (s strange) Driver() driver.Driver                        { return nil }
func (s strange) Connect(context.Context) (driver.Conn, error) { return s, nil }
func (s strange) Close() error                                 { return nil }
func (s strange) Begin() (driver.Tx, error) {
	return nil, errors.New("it was asked for more than its name")
}

func (s strange) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("it was asked for more than its name")
}

func (s strange) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if query != "SELECT version()" {
		return nil, errors.New("it was asked for more than its name")
	}
	return &oneRow{text: string(s)}, nil
}

type oneRow struct {
	text string
	done bool
}

func (r *oneRow) Columns() []string { return []string{"version"} }
func (r *oneRow) Close() error      { return nil }
func (r *oneRow) Next(into []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done, into[0] = true, r.text
	return nil
}

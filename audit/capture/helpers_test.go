package capture_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A bench is a database of PostgreSQL, met through one driver.
type bench struct {
	*testing.T
	testdb.Database
	driver string
	db     *sql.DB
}

// each runs f on both orders of text, through both drivers.
func each(t *testing.T, f func(b *bench)) {
	t.Helper()
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				f(&bench{T: t, Database: d, driver: driver, db: d.OpenWith(t, driver)})
			})
		}
	}
}

// one runs f on one database, where neither the order of text nor the driver
// has a part in what is asked.
func one(t *testing.T, f func(b *bench)) {
	t.Helper()
	d := testdb.New(t, testdb.PostgresICU)
	f(&bench{T: t, Database: d, driver: "pgx", db: d.OpenWith(t, "pgx")})
}

func (b *bench) exec(statements ...string) {
	b.Helper()
	for _, s := range statements {
		_, err := b.db.ExecContext(b.Context(), s)
		require.NoError(b, err, s)
	}
}

// pack applies the pack of these tables.
func (b *bench) pack(tables ...capture.Table) {
	b.Helper()
	up, _, err := capture.Pack(tables...)
	require.NoError(b, err)
	b.exec(up)
}

func (b *bench) text(query string, args ...any) (s string) {
	b.Helper()
	require.NoError(b, b.db.QueryRowContext(b.Context(), query, args...).Scan(&s), query)
	return s
}

// rows reads what was captured.
func (b *bench) rows() (out []capture.Row) {
	b.Helper()
	rows, err := b.db.QueryContext(b.Context(), capture.ReadRows, 10_000)
	require.NoError(b, err)
	defer func() { require.NoError(b, rows.Close()) }()
	for rows.Next() {
		r, err := capture.Scan(rows.Scan)
		require.NoError(b, err)
		out = append(out, r)
	}
	require.NoError(b, rows.Err())
	return out
}

// said is a captured row without what differs each time.
type said struct {
	Op, Table, Kind, Tenant, Key string
	Cols                         []string
}

// captured reads what was captured since it was asked last.
func (b *bench) captured() (out []said) {
	b.Helper()
	for _, r := range b.rows() {
		if len(r.Cols) == 0 {
			r.Cols = nil
		}
		out = append(out, said{r.Op, r.Table, r.Kind, r.Tenant, r.Key, r.Cols})
	}
	b.exec(`DELETE FROM crmguard_audit_captured`)
	return out
}

// asked is one connection, whose session keeps its settings.
func (b *bench) conn() *sql.Conn {
	b.Helper()
	c, err := b.db.Conn(b.Context())
	require.NoError(b, err)
	b.Cleanup(func() { _ = c.Close() })
	return c
}

func execOn(b *bench, c interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, statements ...string,
) {
	b.Helper()
	for _, s := range statements {
		_, err := c.ExecContext(b.Context(), s)
		require.NoError(b, err, s)
	}
}

const contactsTable = `CREATE TABLE contacts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text NOT NULL DEFAULT 'main', name text, email text, updated timestamptz DEFAULT now())`

func contacts() capture.Table {
	return capture.Table{Name: "contacts", Kind: "contact", TenantColumn: "tenant", Skip: []string{"updated"}}
}

func within(t *testing.T, at time.Time) {
	t.Helper()
	require.WithinDuration(t, time.Now(), at, time.Hour, "the clock of the database is that of this machine")
}

package testdb

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Serializable is the same database through connections whose transactions are
// serializable where nothing else is said, as some administrators set it. On
// SQLite, which knows nothing else, it is the database as it is.
func (d Database) Serializable() Database {
	return d.with(map[string]string{
		"pgx":      " default_transaction_isolation=serializable",
		"postgres": " default_transaction_isolation=serializable",
		"mysql":    "&tx_isolation=%27SERIALIZABLE%27",
	})
}

// Pooled is the same database of PostgreSQL behind a pgbouncer that gives each
// transaction another connection. The data source names are what its users have
// to write: a named prepared statement would be looked for on the wrong
// connection, so pgx and lib/pq must use none.
func (d Database) Pooled(tb testing.TB) Database {
	tb.Helper()
	p := pooler().current()
	if p.err != nil {
		missing(tb, "pgbouncer", p.err)
	}
	dsn := fmt.Sprintf("host=%s port=6432 user=%s dbname=%s sslmode=disable", p.dir, p.user, d.database)
	return Database{Name: d.Name, database: d.database, dsn: map[string]string{"pgx": dsn, "postgres": dsn}}.with(map[string]string{
		"pgx":      " default_query_exec_mode=exec",
		"postgres": " binary_parameters=yes",
	})
}

// Variants runs f as a subtest for each way in which the same databases are met
// otherwise, through each driver: behind a pooler, and where transactions are
// serializable unless something else is said. open makes an empty database
// each time.
func Variants(t *testing.T, f func(t *testing.T, open func(tb testing.TB) *sql.DB)) {
	t.Helper()
	ways := map[string]func(tb testing.TB, d Database) Database{
		"pgbouncer":    func(tb testing.TB, d Database) Database { tb.Helper(); return d.Pooled(tb) },
		"serializable": func(_ testing.TB, d Database) Database { return d.Serializable() },
	}
	for _, one := range []struct {
		way  string
		name Name
	}{
		{"pgbouncer", PostgresC},
		{"serializable", PostgresC},
		{"serializable", MariaDB},
	} {
		for _, driver := range one.name.Drivers() {
			t.Run(one.way+"/"+string(one.name)+"/"+driver, func(t *testing.T) {
				f(t, func(tb testing.TB) *sql.DB {
					tb.Helper()
					return ways[one.way](tb, New(tb, one.name)).OpenWith(tb, driver)
				})
			})
		}
	}
}

// with is the database behind names with more settings.
func (d Database) with(more map[string]string) Database {
	dsn := map[string]string{}
	for driver, text := range d.dsn {
		dsn[driver] = text + more[driver]
	}
	d.dsn = dsn
	return d
}

// A pool is the pgbouncer of this process, before the server of this process.
type pool struct {
	service *service
	dir     string
	user    string
	err     error
}

// ended says how the pool came to its end, empty while it listens. A pgbouncer ends by
// itself ("server in bad state") where its server ends a transaction in the moment in
// which the client lets go of the connection.
func (p pool) ended() string {
	if p.err != nil {
		return ""
	}
	select {
	case <-p.service.ended:
		return "is gone with its watch"
	default:
	}
	if _, err := os.Stat(filepath.Join(p.dir, ".s.PGSQL.6432")); err != nil {
		return "listens no more; the end of its log: " + p.service.endOfLog()
	}
	return ""
}

// pools are the pools of this process, one after the other.
type pools struct {
	mu   sync.Mutex
	last pool
}

var pooler = sync.OnceValue(func() *pools { return &pools{last: newPool()} })

// current is the pool that listens: one that came to its end is followed by another.
func (p *pools) current() pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why := p.last.ended(); why != "" {
		_, _ = fmt.Fprintf(os.Stderr, "testdb: a pgbouncer %s; another one follows\n", why)
		p.last = newPool()
	}
	return p.last
}

func newPool() pool {
	s := postgresServer()
	if s.err != nil {
		return pool{err: s.err}
	}
	config, err := pgx.ParseConfig(s.admin)
	if err != nil {
		return pool{err: errors.New("CRMGUARD_POSTGRES is no data source name of pgx")}
	}
	p, err := startPooler(config)
	if err != nil {
		sayOnce("pgbouncer", err)
		return pool{err: err}
	}
	return p
}

// startPooler starts a pgbouncer that knows every database of the server. It
// trusts whoever reaches its socket, which is in a folder of its own.
func startPooler(to *pgx.ConnConfig) (pool, error) {
	path, err := program("pgbouncer")
	if err != nil {
		return pool{}, errors.New("pgbouncer is not installed")
	}
	s, err := newService("pool", "postgres")
	if err != nil {
		return pool{}, err
	}
	target := fmt.Sprintf("host=%s port=%d user=%s", to.Host, to.Port, to.User)
	if to.Password != "" {
		target += " password=" + quoteValue(to.Password)
	}
	// Few connections, so that transactions do get another one; more than two,
	// because a test may read while its transaction is open. lib/pq asks for
	// extra_float_digits when it connects.
	text := `[databases]
* = ` + target + `
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = ` + s.dir + `
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = 8
ignore_startup_parameters = extra_float_digits
logfile =
pidfile =
`
	file := filepath.Join(s.dir, "pgbouncer.ini")
	err = os.WriteFile(file, []byte(text), 0o600)
	if err == nil && s.owner != nil {
		err = os.Chown(file, s.owner.uid, s.owner.gid)
	}
	if err != nil {
		return pool{}, errors.Join(err, s.remove())
	}
	if err := s.start("KILL", path, file); err != nil {
		return pool{}, errors.Join(err, s.remove())
	}
	dsn := fmt.Sprintf("host=%s port=6432 user=%s dbname=%s sslmode=disable default_query_exec_mode=exec", s.dir, to.User, to.Database)
	if err := s.await("pgx", dsn); err != nil {
		return pool{}, err
	}
	return pool{service: s, dir: s.dir, user: to.User}, nil
}

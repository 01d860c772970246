package testdb

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Server is a throw-away server that belongs to one test, which may change
// its settings and stop it.
type Server struct {
	*server
	name    Name
	service *service
}

// NewServer starts a server of its own for the databases of that name, with
// settings such as "fsync=off", and ends it with the test. Running servers that
// the environment names are never used for it.
func NewServer(tb testing.TB, name Name, settings ...string) *Server {
	tb.Helper()
	s := &Server{name: name}
	var dsn string
	var err error
	switch name {
	case PostgresC, PostgresICU:
		if s.service, dsn, err = startPostgres(settings...); err == nil {
			s.server = postgresAt(dsn)
		}
	case MariaDB:
		if s.service, dsn, err = startMaria(settings...); err == nil {
			s.server = mariaAt(dsn)
		}
	default:
		tb.Fatalf("testdb: %s has no server", name)
	}
	if err != nil {
		missing(tb, "a "+string(name)+" of the test's own", err)
	}
	tb.Cleanup(func() { s.Stop(tb) })
	return s
}

// New makes an empty database on the server.
func (s *Server) New(tb testing.TB) Database {
	tb.Helper()
	return newOn(tb, s.name, s.server)
}

// Admin opens the server as a user who may change its settings.
func (s *Server) Admin(tb testing.TB) *sql.DB {
	tb.Helper()
	return Database{Name: s.name, dsn: map[string]string{s.driver: s.admin}}.OpenWith(tb, s.driver)
}

// Stop ends the server as a power cut would; a second call does nothing.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if s.stopped.Swap(true) {
		return
	}
	if err := s.service.stop(); err != nil {
		tb.Errorf("testdb: stop %s: %v", s.name, err)
	}
}

// Standby starts a hot standby of a PostgreSQL server and ends it with the
// test.
func (s *Server) Standby(tb testing.TB) *Server {
	tb.Helper()
	standby, err := s.standby()
	if err != nil {
		tb.Fatalf("testdb: a standby of %s: %v", s.name, err)
	}
	tb.Cleanup(func() { standby.Stop(tb) })
	return standby
}

func (s *Server) standby() (*Server, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	copied, err := newService("standby", "postgres")
	if err != nil {
		return nil, err
	}
	// -R writes standby.signal and where the primary is.
	err = copied.run(filepath.Join(bin, "pg_basebackup"), "-d", "host="+s.service.dir+" port=5432 user=crmguard", "-D", copied.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync")
	if err != nil {
		return nil, errors.Join(err, copied.remove())
	}
	started, dsn, err := copied.postgres(bin, []string{"hot_standby=on"})
	if err != nil {
		return nil, err
	}
	return &Server{server: postgresAt(dsn), name: s.name, service: started}, nil
}

// Follow waits until the standby shows all that the database of its primary
// has committed, and returns that database as the standby has it.
func (s *Server) Follow(tb testing.TB, d Database) Database {
	tb.Helper()
	var position string
	if err := d.Open(tb).QueryRowContext(tb.Context(), `SELECT pg_current_wal_lsn()::text`).Scan(&position); err != nil {
		tb.Fatalf("testdb: where the primary is: %v", err)
	}
	here := Database{Name: d.Name, database: d.database, dsn: s.dsn(d.database)}
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	admin := s.Admin(tb)
	for reached := false; !reached; time.Sleep(10 * time.Millisecond) {
		if err := admin.QueryRowContext(ctx, `SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn`, position).Scan(&reached); err != nil {
			tb.Fatalf("testdb: the standby did not follow: %v; the end of its log: %s", err, s.service.endOfLog())
		}
	}
	return here
}

// Before is the database behind a data source name that lists its own server
// first and then this one: pgx connects to the first that answers.
func (s *Server) Before(d Database) Database {
	host := func(dsn string) string {
		rest, _ := strings.CutPrefix(dsn, "host=")
		return rest[:strings.IndexByte(rest, ' ')]
	}
	own := d.dsn["pgx"]
	both := "host=" + host(own) + "," + host(s.dsn(d.database)["pgx"]) + strings.TrimPrefix(own, "host="+host(own))
	return Database{Name: d.Name, database: d.database, dsn: map[string]string{"pgx": both}}
}

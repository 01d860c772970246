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

// Admin opens the server as a user who may change its settings.
func (s *Server) Admin(tb testing.TB) *sql.DB {
	tb.Helper()
	return Database{Name: s.name, dsn: map[string]string{s.server.driver: s.server.admin}}.OpenWith(tb, s.server.driver)
}

// Stop ends the server as a power cut would; a second call does nothing.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if s.server.stopped.Swap(true) {
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
	here := Database{Name: d.Name, database: d.database, dsn: s.server.dsn(d.database, login{})}
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
	both := "host=" + host(own) + "," + host(s.server.dsn(d.database, login{})["pgx"]) + strings.TrimPrefix(own, "host="+host(own))
	return Database{Name: d.Name, database: d.database, dsn: map[string]string{"pgx": both}}
}

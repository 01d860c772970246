package testdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresServer is the one of this process.
var postgresServer = sync.OnceValue(func() *server {
	if dsn := os.Getenv("CRMGUARD_POSTGRES"); dsn != "" {
		return postgresAt(dsn)
	}
	_, dsn, err := startPostgres()
	if err != nil {
		sayOnce("PostgreSQL", err)
		return &server{err: err}
	}
	return postgresAt(dsn)
})

// postgresAt speaks to a running server. Databases of both orders of text are
// made from template0, which is empty whatever the administrator has put into
// the others.
func postgresAt(dsn string) *server {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return &server{err: errors.New("CRMGUARD_POSTGRES is no data source name of pgx")}
	}
	return &server{
		driver: "pgx", admin: dsn,
		create: func(name Name, database string) []string {
			locale := "LOCALE 'C'"
			if name == PostgresICU {
				locale = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'"
			}
			return []string{"CREATE DATABASE " + database + " TEMPLATE template0 ENCODING 'UTF8' " + locale}
		},
		dsn: func(database string, as login) map[string]string {
			if as.role == "" {
				as = login{config.User, config.Password}
			}
			text := fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable", config.Host, config.Port, as.role, database)
			if as.password != "" {
				text += " password=" + quoteValue(as.password)
			}
			return map[string]string{"pgx": text, "postgres": text}
		},
	}
}

// quoteValue writes a value of a connection string of libpq.
func quoteValue(s string) string {
	out := []rune{'\''}
	for _, r := range s {
		if r == '\'' || r == '\\' {
			out = append(out, '\\')
		}
		out = append(out, r)
	}
	return string(append(out, '\''))
}

// startPostgres makes a cluster and starts its server with these settings.
func startPostgres(settings ...string) (s *service, dsn string, err error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, "", err
	}
	if s, err = newService("pg", "postgres"); err != nil {
		return nil, "", err
	}
	if err := s.run(filepath.Join(bin, "initdb"), "-D", s.data(), "-U", "crmguard", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return nil, "", errors.Join(err, s.remove())
	}
	return s.postgres(bin, settings)
}

// postgres starts a server on a cluster that is there.
func (s *service) postgres(bin string, settings []string) (*service, string, error) {
	args := []string{
		"-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200",
		"-c", "deadlock_timeout=50ms", // a second by default, which tests of deadlocks would wait each time
	}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	s.pidFile = filepath.Join(s.data(), "postmaster.pid")
	if err := s.start("QUIT", filepath.Join(bin, "postgres"), args...); err != nil {
		return nil, "", errors.Join(err, s.remove())
	}
	dsn := fmt.Sprintf("host=%s port=5432 user=crmguard dbname=postgres sslmode=disable", s.dir)
	return s, dsn, s.await("pgx", dsn)
}

// postgresBin finds the programs of the newest version installed: Debian keeps
// initdb out of the path.
func postgresBin() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil // the other programs stand beside it
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("no PostgreSQL server is installed, and CRMGUARD_POSTGRES is not set")
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// await waits until the server answers, for half a minute at most: on a busy
// machine a first start takes long, and what waits longer has failed.
func (s *service) await(driver, dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db, err := handle(driver, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it was only asked whether it answers
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server did not answer: %w; the end of its log: %s", err, s.endOfLog())
		case <-s.ended:
			return fmt.Errorf("the server ended; the end of its log: %s", s.endOfLog())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

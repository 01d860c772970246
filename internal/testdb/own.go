package testdb

import "testing"

// A Server is a throw-away server that belongs to one test, which may change
// its settings and stop it.
type Server struct {
	name    Name
	server  *server
	service *service
}

// Own starts a server of its own for the databases of that name, with
// settings such as "fsync=off", and ends it with the test. Running servers that
// the environment names are never used for it.
func Own(tb testing.TB, name Name, settings ...string) *Server {
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

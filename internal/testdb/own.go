package testdb

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Server is a throw-away server that belongs to one test, which may change
// its settings, stop it, kill it and start it again.
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

// Kill ends all processes of the server at once, as a power cut would, and
// returns when none is left.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		tb.Skip("testdb: a server is killed on Linux only")
	}
	first, err := s.service.pid()
	if err != nil {
		tb.Fatalf("testdb: kill %s: %v", s.name, err)
	}
	s.server.killed.Store(true)
	// The first goes first: it would start what is missing.
	all := append([]int{first}, childrenOf(first)...)
	for _, pid := range all {
		if process, err := os.FindProcess(pid); err == nil {
			_ = process.Kill() // it may have ended by itself
		}
	}
	for deadline := time.Now().Add(time.Minute); slices.ContainsFunc(all, alive); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("testdb: %s does not end", s.name)
		}
	}
}

// Restart starts the server that was killed, on what it has written, and waits
// until it answers.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	// What the dead server holds up the living one with: its number is still
	// taken, because its watch has not asked for its end.
	for _, name := range []string{s.service.pidFile, filepath.Join(s.service.dir, ".s.PGSQL.5432.lock")} {
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			tb.Fatalf("testdb: restart %s: %v", s.name, err)
		}
	}
	s.service.older = append(s.service.older, s.service.pipe)
	err := s.service.command()
	if err == nil {
		err = s.service.await(s.server.driver, s.server.admin)
	}
	if err != nil {
		tb.Fatalf("testdb: restart %s: %v", s.name, err)
	}
}

// pid reads the number of the server's first process.
func (s *service) pid() (int, error) {
	text, err := os.ReadFile(s.pidFile)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(strings.TrimSpace(first))
}

// stat reads state and parent of a process.
func stat(pid int) (state string, parent int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return "", 0
	}
	parent, err = strconv.Atoi(fields[1])
	if err != nil {
		return "", 0
	}
	return fields[0], parent
}

func alive(pid int) bool {
	state, _ := stat(pid)
	return state != "" && state != "Z"
}

// childrenOf lists the living processes that a process has started.
func childrenOf(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if state, parent := stat(child); parent == pid && state != "Z" {
			out = append(out, child)
		}
	}
	return out
}

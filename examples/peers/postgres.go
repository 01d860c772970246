//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib" // the driver of PostgreSQL
)

// errNoServer says that contests on PostgreSQL are left out.
var errNoServer = errors.New("no PostgreSQL server is installed, or CRMGUARD_SERVERS=none")

// watch runs a server until its own input ends, which this process holds open as
// long as it lives.
const watch = `"$@" </dev/null >/dev/null 2>&1 &
pid=$!
cat >/dev/null
kill -INT "$pid" 2>/dev/null
wait "$pid"`

// A server is a PostgreSQL of this run, with the settings that it is shipped with:
// what is committed is on the disk. Text is in the order of ICU's en-US.
type server struct {
	dir       string
	programs  string // where it is installed
	port      int
	password  string
	databases int
}

// postgres starts a throw-away server, once. It listens on a socket in its own
// folder, and on the loopback interface, where it wants a password.
func (p *bench) postgres() (*server, error) {
	if p.server != nil {
		return p.server, nil
	}
	bin, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(bin) == 0 || os.Getenv("CRMGUARD_SERVERS") == "none" {
		return nil, errNoServer
	}
	slices.Sort(bin)
	programs := filepath.Dir(bin[len(bin)-1])
	dir, err := os.MkdirTemp("", "crmguard-pg-") // short: the path of a socket has a hundred bytes at most
	if err != nil {
		return nil, err
	}
	p.atEnd(func() error { return os.RemoveAll(dir) })
	as, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, programs: programs, password: rand.Text()}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	data, word := filepath.Join(dir, "data"), filepath.Join(dir, "word")
	if err := os.WriteFile(word, []byte(s.password), 0o644); err != nil { // in a folder that is the server's alone
		return nil, err
	}
	initdb := exec.Command(bin[len(bin)-1], "-D", data, "-U", "crmguard", "--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile="+word, "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, as
	if text, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, text)
	}
	run := exec.Command("/bin/sh", "-c", watch, "watch", filepath.Join(programs, "postgres"), "-D", data, "-k", dir, "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200")
	run.Dir, run.SysProcAttr = dir, as
	alive, err := run.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := run.Start(); err != nil {
		return nil, err
	}
	p.atEnd(func() error { return stop(alive, run) })
	p.server = s
	return s, s.await()
}

// freePort is one that nobody listened on a moment ago.
func freePort() (port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func stop(alive io.Closer, run *exec.Cmd) error {
	err := alive.Close()
	var exit *exec.ExitError
	if ended := run.Wait(); ended != nil && !errors.As(ended, &exit) {
		err = errors.Join(err, ended)
	}
	return err
}

// unprivileged gives the folder to a user as whom a server may run: it refuses to
// run as root.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() != 0 {
		return attr, nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(who.Gid)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, uid, gid)
}

func (s *server) dsn(database string) string {
	return fmt.Sprintf("host=%s port=%d user=crmguard dbname=%s sslmode=disable", s.dir, s.port, database)
}

// overTCP is the name of a database as most applications have it: not by a socket
// in the file system.
func (s *server) overTCP(dsn string) string {
	return strings.Replace(dsn, "host="+s.dir, "host=127.0.0.1 password="+s.password, 1)
}

func (s *server) await() error {
	db, err := sql.Open("pgx", s.dsn("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it was only asked whether it answers
	for range 600 {
		if err = db.Ping(); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("PostgreSQL did not answer: %w", err)
}

// database makes an empty one, and returns its data source name.
func (s *server) database(ctx context.Context) (dsn string, err error) {
	admin, err := sql.Open("pgx", s.dsn("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	s.databases++
	name := fmt.Sprint("d", s.databases)
	_, err = admin.ExecContext(ctx, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'")
	return s.dsn(name), err
}

// connect opens a database for as long as the bench stands.
func (p *bench) connect(dsn string, conns int) (*sql.DB, error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, err
	}
	return p.bounded(db, conns), nil
}

func (p *bench) bounded(db *sql.DB, conns int) *sql.DB {
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	p.atEnd(db.Close)
	return db
}

// explains says whether the server can tell by which plans it carries out what it
// is asked: that is a part of it, which some distributions pack apart.
func (s *server) explains() bool {
	out, err := exec.Command(filepath.Join(s.programs, "pg_config"), "--pkglibdir").Output()
	folder := strings.TrimSpace(string(out))
	if err != nil { // a server without the tools to build for it
		folder = filepath.Join(s.programs, "..", "lib")
	}
	_, err = os.Stat(filepath.Join(folder, "auto_explain.so"))
	return err == nil
}

// explained opens a database whose server explains each statement that it carries
// out.
func (p *bench) explained(dsn string) (*sql.DB, *plans, error) {
	seen := &plans{}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, nil, err
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) { seen.note(notice.Message) }
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		return conn.Exec(ctx, `LOAD 'auto_explain'; SET auto_explain.log_level = notice; SET auto_explain.log_format = json; SET auto_explain.log_min_duration = 0`).Close()
	}
	return p.bounded(stdlib.OpenDB(*cfg), 2), seen, nil
}

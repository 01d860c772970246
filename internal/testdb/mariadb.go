package testdb

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/go-sql-driver/mysql"
)

// mariaServer is the one of this process.
var mariaServer = sync.OnceValue(func() *server {
	if dsn := os.Getenv("CRMGUARD_MARIADB"); dsn != "" {
		return mariaAt(dsn)
	}
	_, dsn, err := startMaria()
	if err != nil {
		sayOnce("MariaDB", err)
		return &server{err: err}
	}
	return mariaAt(dsn)
})

// mariaAt speaks to a running server. Text compares as the server's default
// does, without regard to case, as in most applications that exist.
func mariaAt(dsn string) *server {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return &server{err: errors.New("CRMGUARD_MARIADB is no data source name of go-sql-driver/mysql")}
	}
	return &server{
		driver: "mysql", admin: dsn,
		create: func(_ Name, database string) []string {
			return []string{"CREATE DATABASE " + database + " CHARACTER SET utf8mb4"}
		},
		dsn: func(database string, as login) map[string]string {
			one := config.Clone()
			one.DBName = database
			if as.role != "" {
				one.User, one.Passwd = as.role, as.password
			}
			return map[string]string{"mysql": one.FormatDSN()}
		},
	}
}

// mariaLog is the size of its log, which would be made once more if another one began.
const mariaLog = "--innodb-log-file-size=32M"

// startMaria makes a data folder and starts a server on it with these settings.
func startMaria(settings ...string) (s *service, dsn string, err error) {
	install, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		return nil, "", errors.New("no MariaDB server is installed, and CRMGUARD_MARIADB is not set")
	}
	daemon, err := program("mariadbd")
	if err != nil {
		return nil, "", errors.New("mariadb-install-db is there, and mariadbd is not")
	}
	if s, err = newService("maria", "mysql"); err != nil {
		return nil, "", err
	}
	socket := filepath.Join(s.dir, "s")
	tmpdir := "--tmpdir=" + s.dir // of its own: a server that starts deletes the temporary tables that it finds, also of others
	if err := s.run(install, "--no-defaults", "--datadir="+s.data(), tmpdir, "--auth-root-authentication-method=normal", "--skip-test-db", mariaLog, "--innodb-flush-method=nosync"); err != nil {
		return nil, "", errors.Join(err, s.remove())
	}
	s.pidFile = filepath.Join(s.dir, "pid")
	args := []string{
		"--no-defaults", "--datadir=" + s.data(), "--socket=" + socket, "--skip-networking",
		tmpdir, "--pid-file=" + filepath.Join(s.dir, "pid"), "--max-connections=200", "--innodb-buffer-pool-size=64M", mariaLog,
		"--innodb-use-native-aio=0", // of which a machine has only so much, and a test suite starts many servers
	}
	for _, setting := range settings {
		args = append(args, "--"+setting)
	}
	// KILL, because it is the only signal that does not make it write what will
	// be removed.
	if err := s.start("KILL", daemon, args...); err != nil {
		return nil, "", errors.Join(err, s.remove())
	}
	dsn = "root@unix(" + socket + ")/?parseTime=true"
	return s, dsn, s.await("mysql", dsn)
}

// program finds what Debian keeps out of the path of ordinary users, too.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	return path, err
}

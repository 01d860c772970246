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
		dsn: func(database string) map[string]string {
			one := config.Clone()
			one.DBName = database
			return map[string]string{"mysql": one.FormatDSN()}
		},
	}
}

// startMaria makes a data folder and starts a server on it.
func startMaria() (s *service, dsn string, err error) {
	install, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		return nil, "", errors.New("no MariaDB server is installed, and CRMGUARD_MARIADB is not set")
	}
	daemon, err := exec.LookPath("mariadbd")
	if err != nil {
		if daemon, err = exec.LookPath("/usr/sbin/mariadbd"); err != nil {
			return nil, "", errors.New("mariadb-install-db is there, and mariadbd is not")
		}
	}
	if s, err = newService("maria", "mysql"); err != nil {
		return nil, "", err
	}
	s.pidFile = filepath.Join(s.dir, "pid")
	data, socket := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "s")
	if err := s.run(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db"); err != nil {
		return nil, "", errors.Join(err, s.remove())
	}
	// KILL, because it is the only signal that does not make it write what will
	// be removed. A folder for temporary tables of its own: a server that starts
	// deletes those that it finds, also of others.
	err = s.start("KILL", daemon, "--no-defaults", "--datadir="+data, "--tmpdir="+s.dir, "--socket="+socket, "--skip-networking",
		"--pid-file="+s.pidFile, "--max-connections=200", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M")
	if err != nil {
		return nil, "", errors.Join(err, s.remove())
	}
	dsn = "root@unix(" + socket + ")/?parseTime=true"
	return s, dsn, s.await("mysql", dsn)
}

package testdb

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PrintFoldersAndWait starts a server of PostgreSQL, prints its folder and
// waits to be killed.
func PrintFoldersAndWait() {
	s := postgresServer()
	if s.err != nil {
		fmt.Fprintln(os.Stderr, s.err)
		os.Exit(1)
	}
	config, err := pgx.ParseConfig(s.admin)
	if err != nil {
		os.Exit(1)
	}
	fmt.Println(filepath.Clean(config.Host))
	time.Sleep(time.Minute)
	os.Exit(1)
}

// EndPooler ends the pgbouncer of this process as it ends by itself: its socket goes.
func EndPooler(tb testing.TB) {
	tb.Helper()
	p := pooler().current()
	if p.err != nil {
		missing(tb, "pgbouncer", p.err)
	}
	if err := os.Remove(filepath.Join(p.dir, ".s.PGSQL.6432")); err != nil {
		tb.Fatal(err)
	}
}

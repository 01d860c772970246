package testdb

import (
	"database/sql"
	"testing"
)

// Watching opens a database by its data source name, for whichever process has
// that, and calls f before each call to it: what begins, each statement, and each
// commit. inTx says that it is inside of a transaction.
func Watching(tb testing.TB, driver, dsn string, f func(inTx bool)) *sql.DB {
	tb.Helper()
	inner, err := connector(driver, dsn)
	if err != nil {
		tb.Fatalf("testdb: open: %v", err)
	}
	db := sql.OpenDB(&Cutter{inner: inner, watch: f})
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

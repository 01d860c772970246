// Package testdb gives tests real databases: SQLite in a folder of the test,
// and throw-away servers of PostgreSQL and MariaDB.
//
// What it promises: each [Database] is empty, belongs to one test and goes with
// it. A server is started once a test process, as an unprivileged user, in a
// temporary folder, and listens on a socket in that folder only, so no port is
// taken and nobody else can reach it. It ends when the test process ends, also
// when that is killed: a small shell beside it waits for the pipe to the test
// process to break, stops the server and removes the folder.
//
// What it does not: servers write durably, as in production, so a test that
// creates a thousand databases is slow.
//
// [Variants] runs a test behind a pgbouncer in transaction mode and where
// transactions are serializable by default. [Own] is a server of a test's
// own, whose settings it may change and which it may stop, or kill with SIGKILL
// and start again on what it has written ([Server.Kill], [Server.Restart], on
// Linux); [Server.Standby] is a hot standby of it.
//
// [Each] runs a test on all of [Names]. Where a server is not installed, its
// part is skipped and the process says so once; with CRMGUARD_SERVERS=all in
// the environment that is a failure instead, and with CRMGUARD_SERVERS=none no
// server is started. CRMGUARD_POSTGRES and
// CRMGUARD_MARIADB name running servers to use in place of throw-away ones, as
// data source names of pgx and go-sql-driver/mysql whose user may create
// databases; only databases that this package has created are dropped.
//
// [Database.Cutting] opens one through a driver that ends connections at a
// chosen call, or loses the answer of a commit. What the driver of MariaDB has to
// say of connections that end reaches the caller as an error, and is not written
// to standard error besides.
//
// [Database.Role] opens one as a role without rights, for tests of GRANT.
//
// For tests only: no package of the library imports it.
package testdb

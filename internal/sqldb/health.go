package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/health"
)

// Health says what of the server's set-up breaks the promise that a committed
// transaction stays: the finding <name>.durability, the subject being the
// setting, and for MariaDB <name>.replica where the server applies the changes
// of another one.
//
// What a server says is what it was told: disks that lie about what they have
// written are not found here. On SQLite the settings are those of one
// connection of the pool.
func (db *DB) Health(ctx context.Context, name string) ([]health.Finding, error) {
	var faults []health.Finding
	var err error
	switch db.Kind {
	case SQLite:
		faults, err = db.sqliteSettings(ctx)
	case Postgres:
		faults, err = db.postgresSettings(ctx)
	default:
		faults, err = db.mysqlSettings(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("sqldb: read the settings of the database: %w", err)
	}
	for i := range faults {
		faults[i].Name = name + ".durability"
		faults[i].Unit = "settings"
		faults[i].Value = 1
	}
	sum := health.Finding{Name: name + ".durability", Value: float64(len(faults)), Unit: "settings"}
	out := health.Tally(sum, faults)
	if db.Kind != MariaDB {
		return out, nil
	}
	replica, err := db.replica(ctx)
	if err != nil {
		return nil, fmt.Errorf("sqldb: ask what the database replicates: %w", err)
	}
	replica.Name = name + ".replica"
	return append(out, replica), nil
}

// a setting that loses what was committed, or what it would take.
func setting(subject string, level health.Level, remedy string) health.Finding {
	return health.Finding{Subject: subject, Level: level, Remedy: remedy}
}

func (db *DB) sqliteSettings(ctx context.Context) (out []health.Finding, err error) {
	var synchronous int
	var journal string
	if err := db.onOne(ctx, func(conn *sql.Conn) error {
		return errors.Join(
			One(ctx, conn, []any{&synchronous}, `PRAGMA synchronous`),
			One(ctx, conn, []any{&journal}, `PRAGMA journal_mode`))
	}); err != nil {
		return nil, err
	}
	const full, extra = 2, 3
	if synchronous < full {
		out = append(out, setting("synchronous", health.Alarm, "a power cut loses commits: open the file with _pragma=synchronous(FULL)"))
	}
	switch strings.ToLower(journal) {
	case "off", "memory":
		out = append(out, setting("journal_mode", health.Alarm, "a crash in a commit destroys the file, or there is none: open a file with _pragma=journal_mode(WAL)"))
	case "delete":
		if synchronous == full {
			out = append(out, setting("journal_mode", health.Notice, "a power cut just after a commit may undo it: open the file with _pragma=journal_mode(WAL), or synchronous(EXTRA)"))
		}
	}
	return out, nil
}

// onOne asks several questions of one connection.
func (db *DB) onOne(ctx context.Context, f func(conn *sql.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(conn), conn.Close())
}

func (db *DB) postgresSettings(ctx context.Context) (out []health.Finding, err error) {
	var fsync, pages, commit string
	err = One(ctx, db, []any{&fsync, &pages, &commit},
		`SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')`)
	if err != nil {
		return nil, err
	}
	if fsync != "on" {
		out = append(out, setting("fsync", health.Alarm, "a power cut loses commits and may destroy the cluster: set fsync = on"))
	}
	if pages != "on" {
		out = append(out, setting("full_page_writes", health.Alarm, "a power cut may leave torn pages: set full_page_writes = on, unless the file system rules them out"))
	}
	if commit == "off" {
		out = append(out, setting("synchronous_commit", health.Notice,
			"transactions of the library set it on; the application's own, with all that is recorded in them, are lost by a crash within a second: set synchronous_commit = on"))
	}
	return out, nil
}

func (db *DB) mysqlSettings(ctx context.Context) (out []health.Finding, err error) {
	// Unlike @@name, which fails where a version does not know it.
	settings, err := db.pairs(ctx, `SHOW GLOBAL VARIABLES WHERE Variable_name IN
		('innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'innodb_flush_method', 'log_bin', 'sync_binlog')`)
	if err != nil {
		return nil, err
	}
	// MariaDB's 3 writes at each commit as 1 does, and once more.
	if v := settings["innodb_flush_log_at_trx_commit"]; v != "1" && (v != "3" || db.Kind != MariaDB) {
		out = append(out, setting("innodb_flush_log_at_trx_commit", health.Alarm, "a crash loses the commits of about a second: set innodb_flush_log_at_trx_commit = 1"))
	}
	if settings["log_bin"] == "ON" && settings["sync_binlog"] != "1" {
		out = append(out, setting("sync_binlog", health.Alarm, "a power cut undoes commits that the binary log lacks: set sync_binlog = 1"))
	}
	if v := settings["innodb_doublewrite"]; slices.Contains([]string{"OFF", "0", "DETECT_ONLY"}, strings.ToUpper(v)) {
		out = append(out, setting("innodb_doublewrite", health.Alarm, "a power cut may leave torn pages: set innodb_doublewrite = ON, unless the file system rules them out"))
	}
	if strings.Contains(strings.ToLower(settings["innodb_flush_method"]), "nosync") {
		out = append(out, setting("innodb_flush_method", health.Alarm, "nothing is forced to the disk: set innodb_flush_method to one that syncs"))
	}
	return out, nil
}

func (db *DB) replica(ctx context.Context) (health.Finding, error) {
	status, err := db.pairs(ctx, `SHOW GLOBAL STATUS LIKE 'Slaves_running'`)
	out := health.Finding{Unit: "sources"}
	if n := status["Slaves_running"]; n != "" && n != "0" {
		out.Level, out.Value = health.Notice, float64(leadingNumber(n))
		out.Remedy = "the server applies the changes of another one and takes writes: if it is a replica, connect to the primary and set read_only here"
	}
	return out, err
}

// pairs reads rows of a name and a value, of MariaDB and MySQL.
func (db *DB) pairs(ctx context.Context, query string) (out map[string]string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		out[name] = value
	}
	return out, rows.Err()
}

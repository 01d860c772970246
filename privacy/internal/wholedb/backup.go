package wholedb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"modernc.org/sqlite"

	"github.com/crmguard/crmguard/internal/testdb"
)

// A State is everything that a database held at one time.
type State struct {
	file   string // of SQLite
	tables []table
	rows   map[string][][]any // by table, as restore hands them back
	next   map[string]string  // what a sequence, or a counter of a table, stood at
}

// Backup keeps the state of the whole database until the test ends. Nobody may
// write meanwhile.
func (d DB) Backup(tb testing.TB) *State {
	tb.Helper()
	s := &State{rows: map[string][][]any{}, next: map[string]string{}}
	if d.Name == testdb.SQLite {
		s.file = filepath.Join(tb.TempDir(), "backup.db")
		d.copyFile(tb, func(c copier) (*sqlite.Backup, error) { return c.NewBackup(s.file) })
		return s
	}
	s.tables = d.tables(tb)
	for _, t := range s.tables {
		columns := t.stored()
		exprs := make([]string, len(columns))
		for i, c := range columns {
			if exprs[i] = d.plain(c); d.Name != testdb.MariaDB {
				exprs[i] = c.sql + "::text" // bytes too: it is what goes back into any type
			}
		}
		d.each(tb, "SELECT "+strings.Join(exprs, ", ")+" FROM "+t.sql, func(rows *sql.Rows) error {
			cells, dest := make([][]byte, len(columns)), make([]any, len(columns))
			for i := range cells {
				dest[i] = &cells[i]
			}
			err := rows.Scan(dest...)
			for i, c := range columns {
				switch {
				case cells[i] == nil:
					dest[i] = nil
				case d.Name == testdb.MariaDB && d.isBytes(c):
					dest[i] = cells[i]
				default:
					dest[i] = string(cells[i])
				}
			}
			s.rows[t.name] = append(s.rows[t.name], dest)
			return err
		})
	}
	d.each(tb, sequences[d.kind()], func(rows *sql.Rows) error {
		var name, at string
		err := rows.Scan(&name, &at)
		s.next[name] = at
		return err
	})
	return s
}

// Each answers the name of what counts, and the statement that sets it to where
// it stands.
var sequences = map[testdb.Name]string{
	testdb.PostgresC: `SELECT q, format('SELECT setval(%L, %s, %L)', q, COALESCE(pg_sequence_last_value(q::regclass), 1), pg_sequence_last_value(q::regclass) IS NOT NULL)
		FROM (SELECT format('%I.%I', schemaname, sequencename) AS q FROM pg_sequences) s`,
	testdb.MariaDB: "SELECT table_name, CONCAT('ALTER TABLE `', table_name, '` AUTO_INCREMENT = ', auto_increment) FROM information_schema.tables WHERE table_schema = DATABASE() AND auto_increment IS NOT NULL",
}

// Restore puts the database back: every row, every number that is given out next.
// Tables that came later are dropped, as where the files of the database are put
// back; one that has gone since, or has other columns, ends the test. No
// constraint and no trigger is asked. Nobody may use the database meanwhile.
func (d DB) Restore(tb testing.TB, s *State) {
	tb.Helper()
	if d.Name == testdb.SQLite {
		d.copyFile(tb, func(c copier) (*sqlite.Backup, error) { return c.NewRestore(s.file) })
		return
	}
	conn, err := d.SQL.Conn(tb.Context())
	if err != nil {
		tb.Fatalf("wholedb: %v", err)
	}
	defer func() { _ = conn.Close() }()
	exec := func(query string, args ...any) {
		tb.Helper()
		if _, err := conn.ExecContext(tb.Context(), query, args...); err != nil {
			tb.Fatalf("wholedb: restore: %v\n%s", err, query[:min(len(query), 300)])
		}
	}
	var triggers []string
	unchecked, checked := d.checks()
	if d.Name == testdb.MariaDB {
		triggers = d.dropTriggers(tb, exec)
	}
	exec(unchecked)
	for _, t := range d.tables(tb) {
		if s.has(t) {
			exec("DELETE FROM " + t.sql)
		} else {
			exec("DROP TABLE " + t.sql)
		}
	}
	for _, t := range s.tables {
		d.refill(t, s.rows[t.name], exec)
	}
	for _, set := range s.next {
		exec(set)
	}
	for _, create := range triggers {
		exec(create)
	}
	exec(checked)
}

// RestoreTable puts the rows of one table back, as Restore does those of all, and
// leaves the others, and what counts.
func (d DB) RestoreTable(tb testing.TB, s *State, name string) {
	tb.Helper()
	conn, err := d.SQL.Conn(tb.Context())
	if err != nil {
		tb.Fatalf("wholedb: %v", err)
	}
	defer func() { _ = conn.Close() }()
	exec := func(query string, args ...any) {
		tb.Helper()
		if _, err := conn.ExecContext(tb.Context(), query, args...); err != nil {
			tb.Fatalf("wholedb: restore %s: %v\n%s", name, err, query[:min(len(query), 300)])
		}
	}
	if d.Name == testdb.SQLite {
		exec("ATTACH ? AS earlier", s.file)
		exec("PRAGMA foreign_keys = 0")
		exec("DELETE FROM main." + d.quote(name))
		exec("INSERT INTO main." + d.quote(name) + " SELECT * FROM earlier." + d.quote(name))
		exec("PRAGMA foreign_keys = 1")
		exec("DETACH earlier")
		return
	}
	unchecked, checked := d.checks()
	exec(unchecked)
	for _, t := range s.tables {
		if t.name == name {
			exec("DELETE FROM " + t.sql)
			d.refill(t, s.rows[t.name], exec)
		}
	}
	exec(checked)
}

// checks turn constraints off and on.
func (d DB) checks() (off, on string) {
	if d.Name == testdb.MariaDB {
		return "SET foreign_key_checks = 0, check_constraint_checks = 0", "SET foreign_key_checks = 1, check_constraint_checks = 1"
	}
	return "SET session_replication_role = replica", "SET session_replication_role = DEFAULT"
}

func (s *State) has(t table) bool {
	for _, known := range s.tables {
		if known.name == t.name {
			return true
		}
	}
	return false
}

func (t table) stored() []column {
	var out []column
	for _, c := range t.columns {
		if !c.computed {
			out = append(out, c)
		}
	}
	return out
}

// refill writes rows in as few statements as servers take.
func (d DB) refill(t table, rows [][]any, exec func(query string, args ...any)) {
	const most = 200
	columns := t.stored()
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.sql
	}
	into := "INSERT INTO " + t.sql + " (" + strings.Join(names, ", ") + ") VALUES "
	if d.Name != testdb.MariaDB {
		into = strings.TrimSuffix(into, "VALUES ") + "OVERRIDING SYSTEM VALUE VALUES "
	}
	for len(rows) > 0 {
		n := min(most, len(rows))
		var args []any
		tuples := make([]string, n)
		for i, row := range rows[:n] {
			marks := make([]string, len(columns))
			for j, c := range columns {
				if marks[j] = "?"; d.Name != testdb.MariaDB {
					marks[j] = fmt.Sprintf("$%d::text::%s", len(args)+1, c.typ)
				}
				args = append(args, row[j])
			}
			tuples[i] = "(" + strings.Join(marks, ", ") + ")"
		}
		exec(into+strings.Join(tuples, ", "), args...)
		rows = rows[n:]
	}
}

// dropTriggers drops those of MariaDB, which it always runs, and returns the
// statements that make them again.
func (d DB) dropTriggers(tb testing.TB, exec func(query string, args ...any)) []string {
	tb.Helper()
	var names, creates []string
	d.each(tb, "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()", func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, d.quote(name))
		return err
	})
	for _, name := range names {
		var rest [4]sql.RawBytes
		var mode, create string
		d.each(tb, "SHOW CREATE TRIGGER "+name, func(rows *sql.Rows) error {
			var ignored sql.RawBytes
			return rows.Scan(&ignored, &mode, &create, &rest[0], &rest[1], &rest[2], &rest[3])
		})
		exec("DROP TRIGGER " + name)
		creates = append(creates, create)
	}
	return creates
}

// A copier is a connection of SQLite's driver.
type copier interface {
	NewBackup(to string) (*sqlite.Backup, error)
	NewRestore(from string) (*sqlite.Backup, error)
}

// copyFile copies a database page by page, from or to the one that is open.
func (d DB) copyFile(tb testing.TB, begin func(copier) (*sqlite.Backup, error)) {
	tb.Helper()
	if err := withCopier(tb.Context(), d.SQL, func(c copier) error {
		b, err := begin(c)
		if err != nil {
			return err
		}
		for more := true; more && err == nil; {
			more, err = b.Step(-1)
		}
		if err != nil {
			return err
		}
		return b.Finish()
	}); err != nil {
		tb.Fatalf("wholedb: copy: %v", err)
	}
}

func withCopier(ctx context.Context, db *sql.DB, f func(copier) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return conn.Raw(func(inner any) error {
		c, ok := inner.(copier)
		if !ok {
			return fmt.Errorf("%T cannot copy its database: %w", inner, driver.ErrSkip)
		}
		return f(c)
	})
}

package encryption_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// updatesOf counts the statements that change a table of PostgreSQL from now on,
// also those that are rolled back.
func updatesOf(t *testing.T, db *sql.DB, table string) (count func() int) {
	t.Helper()
	for _, statement := range []string{
		`CREATE SEQUENCE updates_` + table,
		`CREATE FUNCTION count_` + table + `() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''updates_` + table + `''); RETURN NULL; END'`,
		`CREATE TRIGGER counted AFTER UPDATE ON ` + table + ` FOR EACH STATEMENT EXECUTE FUNCTION count_` + table + `()`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	before := 0
	return func() int {
		var now int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM updates_`+table).Scan(&now))
		n := now - before
		before = now
		return n
	}
}

func eachPostgres(t *testing.T, f func(t *testing.T, s *two)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU {
			f(t, newTwo(t, d))
		}
	})
}

// standsStill returns when a transaction waits for a row of PostgreSQL.
func (s *two) standsStill(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n int
		require.NoError(t, s.second.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n))
		return n > 0
	}, time.Minute, time.Millisecond)
}

// PostgreSQL takes a batch of rows in one statement, whatever their key is made of
// and through each driver.
func TestABatchIsResealedByOneStatementWhateverItsKeyIs(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, e.vault.AddTenant(t.Context(), seven))
	keys := keyedTables(sqldb.Postgres)
	keys["signs"] = keyedTable{columns: "id text PRIMARY KEY", values: []string{`'a"b'`, `'a\b'`, `'NULL'`, `'{a,b}'`, `'a,b'`, `'a b?'`, `'\\"'`}}
	keys["char"] = keyedTable{columns: "id char(3) PRIMARY KEY", values: []string{`'abc'`, `'ABC'`, `' bc'`, `'äöü'`}}
	keys["boolean"] = keyedTable{columns: "id boolean PRIMARY KEY", values: []string{`true`, `false`}, asText: true}
	for name, drivers := range map[testdb.Name][]string{testdb.PostgresC: testdb.PostgresC.Drivers()[1:], testdb.PostgresICU: testdb.PostgresICU.Drivers()[:1]} {
		t.Run(string(name)+" "+drivers[0], func(t *testing.T) {
			db := testdb.New(t, name).OpenWith(t, drivers[0])
			d, err := sqldb.Ask(t.Context(), db)
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), `CREATE EXTENSION citext; CREATE TYPE stage AS ENUM ('won', 'new', 'lost', '10')`)
			require.NoError(t, err)
			tables := 0
			for what, key := range keys {
				tables++
				t.Run(what, func(t *testing.T) {
					c := &keyedCase{keyedTable: key, env: e, db: db, d: d, name: fmt.Sprint("crm_", tables), ids: map[string]int{}}
					c.create(t)
					fresh, err := e.vault.NewKeyVersion(t.Context(), seven)
					require.NoError(t, err)
					updates := updatesOf(t, db, c.name)
					report, err := c.table.Reseal(t.Context(), db, seven, jobs.ResealOptions{})
					require.NoError(t, err)
					require.Equal(t, []int{len(c.ids), 3 * len(c.ids), 0, 0}, []int{report.Rows, report.Cells, report.Conflicts, report.Refused})
					require.Equal(t, 1, updates())
					c.requireOpens(t)
					census, err := c.table.Census(t.Context(), db, seven)
					require.NoError(t, err)
					require.Equal(t, map[uint32]int64{fresh: int64(3 * len(c.ids))}, census.KeyVersions)
				})
			}
		})
	}
}

// A key of a type of which PostgreSQL has no arrays is resealed row by row.
func TestAKeyThatIsAnArrayIsResealed(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		s.exec(t, s.db, `CREATE TABLE paths (id integer[] PRIMARY KEY, person text, body bytea)`)
		table, err := s.a.Table(encryption.Table{Name: "paths", Columns: []encryption.Column{{Name: "body"}}})
		require.NoError(t, err)
		w, err := table.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		for i := range 4 {
			s.exec(t, s.db, `INSERT INTO paths (id, person, body) VALUES (ARRAY[1, `+fmt.Sprint(i)+`], 'p1', ?)`, w.Text("body", "Ann"))
		}
		fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{Batch: 2})
		require.NoError(t, err)
		require.Equal(t, []int{4, 4, 0}, []int{report.Rows, report.Cells, report.Conflicts})
		census, err := table.Census(t.Context(), s.db, tenant)
		require.NoError(t, err)
		require.Equal(t, map[uint32]int64{fresh: 4}, census.KeyVersions)
	})
}

// Of rows that are changed together each is compared with what was read of it:
// what an application has written meanwhile stays.
func TestOfRowsThatAreChangedTogetherEachIsCompared(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		for i := range 6 {
			s.write(t, s.db, s.writer(t), fmt.Sprint("l", i))
		}
		fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		updates := updatesOf(t, s.db, "letters")
		written := s.writer(t).Text("body", "written meanwhile")
		application, err := s.second.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		s.exec(t, application, `UPDATE letters SET body = ? WHERE id = 'l3'`, written)
		s.exec(t, application, `DELETE FROM letters WHERE id = 'l4'`)
		resealed := make(chan error, 1)
		var report jobs.ResealReport
		go func() {
			var err error
			report, err = s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
			resealed <- err
		}()
		s.standsStill(t)
		require.NoError(t, application.Commit())
		require.NoError(t, <-resealed)
		require.Equal(t, []int{2, 4, 0}, []int{report.Conflicts, report.Cells, report.Refused})
		require.Equal(t, 2, updates(), "the application's, and one for the batch")
		var body encryption.Sealed
		require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT body FROM letters WHERE id = 'l3'`).Scan(&body))
		sealed, err := written.Value()
		require.NoError(t, err)
		require.Equal(t, sealed, body.Bytes())
		census, err := s.of.Census(t.Context(), s.db, tenant)
		require.NoError(t, err)
		require.Equal(t, map[uint32]int64{fresh: 5}, census.KeyVersions)
	})
}

// A rule of PostgreSQL has no answer to the question which rows were changed. The
// rows are then changed one by one, and the one that the rule keeps is named.
func TestARuleThatKeepsARowStopsNoReseal(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		for i := range 5 {
			s.write(t, s.db, s.writer(t), fmt.Sprint("l", i))
		}
		s.exec(t, s.db, `CREATE RULE frozen AS ON UPDATE TO letters WHERE OLD.id = 'l3' DO INSTEAD NOTHING`)
		fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		report, err := s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{"l3"}, keysOf(report.Refusals))
		require.Equal(t, []int{5, 4, 0}, []int{report.Rows, report.Cells, report.Conflicts})
		census, err := s.of.Census(t.Context(), s.db, tenant)
		require.NoError(t, err)
		require.EqualValues(t, 4, census.KeyVersions[fresh])
		s.requireAll(t, 5)
	})
}

// What a trigger keeps and says nothing of is noticed among rows that are changed
// together: a row, a cell, or the owner of a row that goes over to another one.
func TestWhatATriggerKeepsAmongOtherRowsIsNamed(t *testing.T) {
	for name, body := range map[string]string{"row": `IF OLD.id = ''l3'' THEN RETURN NULL; END IF`, "owner": `IF OLD.id = ''l3'' THEN NEW.person := OLD.person; END IF`, "cell": `IF OLD.id = ''l3'' THEN NEW.body := OLD.body; END IF`} {
		t.Run(name, func(t *testing.T) {
			eachPostgres(t, func(t *testing.T, s *two) {
				require.NoError(t, s.a.Ensure(t.Context(), tenant, "p2", "p3"))
				w, err := s.of.Writer(t.Context(), tenant, "p3")
				require.NoError(t, err)
				for i := range 5 {
					s.exec(t, s.db, `INSERT INTO letters (id, person, body) VALUES (?, 'p3', ?)`, fmt.Sprint("l", i), w.Text("body", "Ann"))
				}
				if name == "owner" {
					require.NoError(t, s.a.AddAlias(t.Context(), tenant, "p3", "p2"))
				}
				s.exec(t, s.db, `CREATE FUNCTION silent() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN `+body+`; RETURN NEW; END'`)
				s.exec(t, s.db, `CREATE TRIGGER silent BEFORE UPDATE ON letters FOR EACH ROW EXECUTE FUNCTION silent()`)
				old := s.versionOf(t, "l3")
				_, err = s.a.NewKeyVersion(t.Context(), tenant)
				require.NoError(t, err)
				report, err := s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
				require.NoError(t, err)
				require.Equal(t, []string{"l3"}, keysOf(report.Refusals))
				require.Equal(t, []int{4, 0}, []int{report.Cells, report.Conflicts})
				require.Equal(t, old, s.versionOf(t, "l3"))
			})
		})
	}
}

// versionOf is the key version of a letter.
func (s *two) versionOf(t *testing.T, id string) uint32 {
	t.Helper()
	var cell encryption.Sealed
	require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT body FROM letters WHERE id = '`+id+`'`).Scan(&cell))
	keyVersion, err := sealedvalue.KeyVersion(cell.Bytes())
	require.NoError(t, err)
	return keyVersion
}

// Rows of one batch whose sealed columns differ go by as many statements as there
// are kinds of them, and those of large values by more.
func TestRowsOfSeveralKindsAreResealedTogether(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		table := cards(t, s)
		w, err := table.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		large := make([]byte, 200<<10)
		_, err = rand.Read(large)
		require.NoError(t, err)
		insert := func(id string, body, extra any) {
			s.exec(t, s.db, `INSERT INTO cards (id, person, body, extra) VALUES (?, 'p1', ?, ?)`, id, body, extra)
		}
		for i := range 12 {
			body, extra := any(w.Text("body", "")), any(w.Text("extra", fmt.Sprint("extra ", i)))
			switch i % 3 {
			case 1:
				body = nil
			case 2:
				extra = nil
			}
			insert(fmt.Sprint("c", i), body, extra)
		}
		for i := range 4 { // two of them, old and new, are in a statement of a megabyte
			insert(fmt.Sprint("l", i), w.Bytes("body", large), nil)
		}
		insert("m", w.Bytes("body", make([]byte, 2<<20)), nil)
		fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		updates := updatesOf(t, s.db, "cards")
		report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
		require.NoError(t, err)
		require.Equal(t, []int{17, 21, 0}, []int{report.Rows, report.Cells, report.Conflicts})
		require.Equal(t, 3+1+1, updates())
		census, err := table.Census(t.Context(), s.db, tenant)
		require.NoError(t, err)
		require.Equal(t, map[uint32]int64{fresh: 21}, census.KeyVersions)
		r, err := table.Reader(t.Context(), tenant, "p1")
		require.NoError(t, err)
		open := func(id, column string) []byte {
			var cell encryption.Sealed
			require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT `+column+` FROM cards WHERE id = '`+id+`'`).Scan(&cell))
			got, err := r.Row("p1", id).Open(t.Context(), column, cell.Bytes())
			require.NoError(t, err)
			return got
		}
		require.Equal(t, "extra 4", string(open("c4", "extra")))
		require.Equal(t, "extra 3", string(open("c3", "extra")))
		require.Empty(t, open("c2", "body"))
		require.Equal(t, large, open("l2", "body"))
		require.Len(t, open("m", "body"), 2<<20)
	})
}

// putBack makes the database put back what a row holds after it was changed, or keep
// it: whoever counts the rows that an UPDATE has changed does not see it.
func (s *two) putBack(t *testing.T, id string) {
	t.Helper()
	switch s.database.Name {
	case testdb.SQLite:
		s.exec(t, s.db, `CREATE TRIGGER back AFTER UPDATE ON cards WHEN OLD.id = '`+id+`' BEGIN UPDATE cards SET body = OLD.body WHERE id = OLD.id; END`)
	case testdb.MariaDB: // a row that changes at all counts as changed
		s.exec(t, s.db, `CREATE TRIGGER back BEFORE UPDATE ON cards FOR EACH ROW BEGIN
			IF OLD.id = '`+id+`' THEN SET NEW.body = OLD.body, NEW.extra = CONCAT('x', UUID()); END IF; END`)
	default:
		s.exec(t, s.db, `CREATE FUNCTION back() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
			IF pg_trigger_depth() = 1 THEN UPDATE cards SET body = OLD.body WHERE id = OLD.id; END IF; RETURN NULL; END'`)
		s.exec(t, s.db, `CREATE TRIGGER back AFTER UPDATE ON cards FOR EACH ROW WHEN (OLD.id = '`+id+`') EXECUTE FUNCTION back()`)
	}
}

// A row that a trigger gives its old value back is not counted as resealed: it is
// named, row by row and among rows that are changed together.
func TestWhatATriggerPutsBackIsNamed(t *testing.T) {
	for name, hook := range map[string]jobs.RowHook{"together": nil, "with hooks": func(context.Context, *sql.Tx, string, string) error { return nil }} {
		t.Run(name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, d testdb.Database) {
				s := newTwo(t, d)
				table := cards(t, s)
				w, err := table.Writer(t.Context(), tenant, "p1")
				require.NoError(t, err)
				for i := range 5 {
					s.exec(t, s.db, `INSERT INTO cards (id, person, body) VALUES (?, 'p1', ?)`, fmt.Sprint("c", i), w.Text("body", "Ann"))
				}
				old := s.keyVersion(t, "c3")
				s.putBack(t, "c3")
				fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
				require.NoError(t, err)
				report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{AfterRow: hook})
				require.NoError(t, err)
				require.Equal(t, []string{"c3"}, keysOf(report.Refusals))
				require.Equal(t, []int{5, 4, 0}, []int{report.Rows, report.Cells, report.Conflicts})
				census, err := table.Census(t.Context(), s.db, tenant)
				require.NoError(t, err)
				require.Equal(t, map[uint32]int64{fresh: 4, old: 1}, census.KeyVersions, "as the report says")
				requireCards(t, s, table, 5)
			})
		})
	}
}

// What triggers do besides keeping or putting back a value is no refusal: one that
// writes another column makes a version of the row of its own, and the rows of a
// partitioned table are looked at otherwise.
func TestWhatATriggerDoesBesidesStopsNoReseal(t *testing.T) {
	for name, table := range map[string]string{
		"another column": `CREATE TABLE notes (id text PRIMARY KEY, person text NOT NULL, body bytea, told integer NOT NULL DEFAULT 0)`,
		"partitions": `CREATE TABLE notes (id text PRIMARY KEY, person text NOT NULL, body bytea, told integer NOT NULL DEFAULT 0) PARTITION BY HASH (id);
			CREATE TABLE notes_0 PARTITION OF notes FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE notes_1 PARTITION OF notes FOR VALUES WITH (MODULUS 2, REMAINDER 1)`,
	} {
		t.Run(name, func(t *testing.T) {
			eachPostgres(t, func(t *testing.T, s *two) {
				for statement := range strings.SplitSeq(table, ";") {
					s.exec(t, s.db, statement)
				}
				notes, err := s.a.Table(encryption.Table{Name: "notes", Columns: []encryption.Column{{Name: "body"}}})
				require.NoError(t, err)
				w, err := notes.Writer(t.Context(), tenant, "p1")
				require.NoError(t, err)
				for i := range 6 {
					s.exec(t, s.db, `INSERT INTO notes (id, person, body) VALUES (?, 'p1', ?)`, fmt.Sprint("n", i), w.Text("body", "Ann"))
				}
				s.exec(t, s.db, `CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
					IF pg_trigger_depth() = 1 AND OLD.id <> ''n5'' THEN UPDATE notes SET told = told + 1 WHERE id = OLD.id; END IF;
					IF pg_trigger_depth() = 1 AND OLD.id = ''n4'' THEN UPDATE notes SET body = OLD.body WHERE id = OLD.id; END IF; RETURN NULL; END'`)
				s.exec(t, s.db, `CREATE TRIGGER tell AFTER UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION tell()`)
				fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
				require.NoError(t, err)
				report, err := notes.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
				require.NoError(t, err)
				require.Equal(t, []string{"n4"}, keysOf(report.Refusals))
				require.Equal(t, []int{6, 5, 0}, []int{report.Rows, report.Cells, report.Conflicts})
				census, err := notes.Census(t.Context(), s.db, tenant)
				require.NoError(t, err)
				require.EqualValues(t, 5, census.KeyVersions[fresh])
				var told int
				require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT sum(told) FROM notes`).Scan(&told))
				require.Equal(t, 4, told)
			})
		})
	}
}

// Batches that are made ready while others are written leave no row out, and what
// a batch meets ends the job in its turn.
func TestBatchesThatAreReadAheadLeaveNothingOut(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name != testdb.PostgresC && d.Name != testdb.PostgresICU {
			return
		}
		s := newTwoWith(t, d, d.Name == testdb.PostgresC) // keys and rows in one pool
		w := s.writer(t)
		for i := range 10 {
			s.write(t, s.db, w, fmt.Sprint("l", i))
		}
		fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended, err := s.of.Reseal(ctx, s.db, tenant, jobs.ResealOptions{Batch: 2, Progress: func(r jobs.ResealReport) {
			if r.Rows == 4 {
				cancel()
			}
		}})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, []any{4, 4, "l3"}, []any{ended.Rows, ended.Cells, ended.Last})
		require.EqualValues(t, 4, s.countVersion(t, fresh))
		s.db.SetMaxOpenConns(1)
		cold, err := encryption.Open(t.Context(), s.cfg) // has no keys in memory, and one connection for all it asks
		require.NoError(t, err)
		of, err := cold.Table(lettersTable)
		require.NoError(t, err)
		report, err := of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{Batch: 2, After: ended.Last})
		require.NoError(t, err)
		require.Equal(t, []int{6, 6, 0}, []int{report.Rows, report.Cells, report.Conflicts})
		s.db.SetMaxOpenConns(2)
		require.EqualValues(t, 10, s.countVersion(t, fresh))
	})
}

func (s *two) countVersion(t *testing.T, keyVersion uint32) int64 {
	t.Helper()
	census, err := s.of.Census(t.Context(), s.db, tenant)
	require.NoError(t, err)
	return census.KeyVersions[keyVersion]
}

// Two that reseal one table at one time take turns: each cell is resealed once,
// whichever rows the one holds when the other comes.
func TestTwoResealOneTable(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		const rows = 300
		w := s.writer(t)
		for i := range rows { // the last ones stand first in the table
			s.write(t, s.db, w, fmt.Sprintf("l%03d", rows-i))
		}
		fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		reports := make(chan jobs.ResealReport, 2)
		errs := make(chan error, 2)
		for _, side := range []struct {
			table *encryption.SealedTable
			db    *sql.DB
			batch int
		}{{s.of, s.db, 70}, {s.ofB, s.second, 110}} {
			go func() {
				report, err := side.table.Reseal(t.Context(), side.db, tenant, jobs.ResealOptions{Batch: side.batch})
				reports <- report
				errs <- err
			}()
		}
		one, other := <-reports, <-reports
		require.NoError(t, <-errs)
		require.NoError(t, <-errs)
		require.Equal(t, []int{rows, rows, rows, 0, 0}, []int{one.Rows, other.Rows, one.Cells + other.Cells, one.Refused + other.Refused, one.Locked + other.Locked})
		census, err := s.of.Census(t.Context(), s.db, tenant)
		require.NoError(t, err)
		require.Equal(t, map[uint32]int64{fresh: rows}, census.KeyVersions)
		s.requireAll(t, rows)
	})
}

// A statement for many rows may hold one that another waits for who holds one of
// the others. The database ends it; it is tried again, and what the other wrote
// stays.
func TestADeadlockOfABatchIsTriedAgain(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		for i := range 6 {
			s.write(t, s.db, s.writer(t), fmt.Sprint("l", i))
		}
		fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		application, err := s.second.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		s.exec(t, application, `SET LOCAL deadlock_timeout = '1h'`) // so the other one is ended
		first, last := s.writer(t).Text("body", "first"), s.writer(t).Text("body", "last")
		s.exec(t, application, `UPDATE letters SET body = ? WHERE id = 'l5'`, last)
		resealed := make(chan error, 1)
		var report jobs.ResealReport
		go func() {
			var err error
			report, err = s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
			resealed <- err
		}()
		s.standsStill(t)
		s.exec(t, application, `UPDATE letters SET body = ? WHERE id = 'l0'`, first) // waits for the batch, which waits for l5
		require.NoError(t, application.Commit())
		require.NoError(t, <-resealed)
		require.Equal(t, []int{2, 4, 0, 0}, []int{report.Conflicts, report.Cells, report.Refused, report.Locked})
		var deadlocks int
		require.Eventually(t, func() bool {
			require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks))
			return deadlocks > 0
		}, time.Minute, 10*time.Millisecond)
		for id, want := range map[string]encryption.Sealed{"l0": first, "l5": last} {
			var body encryption.Sealed
			require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT body FROM letters WHERE id = '`+id+`'`).Scan(&body))
			sealed, err := want.Value()
			require.NoError(t, err)
			require.Equal(t, sealed, body.Bytes())
		}
		census, err := s.of.Census(t.Context(), s.db, tenant)
		require.NoError(t, err)
		require.Equal(t, map[uint32]int64{fresh: 6}, census.KeyVersions)
	})
}

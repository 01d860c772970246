package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// each runs f on the four databases through each of their drivers, behind a
// pooler and where transactions are serializable by default, with the tables
// of demo.
func each(t *testing.T, f func(t *testing.T, db *sqldb.DB)) {
	testdb.Variants(t, func(t *testing.T, open func(tb testing.TB) *sql.DB) {
		handle := open(t)
		require.NoError(t, demo(2).Install(t.Context(), handle))
		db, err := sqldb.Open(t.Context(), handle)
		require.NoError(t, err)
		f(t, db)
	})
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			t.Run(driver, func(t *testing.T) {
				handle := testdb.New(t, d.Name).OpenWith(t, driver)
				require.NoError(t, demo(2).Install(t.Context(), handle))
				db, err := sqldb.Open(t.Context(), handle)
				require.NoError(t, err)
				f(t, db)
			})
		}
	})
}

func words(t *testing.T, db *sqldb.DB) (out []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT word, n FROM crmguard_demo_word ORDER BY tenant, word`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var word string
		var n int
		require.NoError(t, rows.Scan(&word, &n))
		out = append(out, fmt.Sprintf("%s=%d", word, n))
	}
	require.NoError(t, rows.Err())
	return out
}

func insert(replace bool) sqldb.Insert {
	return sqldb.Insert{Table: "crmguard_demo_word", Columns: []string{"tenant", "word", "n", "body"}, Key: []string{"tenant", "word"}, Replace: replace}
}

func TestTheDatabaseSaysWhatItIs(t *testing.T) {
	kinds := map[testdb.Name]sqldb.Kind{testdb.SQLite: sqldb.SQLite, testdb.PostgresC: sqldb.Postgres, testdb.PostgresICU: sqldb.Postgres, testdb.MariaDB: sqldb.MariaDB}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			dialect, err := sqldb.Ask(t.Context(), d.OpenWith(t, driver))
			require.NoError(t, err)
			require.Equal(t, kinds[d.Name], dialect.Kind)
			require.NotEmpty(t, dialect.Version)
		}
	})
}

func TestADatabaseThatDoesNotAnswerIsNotUnsupported(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := sqldb.Ask(ctx, d.Open(t))
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, errors.ErrUnsupported)
	})
	_, err := sqldb.Open(t.Context(), nil)
	require.ErrorContains(t, err, "no database")

	path := filepath.Join(t.TempDir(), "missing", "crm.db")
	nowhere, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nowhere.Close() })
	_, err = sqldb.Ask(t.Context(), nowhere)
	require.ErrorContains(t, err, "does not answer")
	require.NotErrorIs(t, err, errors.ErrUnsupported, "a file that cannot be opened is no other database")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
	_, err = sqldb.Ask(t.Context(), nowhere)
	require.NoError(t, err, "asked again when it is there")
}

// Text keys are told apart and ordered by their bytes, whatever the database
// does with text otherwise.
func TestTextKeysAreTheirBytes(t *testing.T) {
	keys := []string{"b", "A", "a", "B", "ä", "a\u0308", "_x", "Z", "1-2", "12", "p1", "p1 ", "P1", "é", "e\u0301", "ﬁ", "fi", "0", "00", "İ", "i"}
	each(t, func(t *testing.T, db *sqldb.DB) {
		var rows [][]any
		for i, key := range keys {
			rows = append(rows, []any{"main", key, i, []byte{byte(i)}})
		}
		require.NoError(t, db.Insert(t.Context(), db, insert(false), rows))
		sorted := slices.Sorted(slices.Values(keys))
		var got []string
		after := []any(nil)
		for {
			query, args := db.Page(sqldb.Page{
				Table: "crmguard_demo_word", Columns: []string{"tenant", "word"}, Key: []string{"tenant", "word"},
				Where: "n >= ?", Args: []any{0}, After: after, Limit: 4,
			})
			before := len(got)
			found, err := db.QueryContext(t.Context(), query, args...)
			require.NoError(t, err)
			var tenant, word string
			for found.Next() {
				require.NoError(t, found.Scan(&tenant, &word))
				got = append(got, word)
			}
			require.NoError(t, found.Err())
			require.NoError(t, found.Close())
			if len(got) == before {
				break
			}
			after = []any{tenant, word}
		}
		require.Equal(t, sorted, got)
		for i, key := range keys {
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), db.Bind(`SELECT n FROM crmguard_demo_word WHERE tenant = ? AND word = ?`), "main", key).Scan(&n))
			require.Equal(t, i, n)
		}
	})
}

func TestInsertLeavesOrReplacesWhatIsThere(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		require.NoError(t, db.Insert(t.Context(), db, insert(false), [][]any{{"main", "a", 1, nil}, {"main", "b", 2, []byte{}}}))
		require.NoError(t, db.Insert(t.Context(), db, insert(false), [][]any{{"main", "a", 9, nil}, {"main", "c", 3, nil}}))
		require.Equal(t, []string{"a=1", "b=2", "c=3"}, words(t, db))
		require.NoError(t, db.Insert(t.Context(), db, insert(true), [][]any{{"main", "a", 9, nil}, {"other", "a", 4, nil}}))
		require.Equal(t, []string{"a=9", "b=2", "c=3", "a=4"}, words(t, db))
		anyKey := insert(false)
		anyKey.Key = nil
		require.NoError(t, db.Insert(t.Context(), db, anyKey, [][]any{{"main", "a", 7, nil}, {"main", "d", 5, nil}}))
		require.Equal(t, []string{"a=9", "b=2", "c=3", "d=5", "a=4"}, words(t, db))
		once := insert(true)
		once.Once = []string{"n"}
		require.NoError(t, db.Insert(t.Context(), db, once, [][]any{{"main", "a", 6, []byte("new")}}))
		require.Equal(t, []string{"a=9", "b=2", "c=3", "d=5", "a=4"}, words(t, db))
		require.NoError(t, db.Insert(t.Context(), db, insert(true), nil))
		require.Error(t, db.Insert(t.Context(), db, insert(true), [][]any{{"main", nil, 1, nil}}), "a fault other than the key is no silence")
		require.Error(t, db.Insert(t.Context(), db, insert(false), [][]any{{"main", "short"}}))
	})
}

// More rows than a statement takes go in as many as it needs.
func TestInsertKnowsTheLimitOfPlaceholders(t *testing.T) {
	const many = 20_000
	each(t, func(t *testing.T, db *sqldb.DB) {
		rows := make([][]any, many)
		for i := range rows {
			rows[i] = []any{"main", fmt.Sprintf("%06d", i), i, nil}
		}
		require.NoError(t, db.Write(t.Context(), func(tx *sql.Tx) error { return db.Insert(t.Context(), tx, insert(false), rows) }))
		var n int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM crmguard_demo_word`).Scan(&n))
		require.Equal(t, many, n)
	})
}

// Transactions that get into each other's way are tried again, and none is
// lost: each of them reads a number and writes the next one.
func TestWriteIsTriedAgain(t *testing.T) {
	const writers, rounds = 4, 5
	each(t, func(t *testing.T, db *sqldb.DB) {
		require.NoError(t, db.Insert(t.Context(), db, insert(false), [][]any{{"main", "a", 0, nil}, {"main", "b", 0, nil}}))
		raise := func(ctx context.Context, first, second string) error {
			return db.Write(ctx, func(tx *sql.Tx) error {
				for _, word := range []string{first, second} { // in both orders, so that they deadlock
					if _, err := tx.ExecContext(ctx, db.Bind(`UPDATE crmguard_demo_word SET n = n + 1 WHERE tenant = ? AND word = ?`), "main", word); err != nil {
						return err
					}
				}
				return nil
			})
		}
		var group sync.WaitGroup
		faults := make(chan error, writers*rounds)
		for w := range writers {
			group.Go(func() {
				for range rounds {
					if w%2 == 0 {
						faults <- raise(t.Context(), "a", "b")
					} else {
						faults <- raise(t.Context(), "b", "a")
					}
				}
			})
		}
		group.Wait()
		close(faults)
		for err := range faults {
			require.NoError(t, err)
		}
		require.Equal(t, []string{fmt.Sprintf("a=%d", writers*rounds), fmt.Sprintf("b=%d", writers*rounds)}, words(t, db))
	})
}

func TestASnapshotSeesOneState(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		require.NoError(t, db.Insert(t.Context(), db, insert(false), [][]any{{"main", "a", 0, nil}}))
		count := func(tx *sql.Tx) (n int) {
			require.NoError(t, tx.QueryRowContext(t.Context(), `SELECT count(*) FROM crmguard_demo_word`).Scan(&n))
			return n
		}
		require.NoError(t, db.Snapshot(t.Context(), func(tx *sql.Tx) error {
			require.Equal(t, 1, count(tx))
			require.NoError(t, db.Insert(t.Context(), db, insert(false), [][]any{{"main", "b", 0, nil}}))
			require.Equal(t, 1, count(tx), "what was committed meanwhile is not in the view")
			return nil
		}))
		require.Len(t, words(t, db), 2)
	})
}

func TestAFailedTransactionLeavesNothing(t *testing.T) {
	boom := errors.New("boom")
	each(t, func(t *testing.T, db *sqldb.DB) {
		require.ErrorIs(t, db.Write(t.Context(), func(tx *sql.Tx) error {
			require.NoError(t, db.Insert(t.Context(), tx, insert(false), [][]any{{"main", "a", 1, nil}}))
			return boom
		}), boom)
		ctx, cancel := context.WithCancel(t.Context())
		require.Error(t, db.Write(ctx, func(tx *sql.Tx) error {
			require.NoError(t, db.Insert(ctx, tx, insert(false), [][]any{{"main", "b", 1, nil}}))
			cancel()
			return nil
		}))
		require.Empty(t, words(t, db))
	})
}

func TestStepsAreInstalledOnceAndChecked(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		handle := d.Open(t)
		db, err := sqldb.Open(t.Context(), handle)
		require.NoError(t, err)
		var old *sqldb.SchemaError
		require.ErrorAs(t, demo(2).Check(t.Context(), db), &old)
		require.Equal(t, sqldb.SchemaError{Package: "demo", Have: 0, Want: 2}, *old)
		require.NoError(t, demo(2).Install(t.Context(), handle))
		require.NoError(t, demo(2).Install(t.Context(), handle), "a second call changes nothing")
		require.NoError(t, demo(2).Check(t.Context(), db))
		require.ErrorAs(t, demo(3).Check(t.Context(), db), &old)
		require.Equal(t, sqldb.SchemaError{Package: "demo", Have: 2, Want: 3}, *old)
		require.NoError(t, demo(3).Install(t.Context(), handle))
		require.NoError(t, demo(2).Check(t.Context(), db), "the library of the version before runs beside newer tables")
		require.NoError(t, demo(2).Install(t.Context(), handle))
	})
}

func TestAStepThatFailsIsRepeatedWhole(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		handle := d.Open(t)
		_, err := handle.ExecContext(t.Context(), `CREATE TABLE crmguard_demo_word (wrong INTEGER)`)
		require.NoError(t, err)
		err = demo(2).Install(t.Context(), handle)
		if d.Name == testdb.MariaDB {
			require.NoError(t, err, "a statement that may be repeated cannot tell whose table it finds")
			return
		}
		require.ErrorContains(t, err, "demo: install: ")
		_, err = handle.ExecContext(t.Context(), `DROP TABLE crmguard_demo_word`)
		require.NoError(t, err)
		require.NoError(t, demo(2).Install(t.Context(), handle))
	})
}

const installerDSN, installerDriver = "CRMGUARD_INSTALLER_DSN", "CRMGUARD_INSTALLER_DRIVER"

// TestMain lets this test binary be one of many processes that install at once.
func TestMain(m *testing.M) {
	dsn := os.Getenv(installerDSN)
	if dsn == "" {
		os.Exit(m.Run())
	}
	handle, err := sql.Open(os.Getenv(installerDriver), dsn)
	if dies := os.Getenv(installerDies); err == nil && dies != "" {
		handle, err = dyingHandle(os.Getenv(installerDriver), dsn, dies)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = demo(3).Install(ctx, handle)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// The first start of an application is often the start of ten.
func TestTenProcessesInstallAtOnce(t *testing.T) {
	const processes, rounds = 10, 3
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for range rounds {
			one := testdb.New(t, d.Name)
			driver := d.Name.Drivers()[0]
			commands, outputs := make([]*exec.Cmd, processes), make([]strings.Builder, processes)
			for i := range commands {
				commands[i] = exec.Command(os.Args[0])
				commands[i].Env = append(os.Environ(), installerDSN+"="+one.DSN(driver), installerDriver+"="+driver)
				commands[i].Stderr = &outputs[i]
				require.NoError(t, commands[i].Start())
			}
			for i, cmd := range commands {
				require.NoError(t, cmd.Wait(), outputs[i].String())
			}
			db, err := sqldb.Open(t.Context(), one.Open(t))
			require.NoError(t, err)
			require.NoError(t, demo(3).Check(t.Context(), db))
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM crmguard_schema`).Scan(&n))
			require.Equal(t, 3, n)
		}
	})
}

// The operators of jsonb that hold a question mark are written with two.
func TestOperatorsWithAQuestionMark(t *testing.T) {
	for _, driver := range testdb.PostgresC.Drivers() {
		db, err := sqldb.Open(t.Context(), testdb.New(t, testdb.PostgresC).OpenWith(t, driver))
		require.NoError(t, err)
		var has, hasAny, path bool
		require.NoError(t, sqldb.One(t.Context(), db, []any{&has, &hasAny, &path},
			db.Bind(`SELECT d ?? ?, d ??| array[?, 'z'], d @?? '$.b' FROM (SELECT '{"a": 1}'::jsonb AS d) AS t`), "a", "b"))
		require.Equal(t, []bool{true, false, false}, []bool{has, hasAny, path})
	}
}

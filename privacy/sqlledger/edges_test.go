package sqlledger_test

import (
	"bytes"
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlledger"
)

// A line or a note that is longer than the ledger writes any is refused, and not
// read whole: whoever writes to the table does not fill the memory.
func TestLongRows(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		medium := installed(t, db)
		log := logOn(t, medium)
		require.NoError(t, log.Create(t.Context()))
		_, err := say(t.Context(), log, erasurelog.Intent, uuid.Must(uuid.NewV7()).String())
		require.NoError(t, err)
		require.NoError(t, log.Note(t.Context(), "b", []byte("x")))
		long := bytes.Repeat([]byte{'x'}, erasurelog.MaxLine+1)
		insert := map[bool]string{true: `INSERT INTO crmguard_ledger_line (n, line) VALUES ($1, $2)`, false: `INSERT INTO crmguard_ledger_line (n, line) VALUES (?, ?)`}
		note := map[bool]string{true: `INSERT INTO crmguard_ledger_note (name, sealed) VALUES ($1, $2)`, false: `INSERT INTO crmguard_ledger_note (name, sealed) VALUES (?, ?)`}
		numbered := d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU
		_, err = db.ExecContext(t.Context(), insert[numbered], 2, long)
		require.NoError(t, err)
		_, err = log.Read(t.Context())
		require.ErrorIs(t, err, erasurelog.ErrForged)
		require.ErrorContains(t, err, "a line of more than")
		_, err = db.ExecContext(t.Context(), note[numbered], "a", long)
		require.NoError(t, err)
		good, bad := 0, 0
		for note, err := range log.Notes(t.Context()) {
			if err != nil {
				require.ErrorContains(t, err, "more than")
				require.Equal(t, "a", note.Name)
				bad++
				continue
			}
			good++
		}
		require.Equal(t, []int{1, 1}, []int{good, bad}, "the others follow")
	})
}

// Notes belong to a ledger: an emptied table has none to add to.
func TestNotesWithoutALedger(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		log := logOn(t, installed(t, db))
		require.ErrorIs(t, log.Note(t.Context(), "a", []byte("x")), erasurelog.ErrUnreachable)
		require.ErrorIs(t, log.Forget(t.Context(), "a"), erasurelog.ErrUnreachable)
		var failed error
		for _, err := range log.Notes(t.Context()) {
			failed = err
		}
		require.ErrorIs(t, failed, erasurelog.ErrUnreachable)
	})
}

// While somebody holds the table, a call waits no longer than its context, and
// says so in the context's words.
func TestATableThatIsHeld(t *testing.T) {
	for name, lock := range map[testdb.Name][]string{
		testdb.PostgresC: {`BEGIN`, `LOCK TABLE crmguard_ledger_line, crmguard_ledger_note IN ACCESS EXCLUSIVE MODE`},
		testdb.MariaDB:   {`LOCK TABLES crmguard_ledger_line WRITE, crmguard_ledger_note WRITE`},
		testdb.SQLite:    {`BEGIN EXCLUSIVE`},
	} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			log := logOn(t, installed(t, d.Open(t)))
			require.NoError(t, log.Create(t.Context()))
			holder, err := d.Open(t).Conn(t.Context())
			require.NoError(t, err)
			for _, statement := range lock {
				_, err := holder.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			for verb, call := range map[string]func(ctx context.Context) error{
				"append": func(ctx context.Context) error {
					_, err := say(ctx, log, erasurelog.Intent, uuid.Must(uuid.NewV7()).String())
					return err
				},
				"note":   func(ctx context.Context) error { return log.Note(ctx, "a", []byte("x")) },
				"forget": func(ctx context.Context) error { return log.Forget(ctx, "a") },
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				require.ErrorIs(t, call(ctx), context.DeadlineExceeded, verb)
				cancel()
			}
			free(t, holder, name)
			_, err = say(t.Context(), log, erasurelog.Intent, uuid.Must(uuid.NewV7()).String())
			require.NoError(t, err)
		})
	}
}

func free(t *testing.T, holder *sql.Conn, name testdb.Name) {
	t.Helper()
	statement := `ROLLBACK`
	if name == testdb.MariaDB {
		statement = `UNLOCK TABLES`
	}
	_, err := holder.ExecContext(t.Context(), statement)
	require.NoError(t, err)
	require.NoError(t, holder.Close())
}

// Processes that make the tables and the ledger at the same moment make one.
func TestTheVeryFirstStart(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		const hosts = 4
		made := make(chan bool, hosts)
		failed := make(chan error, hosts)
		for range hosts {
			db := d.Open(t)
			go func() {
				err := sqlledger.Install(t.Context(), db)
				var medium *sqlledger.Ledger
				if err == nil {
					medium, err = sqlledger.Open(t.Context(), db)
				}
				if err == nil {
					err = medium.Create(t.Context())
				}
				made <- err == nil
				failed <- err
			}()
		}
		n := 0
		for range hosts {
			if <-made {
				n++
			}
			if err := <-failed; err != nil {
				require.ErrorContains(t, err, "file already exists")
			}
		}
		require.Equal(t, 1, n)
	})
}

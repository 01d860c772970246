package encryption_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/testdb"
)

// stubborn makes a table of ten cards whose database objects to a change of c4,
// says nothing and leaves c7 as it was (MariaDB has no way to), objects at the
// end to c5 (PostgreSQL), and keeps the owner of c6. It returns which are
// refused.
func stubborn(t *testing.T, s *two) (*encryption.SealedTable, []string) {
	t.Helper()
	table := cards(t, s)
	require.NoError(t, s.a.Ensure(t.Context(), tenant, "p2", "p3"))
	for i := range 10 {
		person := "p1"
		if i == 6 {
			person = "p3"
		}
		w, err := table.Writer(t.Context(), tenant, person)
		require.NoError(t, err)
		s.exec(t, s.db, `INSERT INTO cards (id, person, body) VALUES (?, ?, ?)`, fmt.Sprint("c", i), person, w.Text("body", "Ann"))
	}
	require.NoError(t, s.a.AddAlias(t.Context(), tenant, "p3", "p2"))
	switch s.database.Name {
	case testdb.SQLite:
		s.exec(t, s.db, `CREATE TRIGGER closed BEFORE UPDATE ON cards WHEN OLD.id = 'c4' BEGIN SELECT RAISE(ABORT, 'closed for p1'); END`)
		s.exec(t, s.db, `CREATE TRIGGER silent BEFORE UPDATE ON cards WHEN OLD.id = 'c7' BEGIN SELECT RAISE(IGNORE); END`)
		s.exec(t, s.db, `CREATE TRIGGER kept AFTER UPDATE ON cards WHEN OLD.id = 'c6' AND NEW.person <> OLD.person BEGIN UPDATE cards SET person = OLD.person WHERE id = NEW.id; END`)
		return table, []string{"c4", "c6", "c7"}
	case testdb.MariaDB:
		s.exec(t, s.db, `CREATE TRIGGER stubborn BEFORE UPDATE ON cards FOR EACH ROW BEGIN
			IF OLD.id = 'c4' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'closed for p1'; END IF;
			IF OLD.id = 'c6' THEN SET NEW.person = OLD.person; END IF; END`)
		return table, []string{"c4", "c6"}
	default:
		s.exec(t, s.db, `CREATE FUNCTION stubborn() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
			IF OLD.id = ''c4'' OR TG_NAME = ''late'' THEN RAISE EXCEPTION ''closed for p1''; END IF;
			IF OLD.id = ''c6'' THEN NEW.person := OLD.person; END IF;
			IF OLD.id = ''c7'' THEN RETURN NULL; END IF;
			RETURN NEW; END'`)
		s.exec(t, s.db, `CREATE TRIGGER stubborn BEFORE UPDATE ON cards FOR EACH ROW EXECUTE FUNCTION stubborn()`)
		s.exec(t, s.db, `CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON cards DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.id = 'c5') EXECUTE FUNCTION stubborn()`)
		return table, []string{"c4", "c5", "c6", "c7"}
	}
}

func keysOf(rows []jobs.Refused) (out []string) {
	for _, row := range rows {
		out = append(out, row.Key)
	}
	return out
}

// Rows that the database refuses to change, whichever way, stop no job: they are
// counted and named, keep what they hold, and all others are resealed.
func TestARowThatTheDatabaseRefusesStopsNoReseal(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		refusedByReseal(t, newTwo(t, d), map[string]int{})
	})
}

// The same where no hook runs, and rows may be changed together.
func TestARowThatTheDatabaseRefusesStopsNoResealWithoutHooks(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) { refusedByReseal(t, newTwo(t, d), nil) })
}

func refusedByReseal(t *testing.T, s *two, hooked map[string]int) {
	t.Helper()
	table, refused := stubborn(t, s)
	old := s.keyVersion(t, "c0")
	_, err := s.a.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	var hook jobs.RowHook
	if hooked != nil {
		hook = func(_ context.Context, _ *sql.Tx, _, key string) error {
			hooked[key]++
			return nil
		}
	}
	for _, batch := range []int{4, 100, 1} {
		var told []jobs.Refused
		report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{
			Batch: batch, Refused: func(r jobs.Refused) { told = append(told, r) }, AfterRow: hook,
		})
		require.NoError(t, err)
		require.Equal(t, []int{10, len(refused)}, []int{report.Rows, report.Refused})
		require.Equal(t, refused, keysOf(report.Refusals))
		require.Equal(t, told, report.Refusals)
		require.Equal(t, []int{0, 0, 0}, []int{report.Moved, report.Conflicts, report.Unreadable})
		require.Equal(t, "c9", report.Last)
		if batch == 4 {
			require.Equal(t, 10-len(refused), report.Cells)
			require.Equal(t, hook != nil, hooked["c8"] > 0)
		} else {
			require.Zero(t, report.Cells)
		}
		for _, row := range report.Refusals {
			require.Equal(t, "cards", row.Table)
			require.NotContains(t, row.Err.Error(), "p1", "what a trigger says may be about a person")
			require.Equal(t, row.Key == "c4" || row.Key == "c5", row.Code != "", "%s: %s", row.Key, row.Code)
		}
	}
	census, err := table.Census(t.Context(), s.db, tenant)
	require.NoError(t, err)
	require.EqualValues(t, len(refused), census.KeyVersions[old])
	require.ErrorIs(t, s.a.DestroyKeyVersion(t.Context(), tenant, old, table.Holder(s.db)), encryption.ErrInUse)
	requireCards(t, s, table, 10)
}

// keyVersion is that of a card.
func (s *two) keyVersion(t *testing.T, id string) uint32 {
	t.Helper()
	var cell encryption.Sealed
	require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT body FROM cards WHERE id = '`+id+`'`).Scan(&cell))
	keyVersion, err := sealedvalue.KeyVersion(cell.Bytes())
	require.NoError(t, err)
	return keyVersion
}

// requireCards opens each card for whom its row belongs to.
func requireCards(t *testing.T, s *two, table *encryption.SealedTable, n int) {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), `SELECT id, person, body FROM cards`)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	type card struct{ id, person string }
	cells := map[card]encryption.Sealed{}
	for rows.Next() {
		var c card
		var cell encryption.Sealed
		require.NoError(t, rows.Scan(&c.id, &c.person, &cell))
		cells[c] = cell
	}
	require.NoError(t, rows.Err())
	require.Len(t, cells, n)
	for c, cell := range cells {
		row, err := table.Row(t.Context(), tenant, c.person, c.id)
		require.NoError(t, err)
		text, err := row.Text(t.Context(), "body", cell.Bytes())
		require.NoError(t, err, c.id)
		require.Equal(t, "Ann", text)
	}
}

// A hook that fails stops the job, also where a database refused what it did:
// what a hook writes is not the row that is resealed.
func TestAHookThatTheDatabaseRefusesStopsAReseal(t *testing.T) {
	s := newTwo(t, testdb.New(t, testdb.SQLite))
	table, _ := stubborn(t, s)
	_, err := s.a.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	s.exec(t, s.db, `CREATE TABLE events (id VARCHAR(40) PRIMARY KEY CHECK (id <> 'c2'))`)
	hook := func(ctx context.Context, tx *sql.Tx, _, key string) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO events VALUES (?)`, key)
		return err
	}
	report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{Batch: 2, AfterRow: hook})
	require.ErrorContains(t, err, "after row of cards")
	require.Equal(t, []int{2, 2, 0}, []int{report.Rows, report.Cells, report.Refused})

	// In the batch of a refused row, too; what was done before is counted.
	s.exec(t, s.db, `DELETE FROM events`)
	report, err = table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{Batch: 100, AfterRow: func(ctx context.Context, tx *sql.Tx, tenant, key string) error {
		if key == "c9" {
			return errors.New("no event was recorded")
		}
		return nil
	}})
	require.ErrorContains(t, err, "no event was recorded")
	require.Equal(t, []int{4, 3}, []int{report.Cells, report.Refused})
}

// An eraser clears what the database lets it clear, and says what is left.
func TestARowThatTheDatabaseRefusesIsNamedByTheEraser(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newTwo(t, d)
		table, refused := stubborn(t, s)
		err := table.ClearRows(s.db)(t.Context(), tenant, "p1")
		left, ok := errors.AsType[*jobs.RefusedError](err)
		require.True(t, ok, "%v", err)
		require.NotContains(t, err.Error(), "closed for")
		var want []string
		for _, key := range refused {
			if key != "c6" { // another person's
				want = append(want, key)
			}
		}
		require.Equal(t, want, keysOf(left.Rows))
		require.Equal(t, len(want), left.Count)
		var cleared int
		require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM cards WHERE body IS NULL`).Scan(&cleared))
		require.GreaterOrEqual(t, cleared, 6)
		require.NoError(t, table.ClearRows(s.db)(t.Context(), tenant, "p3"))
	})
}

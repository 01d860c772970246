package sqltrail_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/testdb"
)

// An event names as many persons as one may, with values about as many of them as it
// may: it is recorded, found by the last of them, and an erasure of one leaves the others.
func TestAnEventOf500Persons(t *testing.T) {
	eachWorks(t, func(t *testing.T, w *works) {
		e := audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.merge", Object: audit.Ref("deal", "17")}
		for n := range auditlog.MaxPersons {
			person := fmt.Sprintf("many-%03d", n)
			e.Persons = append(e.Persons, person)
			if n < 300 {
				e.Changes = append(e.Changes, audit.Change{Path: "amount", Who: person, Old: n, New: n + 1})
			}
		}
		require.NoError(t, w.again(e))
		require.Equal(t, 1, w.run().Sequenced)
		past := 0
		for entry, err := range w.trail.History(t.Context(), "main", audit.About("many-499"), audit.Page{}) {
			require.NoError(t, err)
			require.Len(t, entry.Changes, 300)
			past++
		}
		require.Equal(t, 1, past)
		require.NoError(t, w.trail.Erase(t.Context(), "main", "many-007"))
		w.run()
		for entry, err := range w.trail.History(t.Context(), "main", audit.About("many-499"), audit.Page{}) {
			require.NoError(t, err)
			verdicts := map[audit.OpeningVerdict]int{}
			for _, c := range entry.Changes {
				verdicts[c.Verdict]++
			}
			require.Equal(t, map[audit.OpeningVerdict]int{audit.OpeningOK: 299, audit.OpeningErased: 1}, verdicts)
		}
		w.verified(w.checkpoint())
		e.ID = ""
		e.Persons = append(e.Persons, "one-more")
		require.NoError(t, w.trail.Prepare(t.Context(), "main", "one-more"))
		require.ErrorIs(t, w.again(e), audit.ErrTooLarge)
	})
}

// heavy is an event with as many bytes of values about each of so many persons.
func heavy(t *testing.T, persons, bytesEach int) audit.Event {
	t.Helper()
	e := sale(t, "heavy-0")
	e.Changes = nil
	for n := range persons {
		e.Changes = append(e.Changes, audit.Change{Path: "email", Who: fmt.Sprintf("heavy-%d", n), New: bytes.Repeat([]byte{byte(n + 1)}, bytesEach)})
	}
	return e
}

// Values as large as they may be are recorded on each database, come into the log, the
// mirror and back; what is larger, and on MariaDB what the server takes in no packet, is
// refused by an error that says so, and the same connection goes on.
func TestValuesOfManyMegabytes(t *testing.T) {
	for _, on := range []struct {
		name    testdb.Name
		driver  string
		setting string
		most    int // MiB
	}{
		{testdb.SQLite, "sqlite", "", 31},
		{testdb.PostgresC, "pgx", "", 31},
		{testdb.MariaDB, "mysql", "", 15},
		{testdb.MariaDB, "mysql", "max-allowed-packet=64M", 31},
	} {
		t.Run(string(on.name)+" "+on.setting, func(t *testing.T) {
			d := testdb.Database{}
			if on.setting == "" {
				d = testdb.New(t, on.name)
			} else {
				d = testdb.Own(t, on.name, on.setting).New(t)
			}
			w := join(t, begin(t, d, on.driver, d.DSN(on.driver)).dir, withMirror)
			for _, mebibytes := range []int{on.most, on.most + 2} {
				e := heavy(t, 3, mebibytes<<20/3)
				err := w.again(e)
				if mebibytes <= on.most {
					require.NoError(t, err, "%d MiB", mebibytes)
					require.Equal(t, 1, w.run().Sequenced)
					entry, err := w.trail.Event(t.Context(), e.ID)
					require.NoError(t, err)
					require.Len(t, entry.Changes, 3)
					continue
				}
				require.ErrorIs(t, err, audit.ErrTooLarge, "%d MiB", mebibytes)
				require.Less(t, len(err.Error()), 300)
				w.goesOn(e)
			}
			_, err := w.sell(t.Context(), 1)
			require.NoError(t, err, "the next sale")
			w.run()
			w.verified(w.checkpoint())
		})
	}
}

// goesOn checks that a transaction goes on after an event that was too large for it.
func (w *works) goesOn(large audit.Event) {
	w.t.Helper()
	small := sale(w.t, "p1")
	require.NoError(w.t, w.trail.Prepare(w.t.Context(), "main", append(people(large), "p1")...))
	require.NoError(w.t, w.within(w.t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(w.t.Context(), w.db.Bind(`INSERT INTO sales (id) VALUES (?)`), small.ID); err != nil {
			return err
		}
		require.ErrorIs(w.t, only(w.trail.Record(w.t.Context(), tx, large)), audit.ErrTooLarge)
		return only(w.trail.Record(w.t.Context(), tx, small))
	}))
	require.Equal(w.t, 1, w.count(`SELECT COUNT(*) FROM sales WHERE id = '`+small.ID+`'`))
}
